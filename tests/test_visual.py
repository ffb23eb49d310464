"""The visual encoder and its training, on a few made-up pictures."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tedi import zoo
from tedi.checkpoints import native
from tedi.encoders.visual import STARTS, VisualEncoder
from tedi.errors import TediError
from tedi.inversion.encode import draw_full
from tedi.training.loop import Settings, run
from tedi.training.pictures import kept, to_bytes
from tedi.training.visual import (
    CodeJudge,
    FeatureJudge,
    VisualOptions,
    VisualTask,
    drawn_codes,
    judgement,
    worn,
)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return VisualEncoder().eval()


def test_groups_of_slots_are_the_generators(generator):
    ends = {"coarse": 5, "medium": 9, "fine": 16}
    for group, start in STARTS.items():
        assert tuple(generator.layers(group)) == tuple(range(start, ends[group]))


def test_codes_begin_as_one_w_and_offsets_move_their_own_slots(encoder):
    image = torch.rand(2, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        ws = encoder(image)
        assert ws.shape == (2, 16, 512)
        assert torch.equal(ws, ws[:, :1].expand_as(ws))
        encoder.offset["medium"].bias[:] = 1
        place, offsets = encoder.parts(image)
    still = [slot for slot in range(16) if not 5 <= slot < 9]
    assert not offsets[:, still].any()
    assert offsets[:, 5:9].all()
    assert torch.equal(place, ws[:, 0])


def test_pictures_of_any_size_are_looked_at_at_256(encoder):
    image = torch.rand(1, 3, 256, 256).repeat_interleave(4, 2).repeat_interleave(4, 3)
    with torch.no_grad():
        large, small = encoder(image), encoder(image[..., ::4, ::4])
    assert torch.allclose(large, small, atol=0.05)


def test_who_it_is_counts_where_a_network_says_it(encoder):
    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        alone = encoder(image)
        encoder.person.weight[:] = 0.1
        assert torch.equal(encoder(image), alone)
        encoder.describe = lambda x: torch.ones(len(x), 128)
        assert not torch.allclose(encoder(image), alone)


def test_the_judge_is_punished_for_slopes_on_photos():
    torch.manual_seed(1)
    judge = FeatureJudge()
    maps = [torch.rand(2, width, 16, 16) for width in FeatureJudge.LEVELS.values()]
    real = [m.clone().requires_grad_() for m in maps]
    flat, steep = (judgement(judge, real, maps, gamma).item() for gamma in (0.0, 1e4))
    assert steep > flat
    assert flat == pytest.approx(2 * np.log(2), rel=0.2)  # it knows nothing yet
    assert CodeJudge(8)(torch.zeros(3, 5, 8)).shape == (3, 5, 1)


def test_drawn_codes_are_of_one_face_or_two(generator):
    ws = drawn_codes(generator, 40)
    assert torch.equal(ws, drawn_codes(generator, 40))
    mixed = [len(code.unique(dim=0)) for code in ws]
    assert set(mixed) == {1, 2}


def test_full_size_drawings_are_averaged_down(generator, ws):
    with torch.no_grad():
        small, large = draw_full(generator, ws[:1], 256), generator.synthesis(ws[:1])
    assert small.shape == (1, 3, 256, 256)
    assert torch.allclose(small[0, :, 8, 9], large[0, :, 32:36, 36:40].mean(dim=(1, 2)), atol=1e-5)


def test_worn_pictures_keep_what_they_show():
    image = torch.linspace(-1, 1, 64).expand(3, 3, 64, 64)
    rng = np.random.default_rng(0)
    assert torch.equal(worn(image, rng, 0.0), image)
    changed = worn(image, rng, 1.0)
    assert not torch.allclose(changed, image, atol=0.05)
    assert torch.corrcoef(torch.stack([changed.flatten(), image.flatten()]))[0, 1] > 0.9


def test_rows_are_made_once(tmp_path):
    made = []

    def make(rows):
        made.append((rows.start, rows.stop))
        return np.arange(rows.start, rows.stop, dtype=np.uint8)[:, None] + 1

    for _ in range(2):
        rows = kept(tmp_path / "rows.npy", (5, 2), make, batch=2)
    assert made == [(0, 2), (2, 4), (4, 5)]
    assert rows[:, 1].tolist() == [1, 2, 3, 4, 5]


def test_the_task_learns_and_its_file_loads(generator, tmp_path):
    """Two steps of all terms, by the loop that ships the encoder."""
    options = VisualOptions(photo_batch=1, drawn_batch=1, held_out=2, average=600, compiled=False)
    settings = Settings("visual", steps=2, out=str(tmp_path / "visual.safetensors"), warmup=1)
    ws = drawn_codes(generator, 101)
    with torch.no_grad():
        pictures = to_bytes(generator.preview(ws[:3]))
    drawn = np.concatenate([pictures[:1]] * 101)
    task = VisualTask(generator, generator.preview, pictures, (ws, drawn), options, settings)
    terms = task.step(0)
    assert {"code", "pixel", "perceptual", "identity", "fooled", "judge", "w judge"} <= set(terms)
    assert all(bool(value.isfinite()) for value in terms.values())
    figures = run(task, settings, folder=tmp_path / "run")
    assert figures["photos"] == 1
    encoder = native.load_visual_encoder(tmp_path / "visual.safetensors")
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 256, 256)).shape == (1, 16, 512)
    assert not any("describe" in name for name in load_file(tmp_path / "visual.safetensors"))


def test_a_file_of_something_else_is_refused():
    with pytest.raises(TediError, match="not a visual encoder"):
        native.load_visual_encoder(zoo.pull("parser-lite0"))
