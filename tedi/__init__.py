"""tedi: faces from words, in StyleGAN's W space.

>>> import tedi
>>> faces = tedi.load().generate("a smiling woman with bangs")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tedi.pipeline import Face, Toolkit, load

__version__ = "0.1.0"
__all__ = ["Face", "Toolkit", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Public names of `tedi.pipeline`, imported when first asked for: it loads torch."""
    if name in ("Face", "Toolkit", "load"):
        import tedi.pipeline

        return getattr(tedi.pipeline, name)
    raise AttributeError(f"module 'tedi' has no attribute {name!r}")
