"""Text backbones, and how well pictures fit words: the one door to `transformers`.

A backbone turns prompts into token states; what they mean for a face is learned by
`tedi.encoders.text`, which sits on it. `ImageTextSimilarity` compares pictures with texts by two
towers that were trained together.

What a model is, is read off its `config.json`, never off its name:

| model_type | text is read by | tokens of a prompt |
|---|---|---|
| bert, roberta, xlm-roberta, mpnet, … | the encoder | its positions, 256 at most |
| clip | the text tower | 77 |
| siglip, siglip2 | the text tower, on texts padded to full length | 64 |
| t5, mt5, umt5 | the encoder half | 256 |

A BERT that is not to be trained, such as the default, is read without transformers
(`tedi.language.bert`), whose import would double the time of a first picture.
"""

from tedi.language.backbone import TextBackbone, load_backbone
from tedi.language.similarity import ImageTextSimilarity, load_similarity
from tedi.language.words import MAX_TOKENS

__all__ = [
    "MAX_TOKENS",
    "ImageTextSimilarity",
    "TextBackbone",
    "load_backbone",
    "load_similarity",
]
