"""The command line as a person meets it: what is printed where, exit statuses, files."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny import toolkit

import tedi.cli
from tedi.cli import COMMANDS, cli, run
from tedi.cli.options import MAX_SEED, Seeds, check_codes
from tedi.errors import UsageError
from tedi.faces import Detected, choose
from tedi.images import read_provenance

COMMAND = importlib.import_module("tedi.cli.generate")
SMILE = "a smiling woman with bangs"


class Counting:
    """Tiny toolkit that counts the pictures asked of it, and can be stopped at one of them."""

    def __init__(self) -> None:
        self.model = toolkit()
        self.text = self.model.text
        self.asked: list[tuple[str, int]] = []
        self.stop_at: int | None = None
        self.loaded: list[dict] = []
        self.seen: list[int] = []  # files in the working folder when each picture was asked for

    def load(self, **options):
        self.loaded.append(options)
        return self

    def record_of(self, prompt, seed, **options):
        return self.model.record_of(prompt, seed, **options)

    def stream(self, jobs, **options):
        return self.model.stream(self.watched(jobs), **options)

    def watched(self, jobs):
        for job in jobs:
            if len(self.asked) == self.stop_at:
                raise KeyboardInterrupt
            self.asked.append(job)
            self.seen.append(len([p for p in Path().rglob("*.png") if p.name[0] != "."]))
            yield job


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(monkeypatch) -> Counting:
    counting = Counting()
    monkeypatch.setattr(COMMAND, "_load", counting.load)
    return counting


@pytest.fixture
def tedi_(capsys):
    """Runs a command; gives exit status, lines of stdout, and stderr."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def files(folder=Path()) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- what is made --------------------------------------------------------------------------------


def test_a_prompt_gives_a_picture_and_its_path(tedi_, fake):
    status, out, _ = tedi_("generate", SMILE)
    assert (status, out) == (0, ["a-smiling-woman-with-bangs-seed0.png"])
    assert files() == out
    record = read_provenance(out[0])
    assert (record["prompt"], record["seed"], record["psi"]) == (SMILE, 0, 0.7)
    assert fake.loaded == [{"device": "auto", "dtype": "float32", "compiled": False}]


def test_options_reach_the_toolkit(tedi_, fake):
    options = ["--psi", "0.4", "--strength", "1.5", "--preview", "--batch-size", "3"]
    tedi_("generate", "a man", *options, "--device", "cpu", "--dtype", "bfloat16", "--compile")
    record = read_provenance("a-man-seed0.png")
    assert (record["psi"], record["strength"], record["preview"]) == (0.4, 1.5, True)
    assert fake.loaded == [{"device": "cpu", "dtype": "bfloat16", "compiled": True}]
    assert Image.open("a-man-seed0.png").size == (16, 16)


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        ([], [0]),
        (["-n", 3], [0, 1, 2]),
        (["--seed", "7"], [7]),
        (["--seed", "7", "-n", 2], [7, 8]),
        (["--seed", "1,9-11"], [1, 9, 10, 11]),
        (["--seed", "0-3", "-n", 4], [0, 1, 2, 3]),
        (["--seed", MAX_SEED], [MAX_SEED]),
    ],
    ids=str,
)
def test_seeds(tedi_, fake, options, seeds):
    status, out, _ = tedi_("generate", "a man", *options)
    assert (status, out) == (0, [f"a-man-seed{seed}.png" for seed in seeds])
    assert fake.asked == [("a man", seed) for seed in seeds]
    assert [read_provenance(path)["seed"] for path in out] == seeds


def test_a_picture_is_that_of_its_seed_alone(tedi_, fake):
    tedi_("generate", "a man", "-n", 3, "--out", "many/")
    tedi_("generate", "a man", "--seed", 2, "--out", "one.png")
    assert Path("many/a-man-seed2.png").read_bytes() == Path("one.png").read_bytes()


def test_names_already_taken_are_stepped_over_in_a_folder(tedi_, fake):
    tedi_("generate", "a man", "--out", "faces/")
    _, out, _ = tedi_("generate", "a man", "--out", "faces/")
    assert out == ["faces/a-man-seed0-2.png"]


@pytest.mark.parametrize("grid", [(), ("--grid",)], ids=["picture", "grid"])
def test_overwrite(tedi_, fake, grid):
    Path("a.png").write_bytes(b"mine")
    status, out, err = tedi_("generate", "a man", "--out", "a.png", *grid)
    assert (status, out) == (1, [])
    assert re.fullmatch(r"tedi: a\.png: .*exists.*--overwrite.*\n", err)
    assert Path("a.png").read_bytes() == b"mine"
    assert fake.asked == []  # known before anything is drawn
    assert tedi_("generate", "a man", "--out", "a.png", "--overwrite", *grid)[:2] == (0, ["a.png"])
    assert read_provenance("a.png")["prompt"] == "a man"


def test_a_file_that_appears_meanwhile_is_kept(tedi_, fake, monkeypatch):
    def watched(jobs):
        for job in jobs:
            Path("a.png").write_bytes(b"mine")
            yield job

    monkeypatch.setattr(fake, "watched", watched)
    status, out, err = tedi_("generate", "a man", "--out", "a.png")
    assert (status, out) == (1, [])
    assert "--overwrite" in err
    assert Path("a.png").read_bytes() == b"mine"


def test_json_lines(tedi_, fake):
    _, out, _ = tedi_("generate", "a man", "-n", 2, "--json")
    rows = [json.loads(line) for line in out]
    assert [row["path"] for row in rows] == ["a-man-seed0.png", "a-man-seed1.png"]
    for row in rows:
        path, unheard = row.pop("path"), row.pop("unheard")
        assert read_provenance(path) == row
        assert unheard == []


def test_grid_is_one_sheet(tedi_, fake):
    status, out, _ = tedi_("generate", "a man", "-n", 4, "--grid", "--out", "sheet.png")
    assert (status, out, files()) == (0, ["sheet.png"], ["sheet.png"])
    record = read_provenance("sheet.png")
    assert (record["prompt"], record["seed"], record["seeds"]) == ("a man", None, [0, 1, 2, 3])
    width, height = Image.open("sheet.png").size
    assert width > 2 * 256 < height < 3 * 256  # two by two, with a label beside


def test_grid_of_prompts_has_a_row_each(tedi_, fake):
    Path("p.txt").write_text("a man\na woman\na child\n")
    _, out, _ = tedi_("generate", "--prompts", "p.txt", "-n", 2, "--grid", "--out", "sheet.jpg")
    assert out == files()[1:] == ["sheet.jpg"]
    width, height = Image.open("sheet.jpg").size
    assert 3 * 256 < height < 4 * 256
    assert width < 4 * 256
    assert read_provenance("sheet.jpg")["prompt"] == "a man; a woman; a child"
    assert fake.asked[:3] == [("a man", 0), ("a man", 1), ("a woman", 0)]


@pytest.mark.parametrize("grid", [(), ("--grid",)], ids=["pictures", "grid"])
def test_dry_run_makes_nothing(tedi_, fake, grid):
    status, out, err = tedi_(
        "generate", "a man", "-n", 3, "--out", "x/{seed}.png", "--dry-run", *grid
    )
    assert out == ([f"x/{seed}.png" for seed in range(3)] if not grid else ["x/0.png"])
    assert (status, err, files()) == (0, "", [])
    assert fake.loaded == fake.asked == []


def test_dry_run_in_json(tedi_, fake):
    _, out, _ = tedi_("generate", "a man", "--dry-run", "--json", "--psi", "0.5")
    assert json.loads(out[0]).items() >= {"prompt": "a man", "seed": 0, "psi": 0.5}.items()


# --- many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [100_000, MAX_SEED + 1])
def test_a_long_run_streams(tedi_, fake, count, batch):
    """Each batch is on the disk before the next is asked for, and what follows is not unrolled."""
    fake.stop_at = 12
    status, out, _ = tedi_("generate", "a man", "-n", count, "--batch-size", batch)
    assert status == 130
    assert fake.seen == [i // batch * batch for i in range(12)]
    assert len(out) == 12
    assert files() == sorted(out)


class Endless(Sequence):
    """A billion seeds, of which nobody may ask for more than a few."""

    def __len__(self):
        return 10**9

    def __getitem__(self, index):
        assert index < 5
        return index


def test_pairs_are_made_one_at_a_time():
    pairs = COMMAND.Run(
        ["a", "b"], Endless(), {}, overwrite=False, as_json=False, resume=False
    ).pairs()
    assert [next(pairs) for _ in range(3)] == [("a", 0), ("a", 1), ("a", 2)]


@pytest.fixture
def prompts() -> Path:
    path = Path("prompts.txt")
    path.write_text("# people\na man\n\na smiling  woman\na child in a hat\n", encoding="utf-8")
    return path


def test_prompts_go_on_where_they_were_stopped(tedi_, fake, prompts):
    arguments = ["generate", "--prompts", prompts, "--seed", "0-1", "--out", "faces"]
    fake.stop_at = 3
    status, out, err = tedi_(*arguments)
    assert status == 130
    assert err.strip().splitlines()[-1] == "tedi: stopped; what is finished stays"
    assert "Traceback" not in err
    done = {path: Path(path).read_bytes() for path in out}
    names = ["a-man-seed0", "a-man-seed1", "a-smiling-woman-seed0"]
    assert list(done) == [f"faces/{name}.png" for name in names]
    assert files(Path("faces")) == sorted(Path(p).name for p in done)  # nothing half-written

    fake.stop_at, fake.asked = None, []
    status, again, _ = tedi_(*arguments)
    assert status == 0
    assert fake.asked == [("a smiling woman", 1), ("a child in a hat", 0), ("a child in a hat", 1)]
    assert len(again) == 6
    assert again[:3] == list(done)
    assert {path: Path(path).read_bytes() for path in done} == done

    fake.asked = []
    assert tedi_(*arguments)[:2] == (0, again)
    assert fake.asked == []


def test_stopped_in_a_batch_keeps_whole_batches(tedi_, fake, prompts):
    fake.stop_at = 5
    arguments = ["generate", "--prompts", prompts, "--seed", "0-1", "--batch-size", 2]
    status, out, _ = tedi_(*arguments)
    assert (status, len(out)) == (130, 4)
    fake.stop_at, fake.asked = None, []
    assert tedi_(*arguments)[0] == 0
    assert len(fake.asked) == 2


def test_prompts_refuse_to_go_on_with_another_run(tedi_, fake, prompts):
    tedi_("generate", "--prompts", prompts, "--out", "faces")
    kept = Path("faces/a-man-seed0.png").read_bytes()
    status, out, err = tedi_("generate", "--prompts", prompts, "--out", "faces", "--psi", "0.5")
    assert (status, out) == (1, [])
    assert re.fullmatch(r"tedi: faces/a-man-seed0\.png: exists and is another picture; .*\n", err)
    assert Path("faces/a-man-seed0.png").read_bytes() == kept
    more = ["--psi", "0.5", "--overwrite"]
    status, out, _ = tedi_("generate", "--prompts", prompts, "--out", "faces", *more)
    assert (status, len(out)) == (0, 3)
    assert read_provenance("faces/a-man-seed0.png")["psi"] == 0.5


@pytest.mark.parametrize(
    "out", ["v1.2/", "made.now", "plain/", "by/{prompt}/", "by/{seed}/x", "{index}-{prompt}.png"]
)
def test_prompts_go_on_wherever_they_go(tedi_, fake, prompts, out):
    Path("made.now").mkdir()
    arguments = ["generate", "--prompts", prompts, "--seed", "0-1", "--out", out]
    status, made, err = tedi_(*arguments)
    assert (status, len(made)) == (0, 6), err
    fake.asked = []
    assert tedi_(*arguments)[:2] == (0, made)
    assert fake.asked == []


def test_prompts_with_more_seeds_renew_their_recipe(tedi_, fake, prompts):
    arguments = ["generate", "--prompts", prompts, "--out", "faces", "--recipe", "r.yaml"]
    assert tedi_(*arguments)[0] == 0
    before = Path("r.yaml").read_text()
    status, out, err = tedi_(*arguments, "--seed", "0-1")
    assert (status, len(out)) == (0, 6), err
    assert Path("r.yaml").read_text() != before
    before, fake.asked = Path("r.yaml").read_text(), []
    status, _, err = tedi_(*arguments, "--psi", "0.1", "--out", "others")
    assert (status, fake.asked) == (1, [])
    assert "r.yaml: already exists" in err
    assert Path("r.yaml").read_text() == before


def test_prompts_default_to_a_folder_of_the_files_name(tedi_, fake, prompts):
    assert tedi_("generate", "--prompts", prompts)[1][0] == "prompts/a-man-seed0.png"


def test_prompts_twice_in_a_file_are_two_pictures_and_resume(tedi_, fake):
    Path("p.txt").write_text("\ufeffa man\na man\nA man!\n", encoding="utf-8")
    arguments = ["generate", "--prompts", "p.txt", "--out", "faces"]
    _, out, _ = tedi_(*arguments)
    assert out == [f"faces/a-man-seed0{n}.png" for n in ("", "-2", "-3")]
    assert fake.asked[0] == ("a man", 0)  # the byte-order mark of Windows editors is no text
    fake.asked = []
    assert tedi_(*arguments)[:2] == (0, out)
    assert fake.asked == []


# --- what is refused -----------------------------------------------------------------------------

WRONG = {
    "empty prompt": ([""], 2, "prompt: expected words"),
    "blank prompt": (["  "], 2, "prompt: expected words"),
    "long prompt": (["a " * 2500 + "man"], 2, "at most 2000; shorten it"),
    "another script": (["улыбающаяся женщина"], 2, "write it in English"),
    "control characters": (["a \x1b[31mman"], 2, r"control character '\x1b'"),
    "lone surrogate": (["a man \ud800"], 2, "control character"),
    "no prompt": ([], 2, "give a prompt"),
    "two prompts": (["a man", "--prompts", "p.txt"], 2, "give a prompt"),
    "a prompt not quoted": (["a", "man"], 2, "unexpected extra argument"),
    "seed a word": (["a man", "--seed", "x"], 2, "expected 7, 0-7 or 1,5,9"),
    "seeds falling": (["a man", "--seed", "5-2"], 2, "expected rising seeds"),
    "seed empty": (["a man", "--seed", ""], 2, "expected 7, 0-7 or 1,5,9"),
    "seed negative": (["a man", "--seed", "-3"], 2, "expected 7, 0-7 or 1,5,9"),
    "seed too large": (["a man", "--seed", str(2**32)], 2, "up to 4294967295"),
    "seed of 5,000 digits": (["a man", "--seed", "9" * 5000], 2, "up to 4294967295"),
    "seeds too many to list": (["a man", "--seed", "0-4294967295,7"], 2, "give one range"),
    "seeds past the end": (["a man", "--seed", "4294967295", "-n", "2"], 2, "seeds end at"),
    "seeds and count": (["a man", "--seed", "1-3", "-n", "2"], 2, "disagree; give one"),
    "count 0": (["a man", "-n", "0"], 2, "'-n'"),
    "count a word": (["a man", "-n", "few"], 2, "'-n'"),
    "count beyond all bounds": (["a man", "-n", "9" * 20], 2, "'-n'"),
    "grid too large": (["a man", "-n", "3000", "--grid"], 2, "--grid: 3000 pictures, at most 2000"),
    "psi": (["a man", "--psi", "9"], 2, "'--psi'"),
    "psi no number": (["a man", "--psi", "nan"], 2, "psi"),
    "strength": (["a man", "--strength", "-1"], 2, "'--strength'"),
    "dtype": (["a man", "--dtype", "int8"], 2, "'--dtype'"),
    "batch size": (["a man", "--batch-size", "0"], 2, "'--batch-size'"),
    "unknown option": (["a man", "--sede", "3"], 2, "--seed"),
    "unknown suffix": (["a man", "--out", "a.gif"], 2, "unknown picture suffix '.gif'"),
    "line break": (["a man", "--out", "a\nb.gif"], 2, "unknown picture suffix '.gif'"),
    "unknown field": (["a man", "--out", "{sede}.png"], 2, "did you mean 'seed'?"),
    "below a file": (["a man", "--out", "p.txt/a.png"], 1, "pass another --out"),
    "name taken": (["a man", "--out", "d/{seed}.png"], 1, "d/0.png: already exists"),
    "a folder": (["a man", "--out", "d/{seed}.png", "--overwrite"], 1, "d/0.png: is a folder"),
    "no prompts file": (["--prompts", "none.txt"], 1, "--prompts: none.txt cannot be read"),
    "prompts a folder": (["--prompts", "d"], 1, "--prompts: d cannot be read"),
    "prompts no text": (["--prompts", "bin.txt"], 1, "--prompts: bin.txt cannot be read as UTF-8"),
    "prompts empty": (["--prompts", "empty.txt"], 2, "--prompts: empty.txt holds no prompt"),
    "prompts with a bad line": (["--prompts", "bad.txt"], 2, "bad.txt, line 3: prompt: "),
}


@pytest.mark.parametrize(("suffix", "rows"), [("webp", 62), ("jpg", 248)])
def test_a_sheet_too_tall_for_its_format_is_refused_before_it_is_drawn(tedi_, fake, suffix, rows):
    Path("p.txt").write_text("a man\n" * rows)
    arguments = ["generate", "--prompts", "p.txt", "--grid", "--out"]
    status, out, err = tedi_(*arguments, f"a.{suffix}")
    assert (status, out, fake.loaded) == (2, [], [])
    assert re.search(r"a\.\w+: [\d,]+ x [\d,]+ pixels, .* save it as \.png\n$", err)
    assert tedi_(*arguments, "a.png", "--dry-run")[0] == 0
    Path("p.txt").write_text("a man\n" * (rows - 1))
    assert tedi_(*arguments, f"a.{suffix}", "--dry-run")[0] == 0


def test_a_jpeg_holds_one_code():
    check_codes("a.jpg", 1, "photo")
    check_codes("a.png", 2, "photo and sketch")
    with pytest.raises(UsageError, match="--out: a JPEG cannot hold the codes of photo and sketch"):
        check_codes("a.JPG", 2, "photo and sketch")


@pytest.mark.parametrize(
    ("command", "holder", "name", "advised"),
    [
        (["generate", "--photo", "p.txt"], "tedi.cli.given:Given", "load", ()),
        (["sketch", "p.txt"], "tedi.cli.sketch", "_face", ("align",)),
        (["parse", "p.txt"], "tedi.images", "load", ("align", "face")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("kind", ["align", "face"])
def test_only_options_that_a_command_has_are_advised(
    tedi_, fake, monkeypatch, command, holder, name, advised, kind
):
    """No face calls for --no-align, one of two that is too small for another."""
    points = np.array([(0.37, 0.47), (0.63, 0.47), (0.5, 0.62), (0.4, 0.73), (0.6, 0.73)]) * 20
    small = Detected((0, 0, 9, 9), 1.0, points)
    found = {"align": [], "face": [small, small]}[kind]
    ways = {"align": "; pass --no-align if it is", "face": "; or choose another with --face"}
    Path("p.txt").write_text("a man")
    monkeypatch.setattr(
        pkgutil.resolve_name(holder), name, lambda *_, **__: choose(found, "largest", "p.txt")
    )
    status, out, err = tedi_(*command)
    assert (status, out, err.count("\n")) == (1, [], 1)
    assert err.startswith("tedi: p.txt: ")
    assert (ways[kind] in err) == (kind in advised)
    assert ("--" in err) == (kind in advised)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_one_line(tedi_, fake, folder, case):
    arguments, status, says = WRONG[case]
    Path("p.txt").write_text("a man\n")
    Path("empty.txt").write_text("# nothing\n\n")
    Path("bad.txt").write_text("a man\n# b\nулыбка\n", encoding="utf-8")
    Path("bin.txt").write_bytes(b"\xff\xfe\x00")
    Path("d/0.png").mkdir(parents=True)
    before = files()
    got, out, err = tedi_("generate", *arguments)
    assert (got, out) == (status, [])
    assert err.count("\n") == 1, err
    assert err.startswith("tedi: ")
    assert says in err
    assert "Traceback" not in err
    assert len(err) < 400
    assert files() == before
    assert status == 1 or fake.loaded == [] or case == "psi no number"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["genrate", "a man"], "unknown command 'genrate'; did you mean 'generate'?"),
        (["--nonsense"], "--nonsense"),
        (["weights", "lst"], "lst"),
        (["weights", "show"], "NAME"),
        (["weights", "show", "minilm"], "unknown weights 'minilm'; did you mean 'minilm-l6'?"),
        (["weights", "path", "minilm"], "unknown weights 'minilm'; did you mean 'minilm-l6'?"),
        (["weights", "pull", "minilm"], "unknown weights 'minilm'; did you mean 'minilm-l6'?"),
        (["generate", "a man", "--device", "nonsense"], "device: 'nonsense'"),
        (["generate", "a man", "--device", "cuda:99"], "device: 'cuda:99'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_wrong_calls_are_one_line(tedi_, arguments, says):
    status, out, err = tedi_(*arguments)
    assert (status, out) == (2, [])
    assert err.count("\n") == 1, err
    assert err.startswith("tedi: ")
    assert says in err


def test_weights_that_cannot_be_had_are_one_line(tedi_, monkeypatch, tmp_path):
    monkeypatch.setenv("TEDI_HOME", str(tmp_path / "home"))
    status, out, err = tedi_("weights", "path", "minilm-l6")
    assert (status, out) == (1, [])
    assert err == (
        "tedi: minilm-l6: not on this disk yet; fetch it with: tedi weights pull minilm-l6\n"
    )


# --- help ----------------------------------------------------------------------------------------


def commands(group=cli, path=()) -> dict[tuple[str, ...], click.Command]:
    """Every command by its words, groups too."""
    found = {path: group}
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            found |= commands(group.get_command(context, name), (*path, name))
    return found


ALL = commands()
each_command = pytest.mark.parametrize("path", ALL, ids=" ".join)


@each_command
def test_help_fits_a_terminal_and_lists_every_option(tedi_, path):
    status, out, err = tedi_(*path, "--help")
    assert (status, err) == (0, "")
    text = "\n".join(out)
    assert max(map(len, out)) <= 80
    assert "\\b" not in text
    assert "\b" not in text
    for parameter in ALL[path].params:
        for flag in parameter.opts if isinstance(parameter, click.Option) else ():
            assert flag in text
    assert re.sub(r"\W", "", str(ALL[path].help).partition("\n")[0]) in re.sub(r"\W", "", text)


def examples() -> list[str]:
    """Commands that help pages show, one a line."""
    pages = "\n".join(inspect.cleandoc(str(each.help)) for each in ALL.values())
    return list(dict.fromkeys(re.findall(r"^tedi .*$", pages, re.MULTILINE)))


def test_there_are_examples():
    assert len(examples()) >= 6


# Examples that draw, or build on one another: tests of their own commands run them.
ELSEWHERE = (
    "tedi edit ",
    "tedi morph ",
    "tedi mix ",
    "tedi diffuse ",
    "tedi draw ",
    "tedi run ",
    "tedi compare ",
    "tedi parse ",
    "tedi invert ",
    "tedi sketch ",
    "tedi evaluate edits --edits",
    "tedi evaluate inversion ",
    "tedi evaluate sketch --photos",
    "tedi evaluate spaces ",
    "tedi evaluate video ",
    "tedi export ",
    "tedi generate --generator ",
    "tedi video ",
    "tedi weights convert ",
    "tedi weights inspect ",
    "tedi evaluate label --photos",
    "tedi directions show ",
    "tedi directions fit ",
    "tedi layers --measure",
)


@pytest.mark.parametrize("example", [e for e in examples() if not e.startswith(ELSEWHERE)])
def test_help_examples_run(tedi_, example, weights):
    Path("prompts.txt").write_text("a man\n")
    drawing = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(drawing).ellipse((70, 50, 186, 210), outline=0, width=3)
    drawing.save("face.png")
    Image.new("L", (256, 256), 1).save("map.png")
    words = shlex.split(example)[1:]
    status, out, err = tedi_(
        *words, *(["--dry-run"] if words[0] in ("generate", "evaluate") else [])
    )
    assert status == 0, err
    assert out or err


@pytest.mark.parametrize("path", [path for path in ALL if isinstance(ALL[path], click.Group)])
def test_a_group_alone_shows_its_help(tedi_, path):
    _, plain, _ = tedi_(*path, "--help")
    status, out, err = tedi_(*path)
    assert (status, out) == (2, [])
    assert err.splitlines() == plain


def test_messages_name_options_that_exist():
    """Every --option in a text of tedi belongs to some command (or to train.py)."""
    known = {
        flag for each in ALL.values() for p in each.params for flag in p.opts + p.secondary_opts
    }
    known |= {"--help", "--folder", "--set"}  # the last two of train/train.py
    root = Path(tedi.__file__).parent
    sources = [p for p in root.rglob("*.py") if "zoo" not in p.parts]  # it calls pip with options
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", node.value):
                    assert flag in known, f"{path}:{node.lineno}: {flag}"


def test_version(tedi_):
    assert tedi_("--version") == (0, [f"tedi {tedi.__version__}"], "")


def test_the_table_names_the_commands():
    assert list(COMMANDS) == cli.list_commands(click.Context(cli))
    assert [cli.get_command(click.Context(cli), name).name for name in COMMANDS] == list(COMMANDS)
    page = " ".join(cli.get_help(click.Context(cli)).split())
    for name, (_, line) in COMMANDS.items():
        assert f"{name} {line}" in page


def test_a_range_of_seeds_is_not_unrolled():
    assert Seeds().convert(f"0-{MAX_SEED}", None, None) == range(MAX_SEED + 1)


# --- weights -------------------------------------------------------------------------------------


def test_weights_list(tedi_, weights):
    status, out, err = tedi_("weights", "list")
    assert (status, err) == (0, "")
    names = [line.split()[0] for line in out]
    assert {"mobilestylegan-ffhq", "minilm-l6"} <= set(names)
    row = next(line for line in out if line.startswith("mobilestylegan-ffhq "))
    assert row.split()[1:] == ["generator", "37.6", "MB", "here"]
    _, lines, _ = tedi_("weights", "list", "--json")
    rows = [json.loads(line) for line in lines]
    assert [each["name"] for each in rows] == names
    assert {"kind", "bytes", "state"} <= rows[0].keys()


def test_weights_not_here_are_listed_as_such(tedi_, monkeypatch, tmp_path):
    monkeypatch.setenv("TEDI_HOME", str(tmp_path / "home"))
    _, out, _ = tedi_("weights", "list")
    assert "not here yet" in next(line for line in out if line.startswith("minilm-l6"))
    assert not (tmp_path / "home").exists()


def test_weights_show_tells_terms_and_origin(tedi_, weights):
    status, out, _ = tedi_("weights", "show", "mobilestylegan-ffhq")
    text = " ".join(" ".join(out).split())
    assert status == 0
    assert "non-commercial" in text
    assert "e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5" in text
    assert str(weights["mobilestylegan-ffhq"]) in text.replace(" ", "") or "path" in text
    _, out, _ = tedi_("weights", "show", "minilm-l6", "--json")
    told = json.loads(out[0])
    assert (told["licence"], told["path"]) == ("Apache-2.0", str(weights["minilm-l6"]))


def test_weights_path_and_pull_print_it(tedi_, weights):
    for word in ("path", "pull"):
        status, out, err = tedi_("weights", word, "minilm-l6")
        assert (status, out, err) == (0, [str(weights["minilm-l6"])], "")


def test_shipped_weights_are_listed_and_shown(tedi_):
    """The files that the package must hold."""
    _, out, _ = tedi_("weights", "list")
    rows = {line.split()[0]: line for line in out}
    for name in ("mobilestylegan-ffhq-preview", "text-minilm-l6"):
        assert rows[name].endswith("shipped")
        status, shown, _ = tedi_("weights", "show", name, "--json")
        told = json.loads(shown[0])
        assert status == 0
        assert told["licence"].startswith("MIT")
        assert told["recipe"].startswith("train/")
        assert re.fullmatch("[0-9a-f]{64}", told["sha256"])
        assert json.loads(told["figures"])
        assert Path(told["path"]).is_file()


# --- through a real process ----------------------------------------------------------------------


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "tedi", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        **options,
    )


def test_the_reader_of_a_long_list_may_leave(folder):
    """As `tedi generate … --dry-run | head -2` does."""
    arguments = [sys.executable, "-m", "tedi", "generate", "a man", "-n", "100000", "--dry-run"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        lines = [running.stdout.readline() for _ in range(2)]
        running.stdout.close()
        err = running.stderr.read()
    assert lines == [b"a-man-seed0.png\n", b"a-man-seed1.png\n"]
    assert err == b""
    assert running.returncode == 1


def test_exit_statuses_of_a_process(folder):
    assert process("--version").returncode == 0
    assert process("generate", "").returncode == 2
    assert process("generate", "--prompts", "none.txt").returncode == 1


@pytest.mark.slow
def test_from_words_to_a_face(folder):
    """The released weights, as installed: paths on stdout, the same bits twice."""
    arguments = ["generate", SMILE, "-n", 2, "--preview", "--device", "cpu"]
    first = process(*arguments, "--out", "first/{seed}.png")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines() == ["first/0.png", "first/1.png"]
    assert "Traceback" not in first.stderr
    second = process(*arguments, "--seed", "0", "--out", "second/{seed}.png", "--json")
    record = json.loads(second.stdout.splitlines()[0])
    assert record["path"] == "second/0.png"
    picture = Image.open("first/0.png")
    assert (picture.size, picture.mode) == ((256, 256), "RGB")
    assert Path("first/0.png").read_bytes() == Path("second/0.png").read_bytes()
    assert Path("first/0.png").read_bytes() != Path("first/1.png").read_bytes()
    assert read_provenance("first/0.png")["weights"].keys() == {
        "attributes-lite0",
        "mobilestylegan-ffhq",
        "mobilestylegan-ffhq-preview",
        "text-minilm-l6",
        "minilm-l6",
        "codes-mobilestylegan-ffhq",
    }
    lightness = picture.convert("L").resize((1, 1)).getpixel((0, 0))
    assert 40 < lightness < 215
