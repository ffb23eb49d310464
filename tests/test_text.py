"""The text encoder against loops, prompts that are refused, and a backbone read off disk."""

import subprocess
import sys

import pytest
import torch
from conftest import TEDIFACES
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import WORD_WIDTH, TinyBackbone, code_reader, text_encoder

from tedi import attributes, language, prompts, zoo
from tedi.checkpoints import native
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder, TextReader
from tedi.errors import TediError, UsageError
from tedi.metrics.retrieval import r_precision
from tedi.training.dataset import is_held_out, load_tedifaces, noise

V, WISHES = len(attributes.COLUMNS), len(ORDERED_GROUPS)
SPANS = list(attributes.SPANS.values())


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    encoder = text_encoder()
    with torch.no_grad():
        shares = torch.rand(V, generator=torch.Generator().manual_seed(3)) + 0.05
        encoder.prior.copy_(shares / attributes.spread(attributes.group_sums(shares)))
    return encoder


def codes(n=4, seed=0) -> torch.Tensor:
    return torch.randn(n, 16, 8, generator=torch.Generator().manual_seed(seed))


def silence(n=1) -> Reading:
    return Reading(torch.ones(n, V), torch.zeros(n, WISHES))


def test_similarity_against_a_loop(encoder):
    """Equation (1)."""
    ws, said = codes(), encoder.read(["a man", "a smiling woman with bangs"])
    similarity = encoder.similarity(ws, said)
    assert similarity.shape == (2, 4)
    seen = torch.cat([encoder.codes(ws)[:, span].softmax(dim=1) for span in SPANS], dim=1)
    for text, agrees in enumerate(said.agrees):
        for code, p in enumerate(seen):
            expected = sum(
                (p[span] @ agrees[span]).log() - (encoder.prior[span] @ agrees[span]).log()
                for span in SPANS
            )
            torch.testing.assert_close(similarity[text, code], expected, atol=1e-4, rtol=1e-4)


def test_similarity_averages_to_one_face_in_odds(encoder):
    """E over faces of p(text | w) / p(text) is 1, if as many faces show a value as is thought."""
    log_p = torch.full((V, V), 1e-9).fill_diagonal_(1.0).log()[attributes.SPANS["hair_color"]]
    said = Reading(torch.rand(3, V, generator=torch.Generator().manual_seed(0)), silence(3).moves)
    said.agrees[:, [i for i, (g, _) in enumerate(attributes.COLUMNS) if g != "hair_color"]] = 1
    others = attributes.log_softmax(torch.zeros(len(log_p), V))
    others[:, attributes.SPANS["hair_color"]] = log_p[:, attributes.SPANS["hair_color"]]
    odds = encoder.compare(others, said).exp() @ encoder.prior[attributes.SPANS["hair_color"]]
    torch.testing.assert_close(odds, torch.ones(3), atol=1e-4, rtol=0)


def test_similarity_has_a_gradient_to_codes(encoder):
    ws = codes().requires_grad_()
    similarity = encoder.similarity(ws, encoder.read(["a smiling woman"]))
    (gradient,) = torch.autograd.grad(similarity[0, 1], ws)
    assert gradient[1].abs().max() > 1e-3
    assert not gradient[[0, 2, 3]].any()


def test_a_silent_text_fits_every_code_alike(encoder):
    torch.testing.assert_close(
        encoder.similarity(codes(), silence(2)), torch.zeros(2, 4), atol=1e-4, rtol=0
    )


def test_evidence_is_what_a_text_rules_out(encoder):
    """Never negative, 0 where it is silent, and more the rarer what is said."""
    assert (encoder.evidence(encoder.read(["a man", "smiling with bangs"])) >= -1e-6).all()
    assert encoder.evidence(silence()).abs().max() < 1e-6
    for number, span in enumerate(SPANS):
        said = silence(span.stop - span.start)
        said.agrees[:, span] = torch.eye(span.stop - span.start)
        evidence = encoder.evidence(said)
        torch.testing.assert_close(evidence[:, number].exp(), 1 / encoder.prior[span])
        assert evidence.sum(dim=1).allclose(evidence[:, number], atol=1e-5)


def test_a_plain_reading_has_no_shades():
    shades = torch.tensor([[0.0, 0.1, 0.15, 0.5, 0.85, 0.9, 1.0]])
    plain = Reading(shades, torch.tensor([[-0.9, -0.1, 0.0, 0.1, 0.8]])).plain()
    expected = torch.tensor([[0, 0, 0, 0.5, 1, 1, 1]])
    torch.testing.assert_close(plain.agrees, expected)
    assert plain.moves.tolist() == [[-1, 0, 0, 0, 1]]
    again = plain.plain()
    assert torch.equal(again.moves, plain.moves)


def test_readings_of_some_texts(encoder):
    said = encoder.read(["a man", "a woman", "a child"])
    for rows in (slice(1, 3), torch.tensor([1, 2])):
        some = said.of(rows)
        assert torch.equal(some.agrees, said.agrees[1:])
        assert torch.equal(some.moves, said.moves[1:])


def test_without_a_backbone_reading_is_a_bug():
    encoder = TextEncoder(WORD_WIDTH, code_reader())
    with pytest.raises(RuntimeError, match="backbone"):
        encoder.read(["a man"])


def test_reader_sees_words_in_any_padding(encoder):
    """A text read beside a longer one says the same as alone."""
    alone = encoder.read(["a man"])
    beside = encoder.read(["a man", "a woman with long brown hair and glasses"])
    assert beside.agrees.shape == (2, V)
    assert beside.moves.shape == (2, WISHES)
    for one, both in ((alone.agrees, beside.agrees), (alone.moves, beside.moves)):
        torch.testing.assert_close(both[:1], one, atol=1e-5, rtol=0)
        assert not torch.allclose(both[0], both[1], atol=1e-3)
    assert ((beside.agrees >= 0) & (beside.agrees <= 1)).all()
    assert (beside.moves.abs() <= 1).all()


def test_a_new_reader_hears_nothing():
    """Training starts from silence."""
    reader = TextReader(WORD_WIDTH).eval()
    agrees, moves = reader(*TinyBackbone()(["a smiling woman"]))
    plain = Reading.of_logits(agrees, moves).plain()
    assert torch.equal(plain.agrees, torch.ones(1, V))
    assert not plain.moves.any()


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_codes_of_prompts_alone_fit_them(encoder, mode):
    texts = ["a smiling woman", "an old man with a beard"]
    with mode():
        ws = encoder(texts)
    assert ws.shape == (2, 16, 8)
    assert not ws.requires_grad
    said = encoder.read(texts).plain()
    mean = encoder.codes.w_avg.expand(1, 16, -1)
    gained = encoder.similarity(ws, said) - encoder.similarity(mean, said)
    assert (gained.diagonal() > 0.5).all()


def test_an_encoder_comes_back_from_its_file(encoder, tmp_path):
    from safetensors.torch import save_file

    own = {n: t for n, t in encoder.state_dict().items() if not n.startswith("codes.")}
    save_file(own, tmp_path / "t.safetensors")
    again = native.load_text_encoder(tmp_path / "t.safetensors", encoder.codes)
    again.backbone = TinyBackbone()
    texts = ["a man", "a smiling woman"]
    said = again.read(texts)
    assert torch.equal(said.agrees, encoder.read(texts).agrees)
    assert torch.equal(again.similarity(codes(), said), encoder.similarity(codes(), said))
    assert not any(p.requires_grad for p in again.parameters())
    save_file({n: t for n, t in own.items() if n != "prior"}, tmp_path / "l.safetensors")
    with pytest.raises(TediError, match=r"does not fit TextEncoder: .*prior"):
        native.load_text_encoder(tmp_path / "l.safetensors", encoder.codes)
    save_file({"prior": own["prior"]}, tmp_path / "n.safetensors")
    with pytest.raises(TediError, match="not a text encoder"):
        native.load_text_encoder(tmp_path / "n.safetensors", encoder.codes)


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


def test_the_released_backbone_reads_as_transformers_does(weights, monkeypatch):
    ours = language.load_backbone(weights["minilm-l6"], name="minilm-l6")
    monkeypatch.setattr("tedi.language.backbone.load_bert", lambda folder: None)
    theirs = language.load_backbone(weights["minilm-l6"], name="minilm-l6")
    asked = [face["caption"] for face in load_tedifaces(TEDIFACES)][:100]
    asked += [
        "A naïve, 60-year-old señor (bald) – 100 % #1!",
        "ﬁne x" * 20,
        "a [MASK] [SEP] man",
        "ő",
    ]
    assert ours.words.numbers(asked) == theirs.words.numbers(asked)
    for one, other in zip(ours(asked), theirs(asked), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


def test_a_first_picture_waits_for_no_import_that_it_can_do_without(weights):
    """transformers takes 3 seconds and torch's compiler 1, of 4 to 5 that a picture takes."""
    code = (
        "import sys, tedi\n"
        "tedi.load(device='cpu').generate('a bald man', preview=True)\n"
        "print({'transformers', 'torch._dynamo', 'sympy', 'scipy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "set()\n"


@pytest.fixture(scope="module")
def shipped(weights) -> TextEncoder:
    codes = native.load_code_reader(zoo.path("codes-mobilestylegan-ffhq"))
    encoder = native.load_text_encoder(zoo.path("text-minilm-l6"), codes)
    encoder.backbone = language.load_backbone(weights["minilm-l6"], name="minilm-l6")
    return encoder


@torch.inference_mode()
def test_shipped_encoder_finds_the_faces_of_unseen_captions(shipped, generator):
    faces = [f for f in load_tedifaces(TEDIFACES) if is_held_out(f["index"])][:100]
    w = generator.mapping(noise([face["index"] for face in faces]))
    said = shipped.read([face["caption"] for face in faces])
    similarity = shipped.similarity(w[:, None].expand(-1, 16, -1), said)
    assert r_precision(similarity) > 0.35  # 0.01 by chance


@pytest.mark.parametrize(
    ("prompt", "opposite", "group", "value"),
    [
        ("a grinning woman", "a serious woman", "smile", "broad"),
        ("an old man", "a young man", "age", "old"),
        ("a lady with a fringe", "a lady without a fringe", "bangs", True),
        ("a man with a full beard", "a clean-shaven man", "beard", "full"),
        ("a blonde", "a woman with black hair", "hair_color", "blond"),
        ("a woman with glasses", "a woman without glasses", "glasses", "eyeglasses"),
        ("a woman wearing a hat", "a bareheaded woman", "hat", True),
        ("a girl", "a boy", "gender", "female"),
    ],
)
@torch.inference_mode()
def test_shipped_encoder_tells_a_prompt_from_its_opposite(shipped, prompt, opposite, group, value):
    column = attributes.COLUMNS.index((group, value))
    said = shipped.read([prompt, opposite])
    assert said.agrees[0, column] - said.agrees[1, column] > 0.5
    agrees = said.plain().agrees
    assert agrees[0, attributes.SPANS[group]].min() < 0.5  # it names the attribute …
    assert agrees[0, column] > 0.5 > agrees[1, column]


@pytest.mark.parametrize(
    ("prompt", "group", "sign"),
    [("older", "age", 1), ("make her younger", "age", -1), ("a bigger smile", "smile", 1)],
)
@torch.inference_mode()
def test_shipped_encoder_hears_relative_wishes(shipped, prompt, group, sign):
    moves = shipped.read([prompt]).plain().moves[0]
    assert moves[ORDERED_GROUPS.index(group)].sign() == sign
    assert moves.count_nonzero() == 1


@torch.inference_mode()
def test_shipped_encoder_is_silent_about_what_is_no_face(shipped):
    said = shipped.read(["a red car in the rain"]).plain()
    assert (attributes.group_sums((said.agrees < 0.5).float()) > 0).sum() <= 1
    assert not said.moves.any()
