"""What a file is that is no weight file, and what to do about it."""

import re

_PACKED = "is packed as {}; unpack it and give the file that is in it"
_HEADS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", _PACKED.format("gzip")),
    (b"BZh", _PACKED.format("bzip2")),
    (b"\xfd7zXZ\0", _PACKED.format("xz")),
    (b"\x28\xb5\x2f\xfd", _PACKED.format("zstd")),
    (b"7z\xbc\xaf\x27\x1c", _PACKED.format("7z")),
    (b"Rar!", _PACKED.format("rar")),
    (b"\x89HDF\r\n\x1a\n", "is HDF5 (Keras); get the weights as torch or safetensors"),
    (b"GGUF", "is GGUF, for language models; get the weights as torch or safetensors"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights; run git lfs pull"),
    (b"\x89PNG\r\n", "is a picture (PNG), no weight file"),
    (b"\xff\xd8\xff", "is a picture (JPEG), no weight file"),
    (b"%PDF", "is a PDF document, no weight file"),
)
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml|<!--)", re.IGNORECASE)
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12.[\w.:+ -]+", re.DOTALL)
_OLDEST = (b"pickle", b"storages", b"tensors", b"sys_info")


def describe(head: bytes) -> str | None:
    """What a file is, from its first kilobytes, as the end of a sentence; None if unknown."""
    for start, words in _HEADS:
        if head.startswith(start):
            return words
    if _PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        return "is a web page, not the weights; the download asked for something, get it by hand"
    if head[257:262] == b"ustar":
        return _tar(head)
    if _ONNX.match(head):
        return "is ONNX; get the weights as torch or safetensors"
    if not head.strip(b"\0"):
        return "is all zeros; the download broke, get it once more"
    return None


def _tar(head: bytes) -> str:
    names = (head[at : at + 100].split(b"\0")[0] for at in range(0, len(head) - 512, 512))
    if any(name in _OLDEST for name in names):
        return "is torch's oldest format (tar, before 0.2); load it in torch and save it once more"
    return _PACKED.format("tar")


def looks_like_pickle(data: memoryview) -> bool:
    """Whether a file begins as a pickle may; protocols 0 and 1 have no head of their own."""
    if data[0] == 0x80:
        return len(data) > 1 and data[1] <= 5
    return data[0] in b"(]}c)lKMJIFGSUXVN" and bytes(data[-8:]).rstrip().endswith(b".")


def describe_zip(names: list[str]) -> str:
    """What a zip is that is none of torch's and none of numpy's."""
    inside = next((name for name in names if name.endswith((".pt", ".pth", ".pkl"))), None)
    inside = inside or next((name for name in names if not name.endswith("/")), "nothing")
    return f"is a zip of {len(names)} files ({inside[:80]!r}); unpack it and give the weights in it"
