"""The text encoder against closed forms, prompts that are refused, and a backbone read off disk."""

import dataclasses
import json

import pytest
import torch
from conftest import TEDIFACES
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORD_WIDTH, TinyBackbone, text_encoder
from torch.distributions import MultivariateNormal

from tedi import language, prompts, zoo
from tedi.checkpoints import native
from tedi.encoders.text import Measurement, TextEncoder, TextReader
from tedi.errors import TediError, UsageError
from tedi.training.dataset import is_held_out, load_tedifaces, noise

C, L, N = 5, 2, 3
FIELDS = dataclasses.fields(Measurement)


@pytest.fixture(params=[1, 2, 3], ids="K={}".format)
def encoder(request) -> TextEncoder:
    return text_encoder(concepts=request.param, slots=L, channels=C, dtype=torch.double)


def said(encoder, *, n=N, silent=False) -> Measurement:
    """What n made-up texts say of all concepts, or of all but the first."""
    K = len(encoder.concepts)
    random = torch.Generator().manual_seed(K)
    precision = torch.rand(n, K, generator=random, dtype=torch.double) * 2 + 0.1
    precision[:, 0] *= not silent
    target = torch.randn(n, K, generator=random, dtype=torch.double) * 2 * (precision > 0)
    return Measurement(target, precision)


def codes(n=N) -> torch.Tensor:
    random = torch.Generator().manual_seed(n)
    return torch.randn(n, L, C, generator=random, dtype=torch.double)


def whitened(encoder, ws) -> torch.Tensor:
    return (ws - encoder.w_avg) @ encoder.whiten.T


def posterior(encoder, h, d, prior=None) -> MultivariateNormal:
    """p(u | text) for u ~ N(prior, I) and h = D A u + N(0, I), from information form."""
    A = encoder.directions()
    prior = torch.zeros(C, dtype=torch.double) if prior is None else prior
    precision = torch.eye(C, dtype=torch.double) + A.T @ torch.diag(d**2) @ A
    mean = torch.linalg.solve(precision, prior + A.T @ (d * h))
    return MultivariateNormal(mean, precision_matrix=precision)


def test_similarity_is_the_log_ratio_of_densities(encoder):
    measured, ws = said(encoder), codes(4)
    similarity = encoder.similarity(ws, measured)
    assert similarity.shape == (N, 4, L)
    faces = MultivariateNormal(torch.zeros(C).double(), torch.eye(C).double())
    u = whitened(encoder, ws)
    for n in range(N):
        fitting = posterior(encoder, measured.target[n], measured.precision[n])
        expected = fitting.log_prob(u) - faces.log_prob(u)
        torch.testing.assert_close(similarity[n], expected, rtol=1e-9, atol=1e-9)


def test_similarity_averages_to_one_face_in_odds(encoder):
    """E over faces of p(u | text) / p(u) is 1: a text that fits some must fit others less."""
    random = torch.Generator().manual_seed(0)
    u = torch.randn(200_000, 1, C, generator=random, dtype=torch.double)
    ws = encoder.w_avg + u @ encoder.color.T
    K = len(encoder.concepts)
    mild = Measurement(torch.full((1, K), 0.3).double(), torch.full((1, K), 0.5).double())
    assert encoder.similarity(ws, mild).exp().mean().item() == pytest.approx(1, abs=0.02)


def test_fit_is_the_conditional_mean(encoder):
    measured, ws = said(encoder), codes()
    fitted = whitened(encoder, encoder.fit(ws, measured))
    u = whitened(encoder, ws)
    for n in range(N):
        for slot in range(L):
            fitting = posterior(encoder, measured.target[n], measured.precision[n], u[n, slot])
            torch.testing.assert_close(fitted[n, slot], fitting.mean, rtol=1e-8, atol=1e-8)


def test_a_sure_text_moves_a_code_by_the_shortest_way(encoder):
    """Exact scores, and of all codes that have them the nearest in Mahalanobis distance."""
    wanted = torch.linspace(-1, 2, N * len(encoder.concepts)).double().view(N, -1)
    sure = torch.full_like(wanted, 1e5)
    ws = codes()
    fitted = encoder.fit(ws, Measurement(wanted * sure, sure))
    torch.testing.assert_close(
        encoder.scores(fitted), wanted[:, None].expand(-1, L, -1), atol=1e-8, rtol=0
    )
    covariance = encoder.color @ encoder.color.T
    moved = fitted - ws
    _, _, rows = torch.linalg.svd(encoder.directions())
    kept = rows[len(encoder.concepts) :] @ encoder.color.T  # moves that change no score
    inner = torch.linalg.solve(covariance, kept.T)  # any of them is orthogonal to the move taken
    torch.testing.assert_close(moved @ inner, torch.zeros_like(moved @ inner), atol=1e-8, rtol=0)


def test_fit_minimises_distance_plus_misfit(encoder):
    measured, ws = said(encoder), codes()
    fitted = encoder.fit(ws, measured).requires_grad_()
    move = whitened(encoder, fitted) - whitened(encoder, ws)
    d, h = measured.precision[:, None], measured.target[:, None]
    misfit = h - d * encoder.scores(fitted)
    (gradient,) = torch.autograd.grad(move.square().sum() + misfit.square().sum(), fitted)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-8, rtol=0)


def test_a_silent_text_changes_nothing(encoder):
    zero = torch.zeros(N, len(encoder.concepts)).double()
    silent, ws = Measurement(zero, zero), codes()
    assert torch.equal(encoder.fit(ws, silent), ws)
    assert torch.equal(encoder.similarity(ws, silent), torch.zeros(N, N, L).double())


def test_what_is_not_named_is_moved_only_as_it_hangs_together():
    """With orthogonal concepts, one that a text is silent about keeps its score."""
    encoder = text_encoder(concepts=3, slots=L, channels=C, dtype=torch.double)
    with torch.no_grad():
        encoder.concepts.copy_(torch.linalg.qr(encoder.concepts.T).Q.T)
    measured, ws = said(encoder, silent=True), codes()
    before, after = encoder.scores(ws), encoder.scores(encoder.fit(ws, measured))
    torch.testing.assert_close(after[..., 0], before[..., 0], atol=1e-9, rtol=0)
    assert ((after - before)[..., 1:].abs() > 1e-3).all()


def test_sharpened_is_the_text_said_over_again(encoder):
    """Twice as strong is two independent measurements that say the same."""
    measured, ws = said(encoder), codes()
    twice = text_encoder(
        concepts=2 * len(encoder.concepts), slots=L, channels=C, dtype=torch.double
    )
    with torch.no_grad():
        twice.concepts.copy_(encoder.concepts.repeat(2, 1))
        for name in ("w_avg", "whiten", "color"):
            getattr(twice, name).copy_(getattr(encoder, name))
    doubled = Measurement(measured.target.repeat(1, 2), measured.precision.repeat(1, 2))
    sharpened = measured.sharpened(2)
    torch.testing.assert_close(encoder.fit(ws, sharpened), twice.fit(ws, doubled))
    once = measured.sharpened(1)
    assert torch.equal(once.target, measured.target)
    assert torch.equal(once.precision, measured.precision)


def test_forward_is_the_fit_from_the_mean(encoder):
    encoder = encoder.float()
    texts = ["a smiling woman", "an old man with a beard"]
    ws = encoder(texts, strength=1.5)
    mean = encoder.w_avg.expand(2, L, -1)
    torch.testing.assert_close(ws, encoder.fit(mean, encoder.read(texts).sharpened(1.5)))
    assert ws.shape == (2, L, C)
    assert torch.equal(encoder(texts, strength=0), mean)


def test_scores_have_variance_one_over_faces(encoder):
    random = torch.Generator().manual_seed(0)
    u = torch.randn(100_000, 1, C, generator=random, dtype=torch.double)
    scores = encoder.scores(encoder.w_avg + u @ encoder.color.T)
    assert scores.std(dim=0).flatten().tolist() == pytest.approx([1] * scores.shape[2], rel=0.02)
    assert scores.mean(dim=0).abs().max() < 0.02


def test_without_a_backbone_reading_is_a_bug():
    encoder = text_encoder()
    encoder.backbone = None
    with pytest.raises(RuntimeError, match="backbone"):
        encoder.read(["a man"])


def test_reader_sees_words_in_any_padding():
    """A text read beside a longer one says the same as alone; precision is never negative."""
    torch.manual_seed(0)
    reader = TextReader(WORD_WIDTH, 4).eval()
    torch.nn.init.normal_(reader.leave)
    backbone = TinyBackbone()
    alone = reader(*backbone(["a man"]))
    beside = reader(*backbone(["a man", "a woman with long brown hair and glasses"]))
    for part in dataclasses.fields(Measurement):
        one, both = getattr(alone, part.name), getattr(beside, part.name)
        torch.testing.assert_close(both[:1], one, atol=1e-5, rtol=0)
        assert not torch.allclose(both[0], both[1])
    assert (beside.precision >= 0).all()


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("", "expected words, got ''"),
        (" \n\t ", "expected words, got ''"),
        ("a" * 5000, "5000 characters, at most 2000; shorten it"),
        ("a man\x00 with a hat", r"control character '\\x00'"),
        ("a \x1b[31mred\x1b[0m hat", r"control character '\\x1b'"),
        ("a \ud800 man", "control character"),
        ("一个微笑的女人", "not in Latin letters; write it in English"),
        ("улыбающаяся женщина", "not in Latin letters"),
        ("امرأة مبتسمة", "not in Latin letters"),
        ("😀👩", "expected words"),
        ("123 !?", "expected words"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_prompts_that_are_refused(prompt, says):
    with pytest.raises(UsageError, match=says) as caught:
        prompts.clean(prompt)
    assert str(caught.value).startswith("prompt: ")
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "tidy"),
    [
        ("  a woman\nwith\t bangs ", "a woman with bangs"),
        ("Señora Müller, née Łukasz, déjà vu", "Señora Müller, née Łukasz, déjà vu"),
        ("cafe\u0301 owner", "caf\u00e9 owner"),
        ("a woman 😀", "a woman 😀"),
        ("a woman named 雪", "a woman named 雪"),
        ("a" * 2000, "a" * 2000),
    ],
)
def test_prompts_that_are_tidied(prompt, tidy):
    assert prompts.clean(prompt) == tidy


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=50))
def test_any_text_is_tidied_once_or_refused(text):
    try:
        tidy = prompts.clean(text)
    except UsageError:
        return
    assert prompts.clean(tidy) == tidy
    assert tidy == tidy.strip()
    assert "  " not in tidy


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS += ["a", "man", "woman", "with", "bangs", "hat", "old", "smiling"]


@pytest.fixture
def bert(tmp_path):
    """Folder of a transformers BERT of two layers with random weights and its tokenizer."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=300,
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_backbone_gives_states_and_their_mask(bert):
    backbone = language.load_backbone(bert, name="bert")
    states, mask = backbone(["a man", "an old  woman with bangs"])
    assert (backbone.name, backbone.width) == ("bert", 16)
    assert states.shape == (2, 7, 16)
    assert states.dtype == torch.float32
    assert mask.dtype == torch.bool
    assert mask.sum(dim=1).tolist() == [4, 7]  # words, [CLS] and [SEP]
    assert not any(p.requires_grad for p in backbone.parameters())
    assert not backbone.model.training


def test_states_do_not_depend_on_neighbours(bert):
    backbone = language.load_backbone(bert, name="bert")
    alone, _ = backbone(["a man"])
    beside, mask = backbone(["a man", "a smiling old woman with a hat"])
    torch.testing.assert_close(beside[0, mask[0]], alone[0], atol=1e-5, rtol=0)
    other, _ = backbone(["a woman"])
    assert not torch.allclose(other[0], alone[0], atol=1e-3)


def test_backbone_refuses_what_does_not_fit(bert):
    backbone = language.load_backbone(bert, name="bert")
    with pytest.raises(UsageError, match="prompt: 302 tokens, at most 256 fit; shorten it"):
        backbone(["man " * 300])
    with pytest.raises(UsageError, match="expected words"):
        backbone(["a man", " "])


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "empty folder"])
def test_no_backbone_is_one_line(tmp_path, monkeypatch, there):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "nothing"
    if there:
        folder.mkdir()
    with pytest.raises(TediError, match="minilm: no text backbone at ") as caught:
        language.load_backbone(folder, name="minilm")
    assert "\n" not in str(caught.value)


def test_the_released_backbone_knows_words(weights):
    """Mean states of near texts are nearer than of far ones; 384 numbers a token."""
    backbone = language.load_backbone(weights["minilm-l6"], name="minilm-l6")
    states, mask = backbone(["a smiling woman", "a grinning lady", "a parked lorry"])
    mean = torch.stack([s[m].mean(dim=0) for s, m in zip(states, mask, strict=True)])
    near = torch.nn.functional.cosine_similarity(mean[0], mean[1:])
    assert states.shape[2] == backbone.width == 384
    assert near[0] > 0.5 > near[1]


@pytest.fixture(scope="module")
def shipped(weights) -> TextEncoder:
    encoder = native.load_text_encoder(zoo.path("text-minilm-l6"), slots=16)
    encoder.backbone = language.load_backbone(weights["minilm-l6"], name="minilm-l6")
    return encoder


def test_shipped_encoder_finds_the_faces_of_unseen_captions(shipped, generator):
    faces = [f for f in load_tedifaces(TEDIFACES) if is_held_out(f["index"])][:100]
    w = generator.mapping(noise([face["index"] for face in faces]))
    said = [shipped.read([face["caption"]]) for face in faces]
    together = Measurement(*(torch.cat([getattr(s, f.name) for s in said]) for f in FIELDS))
    similarity = shipped.similarity(w[:, None].expand(-1, 16, -1), together).mean(dim=2)
    found = similarity.argmax(dim=1) == torch.arange(100)
    assert found.double().mean() > 0.35  # 0.01 by chance


@pytest.mark.parametrize(
    ("prompt", "opposite", "concept"),
    [
        ("a grinning woman", "a serious woman", "smile: broad"),
        ("an old man", "a young man", "age: old"),
        ("a lady with a fringe", "a lady without a fringe", "bangs: True"),
        ("a man with a beard", "a man without a beard", "beard: full"),
        ("a blonde", "a woman with black hair", "hair_color: blond"),
        ("a woman with glasses", "a woman without glasses", "glasses: eyeglasses"),
    ],
)
def test_shipped_encoder_tells_a_prompt_from_its_opposite(shipped, prompt, opposite, concept):
    names = json.loads(zoo.metadata(zoo.path("text-minilm-l6"))["concepts"])
    scores = shipped.scores(shipped([prompt, opposite], strength=3.0))[:, 0, names.index(concept)]
    assert scores[0] - scores[1] > 0.7  # standard deviations over faces
