"""Training on a GPU: a pretended one, on which every task takes the steps it takes on the CPU."""

import numpy as np
import pytest
import torch
from pretend import GPU, Pretended, a_gpu
from test_base import AT, faces
from test_fspace import brightness
from test_mapper import reading
from test_parser import drawing, task_of
from test_pti import TinyNetwork
from test_stylegan3_training import Teacher
from test_stylegan3_training import task as stylegan3_of
from test_tedigan import OPTIONS as TEDIGAN
from test_training import TINY_CODES, TINY_TEXT, judged, some_faces
from tiny import TinyBackbone, TinyGenerator, code_reader
from torch import nn

from tedi import zoo
from tedi.attributes import COLUMNS
from tedi.checkpoints import native
from tedi.checkpoints.identity import load_identity
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.visual import VisualEncoder
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.losses import LOSSES
from tedi.training import structure
from tedi.training.attributes import AttributeOptions, AttributeTask
from tedi.training.base import BaseOptions, BaseTask
from tedi.training.codes import CodeTask, Sampler, whitening
from tedi.training.loop import Settings
from tedi.training.mapper import MapperOptions, MapperTask, Unlikely
from tedi.training.pictures import to_bytes
from tedi.training.preview import PreviewTask
from tedi.training.restyle import RestyleOptions, RestyleTask
from tedi.training.tedigan import TediGANTask
from tedi.training.text import TextTask
from tedi.training.visual import VisualOptions, VisualTask, drawn_codes


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def attributes_task(device):
    trunk = {n: t for n, t in AttributeModel().state_dict().items() if not n.startswith("head")}
    options = AttributeOptions(batch_size=2)
    return AttributeTask(some_faces(16), noise(16, 3, 256, 256), trunk, options, seed=0)


def codes_task(device):
    generator = TinyGenerator(width=512).to(device)
    return CodeTask(generator, some_faces(24), judged(), TINY_CODES, seed=0)


def parser_task(device):
    return task_of([drawing(number) for number in range(8)], batch_size=2, test=1)


class FirstWord(nn.Module):
    """Stands for an LSTM, whose fused kernel only a real GPU has."""

    def __init__(self, lstm):
        super().__init__()
        self.leave = nn.Linear(lstm.input_size, 2 * lstm.hidden_size)

    def forward(self, packed):
        x = self.leave(packed.data[: packed.batch_sizes[0]])[packed.unsorted_indices]
        return None, (x.unflatten(1, (2, -1)).transpose(0, 1), None)


def tedigan_task(device):
    generator = TinyGenerator(width=512, slots=2).to(device)
    task = TediGANTask(generator, some_faces(24), TEDIGAN, seed=0)
    task.model.lstm = FirstWord(task.model.lstm)
    return task


def text_task(device):
    generator = TinyGenerator(width=512).to(device)
    reader = code_reader(channels=512)
    return TextTask(generator, reader, TinyBackbone(), some_faces(40), TINY_TEXT, seed=0)


def stylegan3_task(device):
    torch.manual_seed(0)
    teacher = Teacher().requires_grad_(False)
    return stylegan3_of(teacher, noise(12, 3, 128, 128), unaligned=True)


class Faces(TinyGenerator):
    """Draws previews of 256 px, and has the groups of slots of the embedded generator."""

    def __init__(self):
        super().__init__(width=512)

    def preview(self, ws):
        return nn.functional.interpolate(self.synthesis(ws), (256, 256), mode="bilinear")

    def layers(self, group):
        return MobileStyleGAN.layers(None, group)


def base_task(device):
    generator = TinyNetwork().to(device)
    (w, pixels), (held, _) = (faces(count, seed) for seed, count in enumerate((6, 5)))
    settings = {"at": AT, "batch_size": 2, "read": 2, "hidden": 8, "held_out": 5}
    options = BaseOptions(**settings, drawn=1, worn=1.0)
    trunk, w, held = AttributeModel().state_dict(), w.to(device), held.to(device)
    return BaseTask(generator, (w, pixels), held, trunk, brightness, options, seed=3)


def mapper_task(device):
    generator = Faces().to(device)
    judge = native.load_attribute_model(zoo.pull("attributes-lite0")).to(device)
    described = load_identity(zoo.pull("face-recognition")).to(device)
    loss = Unlikely(reading({"hat": frozenset({True})}, age=1.0), judge)
    options = MapperOptions(prompt="an older person with a hat", held_out=2)
    return MapperTask(generator, loss, LOSSES["identity"](described), options, seed=0)


PHOTOS = {"photo_batch": 1, "drawn_batch": 1, "held_out": 2, "average": 600, "compiled": False}


def drawn_by(generator):
    ws = drawn_codes(generator, 101)
    with torch.no_grad():
        shown = to_bytes(generator.preview(ws[:3]))
    return shown, (ws, np.concatenate([shown[:1]] * 101))


def visual_task(device):
    generator = Faces().to(device)
    photos, drawn = drawn_by(generator)
    settings = Settings("visual", steps=2, out="x")
    options = VisualOptions(**PHOTOS, moved=1.0, worn=1.0, grow=0.5)
    return VisualTask(generator, generator.preview, photos, drawn, options, settings)


def restyle_task(device):
    generator = Faces().to(device)
    photos, drawn = drawn_by(generator)
    options = RestyleOptions(**PHOTOS, looks=2, measured=1)
    settings = Settings("restyle", steps=2, out="x")
    return RestyleTask(generator, generator.preview, photos, drawn, options, settings)


def structure_task(device):
    generator = Faces().to(device)
    photos, (ws, _) = drawn_by(generator)
    labels = np.random.default_rng(1).integers(0, 19, (3, 256, 256), dtype=np.uint8)
    known = structure.Faces(ws[:3], photos, labels, noise(3, 256, 256))
    given = known, known._replace(ws=ws[:3].cpu())  # codes of photos are kept in a file
    options = structure.StructureOptions(
        drawn_batch=1, photo_batch=1, back=2, held_out=2, average=600, compiled=False
    )
    parser = native.load_parser(zoo.pull("parser-lite0")).to(device)
    settings = Settings("structure", steps=2, out="x")
    visual = VisualEncoder().to(device)
    return structure.StructureTask(
        generator, generator.preview, parser, visual, given, options, settings
    )


MAKERS = {
    "attributes": attributes_task,
    "base": base_task,
    "codes": codes_task,
    "mapper": mapper_task,
    "parser": parser_task,
    "restyle": restyle_task,
    "structure": structure_task,
    "stylegan3": stylegan3_task,
    "tedigan": tedigan_task,
    "text": text_task,
    "visual": visual_task,
}


def taken(make, device):
    """Losses of a step of a task whose networks lie on a device, and its figures."""
    torch.manual_seed(0)
    task = make(device)
    task.model.to(device)
    task.model.train()
    torch.manual_seed(1)
    losses = task.step(0)
    total = torch.stack(list(losses.values())).sum()
    assert total.device == device
    total.backward()
    learned = [p for group in task.groups(1e-3) for p in group["params"]]
    assert {p.device for p in learned} == {device}
    assert any(p.grad is not None for p in learned)
    task.model.eval()
    figures = task.evaluate()
    tensors, _ = task.export()
    assert tensors
    return {name: value.item() for name, value in losses.items()}, figures


HEAVY = ("attributes", "mapper", "restyle", "structure", "visual")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=[pytest.mark.slow] * (name in HEAVY))
        for name, make in MAKERS.items()
    ],
)
def test_a_step_on_a_gpu_is_that_on_the_cpu(make, monkeypatch):
    monkeypatch.setattr(structure, "HELD_DRAWN", 1)
    monkeypatch.setattr(structure, "chamfer", lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    expected, figures = taken(make, torch.device("cpu"))
    with a_gpu():
        found, there = taken(make, GPU)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert there == pytest.approx(figures, rel=1e-4, abs=1e-4)


def test_codes_are_made_drawn_and_judged_on_both():
    """What is made before training, too: the same numbers, kept on the CPU."""

    def made(device):
        generator = TinyGenerator(width=512).to(device)
        sampler = Sampler(generator, lambda x: seen.to(x) * x.mean(), None, seed=3)
        ws = sampler.codes(4, seed=1)
        preview = PreviewTask.__new__(PreviewTask)
        preview.generator = generator
        return [
            ws,
            sampler.judge(ws),
            drawn_codes(generator, 3).cpu(),
            preview.codes(6, torch.Generator().manual_seed(0)).cpu(),
            *(each.cpu() for each in whitening(generator, 600, seed=0)),
        ]

    seen = torch.linspace(-1, 1, len(COLUMNS))[None]
    expected = made(torch.device("cpu"))
    with a_gpu():
        found = made(GPU)
        assert not any(isinstance(each, Pretended) for each in found)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one)


def test_the_pretended_gpu_refuses_what_lies_elsewhere():
    with a_gpu():
        there = torch.ones(2).to(GPU)
        assert (there.device, (2 * there).tolist()) == (GPU, [2.0, 2.0])
        with pytest.raises(RuntimeError, match="on the same device"):
            there + torch.ones(2)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
