"""Pictures: tensors to pixels and back, files that say where they come from, contact sheets.

Every picture that is saved carries the record it was made from and the statement that it is
synthetic, in an XMP packet, which PNG, JPEG and WebP hold alike (ISO 16684-1). The statement is
IPTC's DigitalSourceType, the property that viewers and web sites look for.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
from PIL import (
    Image,
    ImageCms,
    ImageDraw,
    ImageFont,
    ImageOps,
    PngImagePlugin,
    UnidentifiedImageError,
)

from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, picture_format, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

# What a damaged file makes Pillow's decoders raise.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    RuntimeError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)

# Kinds of file that are read; Pillow's others are no photos, and its EPS starts another program.
_READ = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB"),
    *("TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO"),
)

MAX_PIXELS = 120_000_000
"""Of a picture that is read; the largest cameras give 102 million."""

_SIDE_LIMITS = {"JPEG": 65_500, "WEBP": 16_383}
# A JPEG segment holds 65,533 bytes, 29 of them the name of the XMP standard.
_JPEG_XMP_BYTES = 65_504
# With this, any 5,000-character prompt fits a JPEG twice: as description and in the record.
_DESCRIPTION_CHARACTERS = 5_000

_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMESPACE = "urn:x-tedi:provenance:1.0:"
_RECORD = f"{{{_NAMESPACE}}}record"
_XMP = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:tedi="{namespace}">
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>{software}</xmp:CreatorTool>
   <dc:description>
    <rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt>
   </dc:description>
   <tedi:record>{record}</tedi:record>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_PAPER, _INK, _FAINT_INK, _EMPTY = (255, 255, 255), (34, 34, 34), (118, 118, 118), (240, 240, 240)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Pixels of an image: -1 gives 0, 1 gives 255, and 0, which lies between two, 128.

    Args:
        image: (N, 3, H, W) float RGB in [-1, 1]; what lies outside is clamped.

    Returns:
        (N, H, W, 3) uint8, on the CPU; halves are rounded to the even neighbour.

    Raises:
        UsageError: another shape or an integer dtype.
        TediError: the image holds NaN.
    """
    import torch

    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        got = f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
        raise UsageError(f"image: expected (N, 3, H, W) float, got {got}")
    image = image.detach().to(torch.float32)
    if image.isnan().any():
        raise TediError("image: expected numbers, got NaN; try float32 or smaller strengths")
    levels = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())


def to_image(pixels: NDArray[np.uint8]) -> Tensor:
    """Image of pixels; `to_pixels` gives them back exactly.

    Args:
        pixels: (N, H, W, 3) uint8 RGB.

    Returns:
        (N, 3, H, W) float32 in [-1, 1], a copy.
    """
    import torch

    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"pixels: expected (N, H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    # Pictures lend their pixels read-only, which torch warns of; hence the copy.
    levels = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    return levels.to(torch.float32) / 127.5 - 1


def to_pil(image: Tensor) -> list[Image.Image]:
    """One RGB picture for each of the N images of (N, 3, H, W) in [-1, 1]."""
    return [Image.fromarray(pixels) for pixels in to_pixels(image)]


def save(
    picture: Image.Image,
    path: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    *,
    quality: int = 95,
    exist: Exist = "error",
) -> None:
    """Write a picture with the record of how it was made; the same call gives the same bytes.

    Args:
        picture: any mode, written as RGB; nothing it was loaded with (EXIF, ICC) is carried over.
        path: its suffix is the format: .png, .jpg, .jpeg or .webp.
        provenance: anything JSON can hold. "prompt" is also written as the description (its first
            5,000 characters) and "version" as the software, "tedi VERSION".
        quality: 1 to 100, for JPEG and WebP; PNG is lossless.
        exist: "error" keeps a file that is already there, "overwrite" replaces it.

    Raises:
        UsageError: unknown suffix, a quality out of range, a provenance that is not JSON, or a
            picture or provenance too large for the format.
        TediError: the file exists or cannot be written.
    """
    file_format = picture_format(path)
    if not 1 <= quality <= 100:
        raise UsageError(f"quality: expected 1 to 100, got {quality}")
    _check_size(path, picture.size)
    options = _options(file_format, provenance, quality)
    encoded = io.BytesIO()
    _to_rgb(picture).save(encoded, file_format, **options)
    write_atomically(path, lambda part: part.write_bytes(encoded.getvalue()), exist=exist)


def _check_size(path: str | os.PathLike[str], size: tuple[int, int]) -> None:
    file_format = picture_format(path)
    limit = _SIDE_LIMITS.get(file_format, max(size))
    if max(size) > limit:
        got = f"{size[0]:,} x {size[1]:,} pixels"
        raise UsageError(f"{path}: {got}, {file_format} holds {limit:,} a side; save it as .png")


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record that `save` put into a picture, or None where there is none.

    Raises:
        TediError: no such file, not a picture, or a record that is damaged.
    """
    with _opened(path) as picture:
        packet = picture.info.get("xmp")
    record = _find_record(packet) if packet else None
    if record is None:
        return None
    try:
        provenance = json.loads(record)
    except ValueError:
        provenance = None
    if not isinstance(provenance, dict):
        raise TediError(f"{path}: its provenance record is damaged")
    return provenance


def _find_record(packet: bytes | str) -> str | None:
    """Text of the record in an XMP packet, which other programs may have written anew."""
    packet = packet.encode() if isinstance(packet, str) else packet
    if b"<!" in packet:  # XMP has no declarations; entities are how XML attacks its reader
        return None
    try:
        elements = ElementTree.fromstring(packet.strip(b"\x00 \r\n\t")).iter()
    except (ElementTree.ParseError, ValueError):
        return None
    for element in elements:
        text = element.text if element.tag == _RECORD else element.get(_RECORD)
        if text is not None:
            return text
    return None


def _options(file_format: str, provenance: Mapping[str, Any], quality: int) -> dict[str, Any]:
    """What Pillow is to write along with the picture."""
    record = _json(provenance)
    software = _printable(f"tedi {provenance.get('version', '')}".strip())
    description = _description(provenance)
    xmp = _xmp(record, software, description)
    if file_format == "PNG":
        return {"pnginfo": _png_chunks(xmp, record, software, description)}
    exif = Image.Exif()
    exif[0x010E] = description.encode()
    exif[0x0131] = software.encode()
    if file_format == "WEBP":
        return {"quality": quality, "xmp": xmp, "exif": exif.tobytes()}
    if len(xmp) > _JPEG_XMP_BYTES:
        size = f"{len(xmp):,} bytes with its wrapping, a JPEG holds {_JPEG_XMP_BYTES:,}"
        raise UsageError(f"provenance: {size}; save it as .png or .webp")
    return {"quality": quality, "subsampling": 0, "xmp": xmp, "exif": exif.tobytes()}


def _json(provenance: Mapping[str, Any]) -> str:
    """One line of JSON; characters that XML cannot hold are written as JSON escapes."""
    try:
        text = json.dumps(dict(provenance), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"provenance: expected what JSON can hold; {error}") from None
    return _NOT_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _description(provenance: Mapping[str, Any]) -> str:
    text = _printable(str(provenance.get("prompt") or ""))
    if len(text) > _DESCRIPTION_CHARACTERS:
        return text[: _DESCRIPTION_CHARACTERS - 1] + "…"
    return text


def _printable(text: str) -> str:
    """Text without control characters, lone surrogates and the like; line ends stay."""
    return _NOT_XML.sub("", text)


def _xmp(record: str, software: str, description: str) -> bytes:
    return _XMP.format(
        namespace=_NAMESPACE,
        source_type=DIGITAL_SOURCE_TYPE,
        software=escape(software),
        description=escape(description),
        record=escape(record),
    ).encode()


def _png_chunks(xmp: bytes, record: str, software: str, description: str) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    chunks.add_itxt("tedi", record)
    chunks.add_itxt("Description", description)
    chunks.add_itxt("Software", software)
    return chunks


def load(path: str | os.PathLike[str]) -> Image.Image:
    """A picture file as an RGB picture, upright, in sRGB, with nothing else of the file in it.

    EXIF rotation is applied, an embedded colour profile is converted to sRGB, 16-bit grey is
    scaled to 8, transparency is laid over white, and an animation gives its first frame. What
    the file holds counts, not its suffix.

    Raises:
        TediError: no such file, not a picture, damaged, more than `MAX_PIXELS`, or floating-point.
    """
    with _opened(path) as picture:
        if picture.mode == "F":
            raise TediError(f"{path}: floating-point pixels; export it with 8 or 16 bits")
        ImageOps.exif_transpose(picture, in_place=True)
        return _to_rgb(picture)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An open picture; what goes wrong while it is open becomes a line that names the file."""
    try:
        with warnings.catch_warnings():
            # What is wrong is said once, by the error; what is merely odd is read.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_formats()) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield picture
    except FileNotFoundError:
        raise TediError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TediError(f"{path}: is a folder; name a picture in it") from None
    except PermissionError:
        raise TediError(f"{path}: no permission to read it") from None
    except UnidentifiedImageError:
        raise TediError(f"{path}: no picture tedi can read; convert it to PNG or JPEG") from None
    except Image.DecompressionBombError:
        most = f"expected at most {MAX_PIXELS // 10**6} million"
        raise TediError(f"{path}: too many pixels, {most}; make it smaller first") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TediError(f"{path}: damaged or cut short ({reason}); get it anew") from error


def _formats() -> list[str]:
    """Those of `_READ` that this Pillow was built with."""
    Image.init()
    return [name for name in _READ if name in Image.OPEN]


def _to_rgb(picture: Image.Image) -> Image.Image:
    """A copy in RGB and sRGB without EXIF and profile, which Pillow would write again."""
    if picture.mode.startswith("I"):
        levels = np.asarray(picture).clip(0, 65535).astype(np.uint32)
        rounded = (levels * 255 + 32_895) >> 16  # a 257th
        picture = Image.fromarray(rounded.astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")
    picture = _to_srgb(picture)
    if picture.mode == "RGBA":
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    bare = picture.convert("RGB")
    bare.info = {}
    return bare


def _to_srgb(picture: Image.Image) -> Image.Image:
    """The picture in sRGB; a profile that cannot be used is ignored, as browsers do."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return picture
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture
    return converted or picture


def contact_sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    *,
    labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    cell: int = 256,
    gap: int = 8,
) -> Image.Image:
    """One RGB picture of many, on white: a row for each prompt, a column for each seed.

    Args:
        rows: pictures of any size, scaled to fit their cell; None, and what a short row lacks,
            gives an empty cell.
        labels: one text a row, wrapped beside it; text that does not fit ends with "…".
        column_labels: one short text a column, above it.
        cell: side of a cell in pixels.
        gap: pixels between two cells.

    Raises:
        UsageError: no pictures, or more or fewer labels than rows or columns.
    """
    columns = max(map(len, rows), default=0)
    laid = _lay_out(len(rows), columns, labels, column_labels, cell, gap)
    margin, step = 3 * gap, cell + gap
    sheet = Image.new("RGB", laid.size, _PAPER)
    sheet.paste(_tile(rows, columns, cell, gap), (laid.left, laid.top))
    draw = ImageDraw.Draw(sheet)
    for row, lines in enumerate(laid.beside):
        _write(draw, lines, margin, laid.top + row * step + cell / 2, laid.font)
    for column, text in enumerate(laid.above):
        where = (laid.left + column * step + cell / 2, margin + _line_height(laid.font) / 2)
        draw.text(where, text, _FAINT_INK, laid.font, anchor="mm")
    return sheet


def check_sheet(
    path: str | os.PathLike[str],
    rows: int,
    columns: int,
    *,
    labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    cell: int = 256,
    gap: int = 8,
) -> None:
    """Raises what `save` would of the size of a `contact_sheet`, before its pictures are drawn.

    Args:
        path: of the sheet; its suffix is the format.
        rows: of pictures.
        columns: of the longest row.
        labels: as for `contact_sheet`, like all that follows.
        column_labels: see there.
        cell: see there.
        gap: see there.

    Raises:
        UsageError: a sheet larger than the format holds, or one that cannot be laid out.
    """
    _check_size(path, _lay_out(rows, columns, labels, column_labels, cell, gap).size)


class _Layout(NamedTuple):
    """Where the parts of a sheet go: pixels, and lines of text."""

    size: tuple[int, int]
    left: int
    top: int
    font: ImageFont.FreeTypeFont
    beside: list[list[str]]
    above: list[str]


def _lay_out(
    rows: int,
    columns: int,
    labels: Sequence[str] | None,
    column_labels: Sequence[str] | None,
    cell: int,
    gap: int,
) -> _Layout:
    _check_parts(rows, columns, labels, column_labels, cell, gap)
    font = _font(max(10, cell / 15))
    line = _line_height(font)
    beside = [_wrap(text, font, cell, max(1, cell // line)) for text in labels or ()]
    above = [_wrap(text, font, cell, 1)[0] for text in column_labels or ()]
    margin, step = 3 * gap, cell + gap
    left = margin + (_widest(beside, font) + 2 * gap if beside else 0)
    top = margin + (line + gap if above else 0)
    size = (left + columns * step - gap + margin, top + rows * step - gap + margin)
    return _Layout(size, left, top, font, beside, above)


def _tile(
    rows: Sequence[Sequence[Image.Image | None]], columns: int, cell: int, gap: int
) -> Image.Image:
    step = cell + gap
    tiles = Image.new("RGB", (columns * step - gap, len(rows) * step - gap), _PAPER)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate([*pictures, *[None] * (columns - len(pictures))]):
            _paste(tiles, picture, column * step, row * step, cell)
    return tiles


def _check_parts(
    rows: int,
    columns: int,
    labels: Sequence[str] | None,
    column_labels: Sequence[str] | None,
    cell: int,
    gap: int,
) -> None:
    if not columns:
        raise UsageError("rows: expected at least one picture, got none")
    if labels is not None and len(labels) != rows:
        raise UsageError(f"labels: expected {rows}, one a row, got {len(labels)}")
    if column_labels is not None and len(column_labels) != columns:
        raise UsageError(
            f"column_labels: expected {columns}, one a column, got {len(column_labels)}"
        )
    if cell < 16 or gap < 0:
        raise UsageError(f"expected a cell of 16 or more and a gap of 0 or more, got {cell}, {gap}")


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TediError("contact sheet: this Pillow was built without FreeType; install its wheel")
    return font


def _paste(sheet: Image.Image, picture: Image.Image | None, x: int, y: int, cell: int) -> None:
    if picture is None:
        sheet.paste(_EMPTY, (x, y, x + cell, y + cell))
        return
    fitted = ImageOps.contain(_to_rgb(picture), (cell, cell), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, limit: int) -> list[str]:
    """The text in lines of at most `width` pixels, no more than `limit` of them."""
    words = _printable(text[:_DESCRIPTION_CHARACTERS]).split()
    lines = [""]
    while words and len(lines) <= limit:
        word = words.pop(0)
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        elif lines[-1]:
            lines.append("")
            words.insert(0, word)
        else:  # a word wider than a line, or a script that puts no spaces
            lines[-1] = _head(word, font, width)
            lines.append("")
            words.insert(0, word[len(lines[-2]) :])
    lines = [line for line in lines if line]
    if len(lines) > limit or words:
        lines = lines[:limit]
        lines[-1] = _head(lines[-1], font, width - font.getlength("…")).rstrip(" ,.;:") + "…"
    return lines or [""]


def _head(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """As many characters as fit the width, one at least."""
    length = 1
    while length < len(text) and font.getlength(text[: length + 1]) <= width:
        length += 1
    return text[:length]


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    return round(1.4 * font.size)


def _widest(texts: Sequence[Sequence[str]], font: ImageFont.FreeTypeFont) -> int:
    return round(max(font.getlength(line) for lines in texts for line in lines))


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    x: float,
    middle: float,
    font: ImageFont.FreeTypeFont,
) -> None:
    """Lines of text, left-aligned, their block centred on `middle`."""
    line = _line_height(font)
    top = middle - line * (len(lines) - 1) / 2
    for number, text in enumerate(lines):
        draw.text((x, top + number * line), text, _INK, font, anchor="lm")
