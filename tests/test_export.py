"""Exported generators: what other runtimes draw, what the files say, and `tedi export`."""

import importlib
import json
import logging
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from tedi import __version__
from tedi.checkpoints import exporters
from tedi.checkpoints.exporters import EXPORTERS, PARTS, export, facts_of, targets
from tedi.cli import run
from tedi.errors import TediError, UsageError

COMMAND = importlib.import_module("tedi.cli.export")
Z, WIDTH = 112, 96  # a matrix of more than 8 KB: onnxscript widens smaller ones itself
HASHES = {"mobilestylegan-ffhq": "e5d1", "attributes-lite0": "ab12", "mine.pkl": "cd34"}
FACTS = {"name": "small", "part": "any", "licence": "MIT; die Größe zählt"}
HALVED = [to for to in EXPORTERS if to != "torchscript"]  # take weights in float16
PACKAGES = {"onnx": ["onnx", "onnxscript", "onnxruntime"], "pt2": [], "torchscript": []}
PACKAGES["openvino"] = [*PACKAGES["onnx"][:2], "openvino"]


class Small(nn.Module):
    """Draws 16 px pictures as the real one does: a constant, styles by slot, biases and noise."""

    name, resolution, slots, width, z_width = "small", 16, 3, WIDTH, Z

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.enter = nn.Linear(Z, WIDTH)
        self.const = nn.Parameter(torch.randn(1, 8, 8, 8))
        self.styles_of = nn.ModuleList(nn.Linear(WIDTH, 8) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.to_image = nn.Conv2d(8, 12, 1)
        self.noise = nn.Parameter(torch.randn(1, 1, 8, 8))
        self.spare = nn.Parameter(torch.randn(2**16))  # no part uses it
        self.register_buffer("w_avg", torch.linspace(-1, 1, WIDTH) + 0.5)

    def mapping(self, z):
        return self.enter(z).tanh() + self.w_avg

    def synthesis(self, ws):
        x = self.const.expand(ws.shape[0], -1, -1, -1)
        for slot, conv in enumerate(self.convs):
            x = (conv(x * self.styles_of[slot](ws[:, slot])[:, :, None, None]) + self.noise).relu()
        x = x * self.styles_of[2](ws[:, 2])[:, :, None, None]
        return nn.functional.pixel_shuffle(self.to_image(x), 2)

    def preview(self, ws):
        return nn.functional.avg_pool2d(self.synthesis(ws), 2)


@pytest.fixture
def small() -> Small:
    return Small().requires_grad_(False)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # torch tells this logger about every tensor that it traces; pytest would keep it all.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", False)
    return tmp_path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Files of a small generator, each made once; with what was told of them."""
    made = {}

    def once(to, part="synthesis", half=False):
        for package in PACKAGES[to]:
            pytest.importorskip(package)
        if (key := (to, part, half)) not in made:
            path = tmp_path_factory.mktemp("made") / file_of(to)
            generator = Small().requires_grad_(False)
            made[key] = export(generator, path, to=to, part=part, half=half, facts=FACTS)
        return made[key]

    return once


@pytest.fixture
def tedi_(capsys, monkeypatch, small):
    """Runs `tedi export` on the small generator; gives exit status, stdout and stderr."""
    monkeypatch.setattr(COMMAND, "load_generator", lambda device, file=None: (small, HASHES))

    def call(*arguments):
        capsys.readouterr()
        status = run(["export", *arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def need(to):
    for package in PACKAGES[to]:
        pytest.importorskip(package)


def file_of(to, stem="face"):
    return Path(stem).with_suffix(EXPORTERS[to].suffixes[0])


def inputs_of(part, count, psi=0.7, seed=5):
    """Made here, in the order that the file takes them."""
    random = torch.Generator().manual_seed(seed)
    if part == "mapping":
        return {"z": torch.randn(count, Z, generator=random), "psi": torch.tensor(psi)}
    return {"ws": torch.randn(count, 3, WIDTH, generator=random)}


def expected_of(generator, part, inputs):
    if part != "mapping":
        return getattr(generator, part)(inputs["ws"])
    w = generator.w_avg + inputs["psi"] * (generator.mapping(inputs["z"]) - generator.w_avg)
    return torch.stack([w] * 3, dim=1)


def outputs(to, path, inputs):
    """Results by name of a file in its runtime."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    if to == "onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(path)
        names = [each.name for each in session.get_outputs()]
        return dict(zip(names, map(torch.from_numpy, session.run(None, arrays)), strict=True))
    if to == "openvino":
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        model = importlib.import_module("openvino").Core().compile_model(path, "CPU", exact)
        return {k.any_name: torch.from_numpy(v.copy()) for k, v in model(arrays).items()}
    if to == "torchscript":
        made = torch.jit.load(str(path))(*inputs.values())
    else:
        with path.open("rb") as file:
            made = torch.export.load(file).module()(*inputs.values())
    return {"ws" if "z" in inputs else "image": made}


def facts_in(to, path):
    """What a file says of itself, read as anybody would."""
    if to == "onnx":
        model = importlib.import_module("onnx").load(path)
        return {each.key: each.value for each in model.metadata_props}
    if to == "openvino":
        return importlib.import_module("openvino").Core().read_model(path).get_rt_info("tedi").value
    if to == "torchscript":
        torch.jit.load(str(path), _extra_files=(told := {"tedi.json": ""}))
        return json.loads(told["tedi.json"])
    with path.open("rb") as file:
        torch.export.load(file, extra_files=(told := {"tedi.json": ""}))
    return json.loads(told["tedi.json"])


# --- what other runtimes draw --------------------------------------------------------------------


def test_the_command_offers_what_the_tables_have():
    assert {to: file_of(to, "x").suffix for to in EXPORTERS} == COMMAND.TARGETS
    assert list(PARTS) == list(COMMAND.PARTS)


@pytest.mark.parametrize("part", ["synthesis", "preview"])
@pytest.mark.parametrize("to", EXPORTERS)
def test_files_compute_what_pytorch_does_for_any_number_of_rows(small, exported, to, part):
    done = exported(to, part)
    assert done.difference < done.bound == 1e-3
    for count in (1, 2, 5):
        inputs = inputs_of(part, count)
        expected = expected_of(small, part, inputs)
        ((name, got),) = outputs(to, done.files[0], inputs).items()
        assert (name, got.shape) == ("image", expected.shape)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("to", HALVED)
def test_half_rounds_weights_and_computes_in_full(small, exported, to):
    """A network of rounded weights, drawn in float32, is what comes out."""
    done = exported(to, "mapping", True)
    assert 1e-5 < done.difference < done.bound == 5e-2
    rounded = small.half().float()
    for count in (1, 2, 5):
        inputs = inputs_of("mapping", count)
        expected = expected_of(rounded, "mapping", inputs)
        ((name, got),) = outputs(to, done.files[0], inputs).items()
        assert (name, got.shape) == ("ws", expected.shape)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("to", EXPORTERS)
def test_psi_is_an_input(small, exported, to):
    half = to in HALVED
    path = exported(to, "mapping", half).files[0]
    zero, one = (outputs(to, path, inputs_of("mapping", 2, psi))["ws"] for psi in (0.0, 1.0))
    small = small.half().float() if half else small
    assert torch.equal(zero, small.w_avg.expand(2, 3, WIDTH))
    expected = expected_of(small, "mapping", inputs_of("mapping", 2, 1.0))
    torch.testing.assert_close(one, expected, atol=1e-5, rtol=0)


def test_the_example_codes_differ_by_slot(small):
    """So that a file which confuses slots is noticed."""
    (ws,) = PARTS["synthesis"](small).example(2, seed=0)
    assert ws.shape == (2, 3, WIDTH)
    assert len({tuple(row) for row in ws.flatten(0, 1).tolist()}) == 6


def test_the_generator_stays_as_it_is(small):
    small.bfloat16().train()
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    export(small, "a.pt2", to="pt2", part="mapping", half=True)
    after = small.state_dict()
    assert (after.keys(), small.training) == (before.keys(), True)
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    assert all(torch.equal(after[name], before[name]) for name in before)


# --- what files hold -----------------------------------------------------------------------------


@pytest.mark.parametrize("to", EXPORTERS)
def test_files_say_what_they_are(exported, to):
    done = exported(to)
    assert done.bytes == sum(file.stat().st_size for file in done.files)
    told = facts_in(to, done.files[0])
    assert told == done.facts
    assert told == FACTS | {key: told[key] for key in ("input", "output")}
    assert told["input"].startswith("ws (N, 3, 96): absolute codes")
    assert told["output"].startswith("image (N, 3, 16, 16): RGB, about [-1, 1]")


@pytest.mark.parametrize(
    ("part", "shapes"),
    [
        ("synthesis", [("ws", ["N", 3, WIDTH]), ("image", ["N", 3, 16, 16])]),
        ("mapping", [("z", ["N", Z]), ("psi", []), ("ws", ["N", 3, WIDTH])]),
    ],
)
def test_shapes_are_told_by_an_onnx_file(exported, part, shapes):
    path = exported("onnx", part, part == "mapping").files[0]
    graph = importlib.import_module("onnx").load(path).graph
    assert shapes == [
        (each.name, [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim])
        for each in (*graph.input, *graph.output)
    ]


@pytest.mark.parametrize("to", EXPORTERS)
def test_files_hold_nothing_of_this_machine_and_no_spare_weights(small, exported, to):
    files = exported(to).files
    content = b"".join(file.read_bytes() for file in files)
    if to in ("pt2", "torchscript"):
        with zipfile.ZipFile(files[0]) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
    for source in (__file__, torch.__file__, exporters.__file__, files[0]):
        assert str(Path(source).parent).encode() not in content
    assert len(content) < 4 * len(small.spare)


@pytest.mark.parametrize("to", HALVED)
def test_half_weights_are_stored_in_two_bytes_a_number(exported, to):
    files = exported(to, "mapping", True).files
    if to == "onnx":
        graph = importlib.import_module("onnx").load(files[0]).graph
        stored = sum(len(each.raw_data) for each in graph.initializer)
    elif to == "openvino":
        stored = files[1].stat().st_size
    else:
        with zipfile.ZipFile(files[0]) as archive:
            members = [each for each in archive.infolist() if "/data/weights/" in each.filename]
        stored = sum(each.file_size for each in members if each.filename[-1].isdecimal())
    assert 2 * Z * WIDTH < stored < 3 * Z * WIDTH  # a matrix and two vectors


def test_facts_name_weights_hashes_and_licences(small):
    facts = facts_of(small, "preview", HASHES, half=True)
    assert json.loads(facts["weights"]) == HASHES
    assert facts["version"] == f"tedi {__version__}"
    assert facts["numbers"].startswith("float16")
    assert "NVIDIA's non-commercial" in facts["licence"]
    assert "attributes-lite0: MIT" in facts["licence"]
    assert facts["licence"].endswith("; mine.pkl: that of the file, which tells none")
    assert "synthetic" in facts["note"]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["synthesis", "mapping"])
@pytest.mark.parametrize("half", [False, True])
def test_a_difference_above_the_bound_is_refused(small, monkeypatch, part, half):
    path = Path("face.pt2")
    path.write_bytes(b"what was there")
    monkeypatch.setattr(exporters, "HALF_BOUND" if half else "BOUND", -1.0)
    with pytest.raises(TediError, match=r"torch and PyTorch differ by .*, expected at most -1"):
        export(small, path, to="pt2", part=part, half=half, exist="overwrite")
    assert path.read_bytes() == b"what was there"
    assert list(Path().iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda image: image * torch.nan, "differ by nan"),
        (lambda image: image[:1], r"expected image \(3, 3, 16, 16\), got \(1, 3, 16, 16\)"),
    ],
    ids=["NaN", "one row"],
)
def test_what_cannot_be_compared_is_refused(small, monkeypatch, change, told):
    opened = targets.Pt2.open
    monkeypatch.setattr(
        targets.Pt2, "open", lambda self, path: lambda inputs: change(opened(self, path)(inputs))
    )
    with pytest.raises(TediError, match=told):
        export(small, "face.pt2", to="pt2")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda ws: ws.new_ones(2, 3, 8, 8) * ws.sum(dim=(1, 2), keepdim=True)[..., None],
        lambda ws: ws if ws.sum() > 0 else -ws,
    ],
    ids=["two rows only", "depends on numbers"],
)
def test_a_generator_that_cannot_be_traced_is_named(small, draw):
    small.synthesis = draw
    with pytest.raises(TediError, match=r"^small: cannot be traced for any number of rows: .*$"):
        export(small, "face.pt2", to="pt2")
    assert list(Path().iterdir()) == []


def test_a_refused_openvino_file_leaves_no_weights(small, monkeypatch):
    need("openvino")
    monkeypatch.setattr(exporters, "BOUND", -1.0)
    with pytest.raises(TediError, match="not kept"):
        export(small, "face.xml", to="openvino", part="mapping")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("to", "taken"), [("onnx", "face.onnx"), ("openvino", "face.xml"), ("openvino", "face.bin")]
)
def test_files_that_are_there_are_kept(small, to, taken):
    Path(taken).write_bytes(b"mine")
    steps = []
    with pytest.raises(TediError, match=rf"{taken}: already exists; pass --overwrite"):
        export(small, file_of(to), to=to, progress=steps.append)
    assert (Path(taken).read_bytes(), steps) == (b"mine", [])


@pytest.mark.parametrize("to", ["openvino", "pt2"])
def test_files_that_are_there_are_replaced_on_request(small, to):
    need(to)
    names = [Path("face").with_suffix(suffix) for suffix in EXPORTERS[to].suffixes]
    for name in names:
        name.write_bytes(b"old")
    steps = []
    done = export(small, names[0], to=to, part="mapping", exist="overwrite", progress=steps.append)
    assert sorted(Path().iterdir()) == sorted(done.files) == sorted(names)
    assert all(name.read_bytes() != b"old" for name in names)
    assert [step.split()[0] for step in steps] == ["tracing", "writing", "checking"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"to": "onx"}, "unknown export target 'onx'; did you mean 'onnx'"),
        ({"part": "previw"}, "unknown part 'previw'; did you mean 'preview'"),
        ({"to": "openvino"}, r"--out: expected a \.xml file for openvino, got face\.onnx"),
    ],
)
def test_calls_that_cannot_be_right(small, options, told):
    with pytest.raises(UsageError, match=told):
        export(small, "face.onnx", **options)


@pytest.mark.parametrize(
    ("to", "package"),
    [("onnx", "onnx"), ("onnx", "onnxscript"), ("openvino", "openvino"), ("openvino", "onnx")],
)
def test_packages_that_are_not_there_are_named(small, monkeypatch, to, package):
    need(to)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TediError) as caught:
        export(small, file_of(to), to=to)
    message = str(caught.value)
    assert message.startswith(f"--to {to}: {package} cannot be imported")
    assert message.endswith(f"pip install {' '.join(PACKAGES[to])}")
    assert list(Path().iterdir()) == []


def test_a_check_that_is_left_out_is_told(tedi_, monkeypatch):
    need("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, out, err = tedi_("--part", "mapping", "--json")
    assert status == 0
    assert "not checked: onnxruntime cannot be imported" in err
    assert "pip install onnxruntime" in err
    assert "differs from" not in err
    told = json.loads(out[0])
    assert (told["difference"], told["checked_by"]) == (None, None)
    assert "pip install onnxruntime" in told["unchecked"]
    assert Path(told["path"]).is_file()


# --- the command ---------------------------------------------------------------------------------


def test_the_path_goes_to_stdout_and_the_rest_to_stderr(tedi_):
    status, out, err = tedi_("--to", "pt2", "--part", "preview")
    assert (status, out) == (0, ["mobilestylegan-preview.pt2"])
    assert [line.split()[0] for line in err.splitlines()[:3]] == ["tracing", "writing", "checking"]
    assert "image (N, 3, 8, 8)" in err
    assert "differs from PyTorch by" in err
    assert "0.001 allowed, by torch on 4 faces" in err
    assert "NVIDIA's non-commercial" in err
    assert Path(out[0]).is_file()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (["--out", "new/folder/"], "new/folder/mobilestylegan-mapping.pt2"),
        (["--out", "web"], "web/mobilestylegan-mapping.pt2"),
        (["--out", "old.d", "--half"], "old.d/mobilestylegan-mapping-half.pt2"),
        (["--out", "in/it.pt2"], "in/it.pt2"),
    ],
)
def test_out_is_a_file_or_a_folder(tedi_, options, path):
    Path("old.d").mkdir()
    status, out, _ = tedi_("--to", "pt2", "--part", "mapping", *options)
    assert (status, out) == (0, [str(Path(path))])
    assert Path(path).is_file()


def test_json_tells_everything(tedi_):
    status, out, _ = tedi_("--to", "pt2", "--part", "mapping", "--half", "--json")
    told = json.loads(out[0])
    assert (status, told["to"], told["part"]) == (0, "pt2", "mapping")
    assert told["files"] == [told["path"]] == ["mobilestylegan-mapping-half.pt2"]
    assert told["bytes"] == Path(told["path"]).stat().st_size
    assert 0 < told["difference"] < told["bound"]
    assert (told["checked_by"], told["unchecked"]) == ("torch", "")
    assert told["weights"] == HASHES


def test_nothing_is_loaded_for_a_call_that_fails(tedi_, monkeypatch):
    monkeypatch.delattr(COMMAND, "load_generator")
    Path("face.pt2").touch()
    status, out, err = tedi_("--to", "pt2", "--out", "face.pt2")
    assert (status, out) == (1, [])
    assert err == "tedi: face.pt2: already exists; pass --overwrite to replace it\n"
    status, _, err = tedi_("--to", "onnx", "--out", "face.pt2", "--overwrite")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "expected a .onnx file" in err


# --- the released generator ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "part", "half", "shape", "bound"),
    [
        ("onnx", "mapping", False, (16, 512), 1e-5),
        pytest.param("onnx", "preview", False, (3, 256, 256), 2e-4, marks=pytest.mark.slow),
        pytest.param("onnx", "synthesis", False, (3, 1024, 1024), 3e-4, marks=pytest.mark.slow),
        pytest.param("onnx", "synthesis", True, (3, 1024, 1024), 4e-2, marks=pytest.mark.slow),
        pytest.param("openvino", "preview", False, (3, 256, 256), 2e-4, marks=pytest.mark.slow),
        pytest.param("pt2", "preview", False, (3, 256, 256), 2e-4, marks=pytest.mark.slow),
    ],
)
def test_the_released_generator_is_the_same_elsewhere(generator, ws, to, part, half, shape, bound):
    need(to)
    path = file_of(to)
    done = export(generator, path, to=to, part=part, half=half)
    assert done.difference <= bound
    assert (done.difference > 0) is (to != "pt2")  # PyTorch gives the same bits
    inputs = {"ws": ws[:1]}
    if part == "mapping":
        inputs = {"z": torch.randn(1, 512), "psi": torch.tensor(0.0)}
        expected = generator.w_avg.expand(1, 16, 512)
    else:
        expected = getattr(generator, part)(ws[:1])
    (got,) = outputs(to, path, inputs).values()
    assert got.shape == (1, *shape)
    torch.testing.assert_close(got, expected, atol=bound, rtol=0)


def test_torchscript_keeps_no_half(tedi_):
    status, out, err = tedi_("--to", "torchscript", "--half")
    assert (status, out) == (2, [])
    assert "--half: TorchScript would widen the weights again" in err


def test_torchscript_draws_any_number_of_rows(generator, tmp_path):
    path = tmp_path / "face.torchscript"
    made = export(generator, path, to="torchscript", part="preview", facts={})
    script = torch.jit.load(str(path))
    for rows in (1, 3):
        (ws,) = PARTS["preview"](generator).example(rows, seed=1)
        with torch.no_grad():
            assert torch.allclose(script(ws), generator.preview(ws), atol=1e-4)
    assert made.difference is not None
