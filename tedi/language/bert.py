"""BERT read by torch's own encoder, ready in a tenth of the time that transformers takes to import.

The default text backbone is a BERT, and the import would be half of what a first picture costs.
Only what is read is here: states of frozen weights. All else is transformers'.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

_EMBEDDINGS = {
    "words": "word_embeddings",
    "positions": "position_embeddings",
    "sentences": "token_type_embeddings",
}
_PARTS = {
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}
"""Part of torch's layer -> of a layer in released files, where queries, keys, values are apart."""
_USUAL = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


class States(NamedTuple):
    """What an encoder gives, by the name that transformers gives it."""

    last_hidden_state: Tensor


class Bert(nn.Module):
    """Token numbers (N, T) -> states (N, T, width), in float32.

    BERT (Devlin et al. 2019, section 3) is the encoder of "Attention Is All You Need", norms after
    each part, on the sum of three embeddings: of the word, of its place and of its sentence, which
    is the first of two here.

    Args:
        config: the released `config.json`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Parameter(torch.empty(config["vocab_size"], width))
        self.positions = nn.Parameter(torch.empty(config["max_position_embeddings"], width))
        self.sentences = nn.Parameter(torch.empty(config["type_vocab_size"], width))
        self.norm = nn.LayerNorm(width, epsilon)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=epsilon,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config["num_hidden_layers"], enable_nested_tensor=False
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> States:
        """States of tokens; those under a mask of 0 mean nothing."""
        x = self.words[input_ids] + self.positions[: input_ids.shape[1]] + self.sentences[0]
        x = self.norm(x)
        return States(self.encoder(x, src_key_padding_mask=attention_mask == 0))


class Tokens:
    """A `tokenizer.json`, called as transformers' tokenizers are.

    Args:
        folder: with `tokenizer_config.json` beside it.
    """

    model_input_names = ("input_ids", "attention_mask")
    padding_side = "right"

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        config = _read(folder / "tokenizer_config.json")
        self.unk_token_id = self.tokenizer.token_to_id(config["unk_token"])
        self.pad_token_id = self.tokenizer.token_to_id(config["pad_token"])
        self.model_max_length: float = config.get("model_max_length", float("inf"))

    def __call__(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> dict[str, Any]:
        """`input_ids`: the token numbers of each text, not padded."""
        told = self.tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return {"input_ids": [one.ids for one in told]}


def load_bert(folder: Path) -> tuple[Bert, Tokens] | None:
    """Encoder and tokenizer of a folder in transformers' layout; None where it is none of ours.

    Ours is a BERT of the usual kind, all of whose weights and words are in one file each.
    """
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    if not all((folder / name).is_file() for name in names):
        return None
    config = _read(folder / "config.json")
    usual = all(config.get(name, value) == value for name, value in _USUAL.items())
    if not usual or "model_type" not in config or config.get("is_decoder"):
        return None
    words = _read(folder / "tokenizer_config.json")
    if not all(isinstance(words.get(name), str) for name in ("unk_token", "pad_token")):
        return None
    released = load_file(folder / "model.safetensors")
    released = {name.removeprefix("bert."): tensor for name, tensor in released.items()}
    try:
        state = _renamed(released, config["num_hidden_layers"])
    except KeyError:
        return None
    model = Bert(config)
    model.load_state_dict(state, assign=True)
    return model.float(), Tokens(folder)


def _renamed(released: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights by the names of `Bert`."""
    state = {ours: released[f"embeddings.{theirs}.weight"] for ours, theirs in _EMBEDDINGS.items()}
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = released[f"embeddings.LayerNorm.{kind}"]
        for i in range(layers):
            ours, theirs = f"encoder.layers.{i}", f"encoder.layer.{i}"
            state[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(
                [released[f"{theirs}.attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
            )
            for part, name in _PARTS.items():
                state[f"{ours}.{part}.{kind}"] = released[f"{theirs}.{name}.{kind}"]
    return state


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
