"""Text back-ends and image-text similarity, on tiny models of every kind that lie on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tedi import language
from tedi.errors import TediError, UsageError
from tedi.language.bert import Bert, load_bert
from tedi.language.words import _FOREIGN, CHUNK, Words

WORDS = ["a", "man", "woman", "with", "bangs", "hat", "old", "smiling", "young", "blue"]
WORDS += ["background", "long", "brown", "hair"]
VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]  # numbered as RoBERTa does
SIZE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
TEXT = SIZE | {"vocab_size": len(VOCABULARY), "pad_token_id": 1, "bos_token_id": 0}
TEXT |= {"eos_token_id": 2, "projection_size": 16, "projection_dim": 8}
VISION = SIZE | {"image_size": 32, "patch_size": 8, "projection_dim": 8}
MEAN, STD = [0.2, 0.5, 0.7], [0.3, 0.25, 0.2]


def save_tokenizer(folder: Path, vocabulary=VOCABULARY, **options) -> None:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, "<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        **options,
    ).save_pretrained(folder)


def encoder(name: str, positions: int):
    config = getattr(transformers, f"{name}Config")(**TEXT, max_position_embeddings=positions)
    return getattr(transformers, f"{name}Model")(config)


def towers(name: str, text: dict, vision: dict):
    config = getattr(transformers, f"{name}Config")(
        text_config=TEXT | text, vision_config=VISION | vision, projection_dim=8
    )
    return getattr(transformers, f"{name}Model")(config)


def clip():
    return towers("CLIP", {"max_position_embeddings": 77}, {})


def siglip():
    return towers("Siglip", {"max_position_embeddings": 64}, {})


def siglip2():
    return towers("Siglip2", {"max_position_embeddings": 64}, {"num_patches": 16})


def t5():
    config = transformers.T5Config(
        vocab_size=len(VOCABULARY), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    return transformers.T5Model(config)


def clip_text(kind: str):
    config = transformers.CLIPTextConfig(**TEXT, max_position_embeddings=77)
    return getattr(transformers, kind)(config)


KINDS = {  # what is saved, most tokens, the part that reads text
    "bert": (lambda: encoder("Bert", 40), 40, lambda m: m),
    "roberta": (lambda: encoder("Roberta", 42), 40, lambda m: m),
    "xlm-roberta": (lambda: encoder("XLMRoberta", 514), 256, lambda m: m),
    "clip": (clip, 77, lambda m: m.text_model),
    "clip text": (lambda: clip_text("CLIPTextModel"), 77, lambda m: m),
    "clip projected": (
        lambda: clip_text("CLIPTextModelWithProjection"),
        77,
        lambda m: m.text_model,
    ),
    "siglip": (siglip, 64, lambda m: m.text_model),
    "siglip2": (siglip2, 64, lambda m: m.text_model),
    "t5": (t5, 256, lambda m: m.encoder),
}
FULL = {"siglip", "siglip2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of a kind, its model as saved, its reader of text and its limit; made once."""
    made = {}

    def make(kind: str):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
            build, limit, reader = KINDS[kind]
            torch.manual_seed(0)
            model = build().eval()
            model.save_pretrained(folder)
            inputs = ["input_ids"] if kind == "siglip" else ["input_ids", "attention_mask"]
            save_tokenizer(folder, model_input_names=inputs)
            made[kind] = folder, model, reader(model), limit
        return made[kind]

    return make


def copied(folder: Path, target: Path) -> None:
    """Copy the files of a model's folder."""
    for file in folder.iterdir():
        shutil.copy(file, target)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_the_models_own_text_reader(place, kind):
    folder, _, reader, limit = place(kind)
    backbone = language.load_backbone(folder, name=kind)
    prompts = ["a man", "An old  woman with bangs"]
    states, mask = backbone(prompts)
    assert (backbone.name, backbone.width, backbone.max_tokens) == (kind, 16, limit)
    assert states.shape == (2, limit if kind in FULL else 7, 16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = {"padding": "max_length", "max_length": 64} if kind in FULL else {"padding": True}
    batch = tokenizer(prompts, return_tensors="pt", **padding)
    with torch.no_grad():
        expected = reader(**batch).last_hidden_state
    tokens = tokenizer(prompts, return_attention_mask=True, **padding)["attention_mask"]
    for row, known in enumerate(tokens):
        used = torch.tensor(known).bool()
        used[-1] |= kind in FULL
        assert torch.equal(mask[row], used)
        torch.testing.assert_close(states[row, used], expected[row, used], atol=1e-5, rtol=0)
    assert not states[~mask].any()


def test_a_frozen_bert_is_read_without_transformers(place):
    folder = place("bert")[0]
    assert isinstance(language.load_backbone(folder, name="bert").model, Bert)
    tuned = language.load_backbone(folder, name="bert", trainable=True)
    assert isinstance(tuned.model, transformers.BertModel)
    assert load_bert(place("roberta")[0]) is None


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"is_decoder": True}),
        ("tokenizer_config.json", {"pad_token": {"content": "[PAD]"}}),
    ],
)
def test_a_bert_of_another_kind_is_left_to_transformers(place, tmp_path, file, changes):
    copied(place("bert")[0], tmp_path)
    assert load_bert(tmp_path) is not None
    config = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(config | changes))
    assert load_bert(tmp_path) is None


def test_a_bert_with_a_weight_missing_is_left_to_transformers_which_names_it(place, tmp_path):
    copied(place("bert")[0], tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in tensors if "query.weight" in name)
    del tensors[gone]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert load_bert(tmp_path) is None
    with pytest.raises(TediError, match=r"^mine: 1 weights are missing, such as .*query.weight$"):
        language.load_backbone(tmp_path, name="mine")


def test_words_and_marks_are_what_the_mask_shows(place):
    for kind, extra in (("bert", []), ("clip", []), ("siglip", [63])):
        _, mask = language.load_backbone(place(kind)[0], name=kind)(["a man", "an old woman"])
        assert mask[0].nonzero().flatten().tolist() == [0, 1, 2, 3, *extra]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "siglip2"])
def test_the_limit_is_the_models_own_and_can_be_reached(place, kind):
    folder, _, _, limit = place(kind)
    backbone = language.load_backbone(folder, name="mine")
    states, _ = backbone(["man " * (limit - 2)])
    assert states.shape[1] == limit
    expected = f"{limit + 1} tokens, at most {limit} fit; shorten it, mine reads no more"
    with pytest.raises(UsageError, match=expected):
        backbone(["a man", "man " * (limit - 1)])


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_order_and_neighbours_do_not_matter(place, kind):
    backbone = language.load_backbone(place(kind)[0], name=kind)
    rng = np.random.default_rng(0)
    prompts = [" ".join(rng.choice(WORDS, rng.integers(1, 20))) for _ in range(2 * CHUNK + 5)]
    states, mask = backbone(prompts)
    for prompt, state, used in zip(prompts, states, mask, strict=True):
        alone, own = backbone([prompt])
        torch.testing.assert_close(state[used], alone[0, own[0]], atol=1e-5, rtol=0)


def test_siglip2_has_the_limit_it_was_trained_with(place):
    with pytest.raises(UsageError, match="at most 64 fit; shorten it, mine reads no more"):
        language.load_backbone(place("siglip2")[0], name="mine")(["a man with a hat " * 40])


def test_a_vocabulary_of_many_scripts_is_told_from_an_english_one(tmp_path):
    for vocabulary, known in ((VOCABULARY, False), ([*VOCABULARY, *_FOREIGN.split()], True)):
        save_tokenizer(tmp_path, vocabulary)
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
        assert Words(tokenizer, "mine").any_script is known


def test_no_prompts_are_refused(place):
    with pytest.raises(UsageError, match="prompts: expected one or more"):
        language.load_backbone(place("bert")[0], name="bert")([])


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_a_gradient_reaches_the_embedding_of_a_trainable_backbone(place, kind):
    backbone = language.load_backbone(place(kind)[0], name=kind, trainable=True)
    backbone(["a man", "a woman with bangs"])[0].square().sum().backward()
    gradient = backbone.model.get_input_embeddings().weight.grad
    said = [VOCABULARY.index(word) for word in ("a", "man", "woman", "with", "bangs")]
    assert (gradient[said].abs().sum(dim=1) > 0).all()
    assert not gradient[VOCABULARY.index("hat")].any()
    with torch.no_grad():
        assert not backbone(["a man"])[0].requires_grad


def test_a_frozen_backbone_gives_no_gradient(place):
    backbone = language.load_backbone(place("bert")[0], name="bert")
    states, _ = backbone(["a man"])
    assert not states.requires_grad
    assert not any(p.requires_grad for p in backbone.parameters())


def test_only_a_trainable_backbone_follows_into_training_mode(place):
    folder = place("bert")[0]
    for trainable in (False, True):
        backbone = language.load_backbone(folder, name="bert", trainable=trainable)
        assert not backbone.model.training
        whole = torch.nn.ModuleList([backbone]).train()
        drops = [m for m in backbone.modules() if isinstance(m, torch.nn.Dropout)]
        assert drops
        assert all(m.training is trainable for m in [backbone.model, *drops])
        torch.manual_seed(0)
        first, _ = backbone(["a man"])
        assert torch.equal(first, backbone(["a man"])[0]) is not trainable
        whole.eval()
        assert torch.equal(backbone(["a man"])[0], backbone(["a man"])[0])


def test_a_fine_tuned_backbone_is_saved_and_read_again(place, tmp_path):
    backbone = language.load_backbone(place("clip")[0], name="clip", trainable=True)
    before, _ = backbone(["a man"])
    before.sum().backward()
    torch.optim.SGD(backbone.parameters(), lr=0.1).step()
    backbone.save(tmp_path / "tuned")
    again, _ = language.load_backbone(tmp_path / "tuned", name="clip")(["a man"])
    assert torch.equal(again, backbone(["a man"])[0])
    assert not torch.allclose(again, before)


def test_weights_that_are_missing_are_told(place, tmp_path):
    folder = place("clip")[0]
    copied(folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    gone = next(name for name in tensors if "text_model" in name and "q_proj.weight" in name)
    del tensors[gone]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TediError, match=r"^clip: 1 weights are missing, such as .*q_proj.weight$"):
        language.load_backbone(tmp_path, name="clip")


@pytest.mark.parametrize("load", [language.load_backbone, language.load_similarity])
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("someone/clip-tiny", r"fetch it with `hf download someone/clip-tiny` or give a folder$"),
        ("hf:someone/clip-tiny@main", r"`hf download someone/clip-tiny` or give a folder$"),
        ("/no/such/folder", r"no such folder\)$"),
    ],
)
def test_a_model_that_is_not_here_is_one_line(monkeypatch, load, source, says):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TediError, match=says) as caught:
        load(source, name="mine")
    assert str(caught.value).startswith("mine: no ")
    assert "\n" not in str(caught.value)


# --- images and texts ----------------------------------------------------------------------------

CROPPED = {
    "size": {"shortest_edge": 36},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
}
SQUEEZED = {"size": {"height": 32, "width": 32}}
PATCHES = {"patch_size": 8, "max_num_patches": 16}
SIMILAR = {"clip": ("CLIP", CROPPED), "siglip": ("Siglip", SQUEEZED)}
SIMILAR["siglip2"] = ("Siglip2", PATCHES)


def processor(kind: str, mean=MEAN, std=STD):
    name, options = SIMILAR[kind]
    cls = getattr(transformers, f"{name}ImageProcessorPil")
    return cls(image_mean=mean, image_std=std, **options)


@pytest.fixture(params=SIMILAR)
def similar(request, place):
    """Kind, folder and model, with an image processor of unusual mean and deviation."""
    folder, model, _, _ = place(request.param)
    processor(request.param).save_pretrained(folder)
    return request.param, folder, model


def pictures(height: int, width: int, n: int = 2) -> np.ndarray:
    """Smooth and noisy pictures (n, height, width, 3) uint8."""
    rng = np.random.default_rng(height)
    coarse = rng.integers(0, 256, (n, 5, 5, 3), dtype=np.uint8)
    grown = [Image.fromarray(c).resize((width, height), Image.Resampling.BICUBIC) for c in coarse]
    noise = rng.integers(-40, 40, (n, height, width, 3))
    return (np.stack([np.asarray(g) for g in grown]) + noise).clip(0, 255).astype(np.uint8)


def as_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def reference(kind, folder, model, pixels, texts) -> torch.Tensor:
    """Similarities by transformers' own processor and forward pass."""
    inputs = processor(kind)(images=[Image.fromarray(p) for p in pixels], return_tensors="pt")
    padding = {"padding": "max_length", "max_length": 64} if kind in FULL else {"padding": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        told = model(**tokenizer(texts, return_tensors="pt", **padding), **inputs)
    seen, said = (
        torch.nn.functional.normalize(e, dim=1) for e in (told.image_embeds, told.text_embeds)
    )
    return (seen * said).sum(dim=1)


@pytest.mark.parametrize("size", [(96, 96), (32, 32), (20, 20), (60, 90), (90, 60)], ids=str)
def test_similarity_is_that_of_transformers_own_path(similar, size):
    kind, folder, model = similar
    if kind == "siglip2":  # keeps the aspect by a number of patches; ours is for square pictures
        size = (size[0], size[0])
    pixels, texts = pictures(*size), ["a man", "a young woman with bangs"]
    similarity = language.load_similarity(folder, name=kind)
    got = similarity(as_image(pixels), texts)
    expected = reference(kind, folder, model, pixels, texts)
    assert got.shape == (2,)
    # Theirs rounds the scaled picture to 8 bits; another mean or filter is off by 1e-2 and more.
    torch.testing.assert_close(got, expected, atol=2e-3, rtol=0)


def test_mean_and_deviation_are_those_of_the_preprocessor(similar, tmp_path):
    kind, folder, _ = similar
    image, texts = as_image(pictures(48, 48)), ["a man", "a woman"]
    ours = language.load_similarity(folder, name=kind)
    grey = torch.tensor(MEAN)[:, None, None].expand(1, 3, 40, 40) * 2 - 1
    assert ours.frame(grey).abs().max() < 1e-5
    torch.testing.assert_close(
        ours.frame(as_image(np.full((1, 32, 32, 3), 255, np.uint8)))[0, :, 0, 0],
        (1 - torch.tensor(MEAN)) / torch.tensor(STD),
    )
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    processor(kind, mean=[0.5] * 3, std=[0.5] * 3).save_pretrained(tmp_path)
    other = language.load_similarity(tmp_path, name=kind)
    assert (other(image, texts) - ours(image, texts)).abs().max() > 4e-3


def test_pictures_can_climb_towards_a_text(similar):
    kind, folder, _ = similar
    similarity = language.load_similarity(folder, name=kind)
    image = (as_image(pictures(48, 48)) * 0.8).requires_grad_()
    before = similarity(image, ["a smiling woman"])
    (gradient,) = torch.autograd.grad(before.sum(), image)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 0).all()
    step = 0.05 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    assert (similarity(image + step, ["a smiling woman"]) > before).all()
    assert not any(p.requires_grad for p in similarity.parameters())
    assert not similarity.train().model.training


def test_a_text_is_read_once_and_serves_gradients_later(similar, monkeypatch):
    kind, folder, _ = similar
    similarity, read = language.load_similarity(folder, name=kind), []
    features = similarity.model.get_text_features
    monkeypatch.setattr(
        similarity.model,
        "get_text_features",
        lambda **inputs: read.append(len(inputs["input_ids"])) or features(**inputs),
    )
    image = as_image(pictures(40, 40, n=3)).requires_grad_()
    with torch.inference_mode():
        one = similarity(image, ["a man", "a woman", "a man"])
    again = similarity(image, ["a man", "a woman", "a man"])
    again.sum().backward()
    torch.testing.assert_close(again.detach(), one.clone())
    similarity(image, ["a man"])
    assert read == [2]


@pytest.mark.parametrize(
    ("shape", "texts", "says"),
    [
        ((2, 1, 8, 8), ["a man"], r"image: expected \(N, 3, H, W\), got \(2, 1, 8, 8\)"),
        ((3, 3, 8, 8), ["a man", "a woman"], "texts: expected a list of 1 or 3, got 2"),
        ((3, 3, 8, 8), "a man", "texts: expected a list of 1 or 3, got 'a man'"),
        ((1, 3, 8, 8), ["man " * 100], "prompt: 102 tokens, at most 77 fit"),
    ],
)
def test_what_does_not_fit_is_refused(place, shape, texts, says):
    folder = place("clip")[0]
    processor("clip").save_pretrained(folder)
    similarity = language.load_similarity(folder, name="clip")
    with pytest.raises(UsageError, match=says):
        similarity(torch.zeros(shape), texts)


def test_a_text_encoder_has_no_similarity(place):
    with pytest.raises(TediError, match=r"expected a model of images and texts \(clip\), got bert"):
        language.load_similarity(place("bert")[0], name="bert")
