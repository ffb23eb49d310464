"""The levels of the package, read off its imports: lower ones only, heavy packages by one door.

Level 0 holds words, tensors and files; 1 weights and text backbones; 2 the parts; 3 weight files
to parts; 4 to 6 methods, which are given networks: how codes are moved, what codes and pictures
mean, whole edits and inversions; 7 assemblies; 8 and 9 the doors.
"""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tedi
from tedi.registry import Table, resolve

ROOT = Path(tedi.__file__).parent
LEVELS = {
    0: "errors registry interfaces config images outputs latents masks prompts grammar allocator "
    "attributes recipe mixing blank adam tensors",
    1: "zoo faces language",
    2: "modalities encoders generators losses",
    3: "checkpoints",
    4: "control descent",
    5: "semantics metrics",
    6: "editing inversion video",
    7: "pipeline training",
    8: "cli studio",
    9: "__main__",  # python -m tedi
}
LEVEL = {name: level for level, names in LEVELS.items() for name in names.split()}
# Module outside -> the one place that may import it (absent before its feature).
DOORS = {
    "transformers": "language",
    "tokenizers": "language",
    "datasets": "training/dataset",
    "accelerate": "training/loop",
    "lpips": "losses",
    "gradio": "studio",
    "av": "video",
    "lightgbm": "metrics/trees",
}
NO_PRINT_BELOW = "cli"
READS_ENVIRONMENT = {"cli", "zoo"}
PUBLIC = ["Face", "Toolkit", "__version__", "load"]
HOSTS = r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|huggingface\.co|\bhf\.co|githubusercontent"

FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT).with_suffix("")) for path in FILES]
each_module = pytest.mark.parametrize(
    ("name", "path"), list(zip(NAMES, FILES, strict=True)), ids=NAMES
)


def top(name):
    """Family of a file: "zoo" of "zoo/store"."""
    return name.split("/")[0]


def imported(tree, name):
    """Absolute dotted names of all imports of a module, at its head or in a function."""
    package = ["tedi", *name.removesuffix("/__init__").split("/")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = len(package) - node.level + name.endswith("__init__")
            base = [*package[:above]] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def families(tree, name):
    """Families of tedi that a module imports; a plain name of the package itself is none."""
    for dotted in imported(tree, name):
        parts = dotted.split(".")
        if parts[0] != "tedi" or len(parts) == 1:
            continue
        if (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").is_file():
            yield parts[1]


def misplaced(name, tree):
    """Complaints about the imports of one module."""
    if name == "__init__":  # the package's face: all that it imports it imports lazily
        return []
    own = top(name)
    if own not in LEVEL:
        return [f"tedi/{own} has no level; list it in LEVELS of {Path(__file__).name}"]
    return [
        f"tedi/{name}.py (level {LEVEL[own]}) imports tedi.{other} (level {LEVEL.get(other)})"
        for other in families(tree, name)
        if other != own
        and not (LEVEL.get(other, 99) < LEVEL[own] or LEVEL[own] == LEVEL.get(other, 99) == 0)
    ]


@each_module
def test_imports_point_down(name, path):
    assert misplaced(name, ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("name", "source", "fits"),
    [
        ("control", "from tedi.encoders.text import TextEncoder", True),
        ("images", "from tedi import outputs", True),
        ("zoo/store", "from tedi.zoo.entries import Entry", True),
        ("zoo/store", "from . import entries", True),
        ("cli/__init__", "import tedi\nfrom tedi import __version__", True),
        ("language", "from tedi import zoo", False),  # sideways
        ("errors", "import tedi.zoo", False),
        ("encoders/text", "def f():\n    from tedi import pipeline", False),
        ("encoders/text", "from ..pipeline import load", False),
        ("encoders/__init__", "from ..pipeline import load", False),
        ("prompts", "if TYPE_CHECKING:\n    from tedi.language import TextBackbone", False),
        ("novelty", "import math", False),
    ],
)
def test_the_reader_of_imports_sees(name, source, fits):
    assert (misplaced(name, ast.parse(source)) == []) is fits


def test_an_unlisted_module_is_told_where_to_go():
    assert "list it in LEVELS of test_levels.py" in misplaced("novelty", ast.parse(""))[0]


@each_module
def test_heavy_packages_have_one_door(name, path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for dotted in imported(tree, name):
        door = DOORS.get(dotted.split(".")[0], name)
        assert name == door or name.startswith(f"{door}/"), f"{dotted} belongs in tedi/{door}"


@each_module
def test_only_doors_print_or_read_the_environment(name, path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = node.func.id if isinstance(node, ast.Call) and hasattr(node.func, "id") else ""
        assert called != "print" or top(name) == NO_PRINT_BELOW, f"line {node.lineno}: print()"
        word = getattr(node, "attr", getattr(node, "name", ""))
        found = word in ("environ", "environb", "getenv", "putenv")
        assert not found or top(name) in READS_ENVIRONMENT, f"line {node.lineno}: {word}"


@each_module
def test_no_registry_is_named(name, path):
    """Packages and models come through the user's own pip, npm and hub settings."""
    assert re.findall(HOSTS, path.read_text(encoding="utf-8")) == []


def tables():
    """Every `Table` that a module of tedi holds."""
    for module in pkgutil.walk_packages(tedi.__path__, "tedi."):
        if module.name.endswith("__main__"):
            continue  # runs when imported
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Table):
                yield f"{module.name}.{name}", value


def test_every_entry_of_every_table_exists():
    seen = dict(tables())
    assert {"tedi.generators.GENERATORS", "tedi.encoders.ENCODERS", "tedi.training.TASKS"} <= set(
        seen
    )
    for table in seen.values():
        for name in table:
            assert callable(table[name])


def test_every_command_and_converter_exists():
    from tedi.cli import COMMANDS
    from tedi.zoo import ZOO

    converters = [entry.convert for entry in ZOO.values() if entry.convert]
    for reference in [*(reference for reference, _ in COMMANDS.values()), *converters]:
        assert callable(resolve(reference))


def test_public_names():
    assert tedi.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(tedi, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        tedi.nonsense  # noqa: B018


@pytest.mark.parametrize("work", ["import tedi", "from tedi.cli import run; run(['--help'])"])
def test_starting_loads_no_network_library(work):
    loaded = f"{work}\nimport sys\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {"torch", "transformers", "tokenizers", "datasets", "accelerate", "huggingface_hub"}
    heavy |= {"numpy", "PIL"}
    assert heavy & set(done.stderr.split()) == set()
    assert "tedi" in done.stderr.split()
