"""The notebooks: they run from top to bottom, and their outputs are kept, small and impersonal."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DEMOS = Path(__file__).parents[1] / "demos"
NAMES = ("text-to-face", "photo", "sketch-and-text", "label-and-text", "mixing-and-layers")
QUICK = "text-to-face"
PERSONAL = re.compile(
    r"(?m)(?:^|[\s'\"(=\[])(?:/(?:home|root|tmp|work|opt|usr|mnt|Users)/|[A-Z]:\\)"
    r"|site-packages|\w+@\w+"
)
LIMIT = 4_000_000  # bytes of the folder
ONE_STEP = """from dataclasses import replace
from tedi.editing import look
look.STEPS = replace(look.STEPS, steps=1)"""  # pictures that show what is asked are not waited for

each_demo = pytest.mark.parametrize("name", NAMES)


def read(name):
    """A notebook as it is kept."""
    return nbformat.read(DEMOS / f"{name}.ipynb", as_version=4)


def code_cells(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def told(cell):
    """What a cell's outputs say in words."""
    for output in cell.outputs:
        kinds = {kind: text for kind, text in output.get("data", {}).items() if "text" in kind}
        yield from kinds.values()
        yield output.get("text", "")


def test_every_notebook_is_listed():
    assert {path.stem for path in DEMOS.glob("*.ipynb")} == set(NAMES)
    assert sum(path.stat().st_size for path in DEMOS.rglob("*")) < LIMIT


@each_demo
def test_outputs_are_kept_in_order(name):
    book = read(name)
    nbformat.validate(book)
    cells = code_cells(book)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"execute_result"}  # no errors, no noise
    assert sum("image/jpeg" in output.data for output in outputs) >= 3
    assert not any("image/png" in output.data for output in outputs), "larger than a JPEG"


@each_demo
def test_outputs_name_no_machine_and_no_user(name):
    texts = [text for cell in code_cells(read(name)) for text in told(cell)]
    assert [text for text in texts if PERSONAL.search(text)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'/home/ann/x.png'", True),
        ("first\n/root/tedi", True),
        (r"C:\Users\ann", True),
        ("lib/site-packages/tedi", True),
        ("ann@desk", True),
        ("1024/256 and w/o a hat", False),
        ("image/jpeg", False),
    ],
)
def test_the_reader_of_outputs_sees(text, found):
    assert bool(PERSONAL.search(text)) is found


@pytest.mark.parametrize(
    "name",
    [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def test_runs_from_top_to_bottom(name, weights, tmp_path):
    book = read(name)
    for cell in code_cells(book):
        cell.outputs, cell.execution_count = [], None
    book.cells.insert(0, nbformat.v4.new_code_cell(ONE_STEP))
    folder = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=folder).execute()
    assert all(cell.execution_count for cell in code_cells(book))
    assert list(tmp_path.iterdir()) == []
