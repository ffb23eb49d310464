"""Damaged and hostile weight files by the thousand: a value or one line, and nothing else.

Files of every container are written, then changed at random: bits, lengths, opcodes, pieces moved,
cut or doubled, calls put in; and pickles are made up from opcodes. What once went wrong is kept, as
small as it could be made, in `golden/fuzz-seeds`.
"""

import io
import os
import random
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from raw_files import write_all

from tedi.checkpoints import raw
from tedi.checkpoints.raw.names import BUILDERS, DTYPES, STORAGES
from tedi.checkpoints.raw.unpickle import _OPERATIONS
from tedi.errors import TediError

SEEDS = sorted((Path(__file__).parent / "golden" / "fuzz-seeds").glob("*"))
LIMIT = 20  # seconds for one file; the slowest takes about five
CANARY = "TEDI_CANARY"
OPCODES = bytes(_OPERATIONS) + b"."
EVIL = (
    b"cos\nsystem\n(S'touch tedi-canary'\ntR",
    b"cposix\nsystem\n(S'touch tedi-canary'\ntR",
    b'cbuiltins\nexec\n(S\'import os;os.environ["TEDI_CANARY"]="1"\'\ntR',
    b"(S'touch tedi-canary'\nios\nsystem\n",
    b"\x8c\x05posix\x8c\x06system\x93\x8c\x11touch tedi-canary\x85R",
    b"cos\nputenv\n(S'TEDI_CANARY'\nS'1'\ntR",
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n(}S'module_src'\nS'1/0'\nstR",
)
NUMBERS = (
    0,
    1,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63,
    2**64 - 1,
)


class TooLongError(BaseException):
    """Not an Exception, so that nothing between takes it for its own."""


@pytest.fixture(autouse=True)
def canary(monkeypatch, tmp_path):
    """Nothing that a file brings may have run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CANARY, raising=False)
    yield
    assert CANARY not in os.environ
    assert not list(tmp_path.rglob("tedi-canary"))


# --- changes -------------------------------------------------------------------------------------


def place(data, chance):
    """A place in a file, more often near its ends and near the heads of a zip."""
    kind = chance.random()
    if kind < 0.3:
        return chance.randrange(min(len(data), 400))
    if kind < 0.5:
        return len(data) - 1 - chance.randrange(min(len(data), 400))
    if kind < 0.7 and (at := data.find(b"PK", chance.randrange(len(data)))) >= 0:
        return min(at + chance.randrange(50), len(data) - 1)
    return chance.randrange(len(data))


def flip(data, chance):
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[place(data, chance)] ^= 1 << chance.randrange(8)


def set_opcode(data, chance):
    for _ in range(chance.choice((1, 1, 3))):
        data[place(data, chance)] = chance.choice(OPCODES)


def set_length(data, chance):
    at, width = place(data, chance), chance.choice((1, 2, 4, 8))
    number = chance.choice(NUMBERS) % (1 << 8 * width)
    data[at : at + width] = number.to_bytes(width, "little")


def cut(data, chance):
    at = place(data, chance)
    if chance.random() < 0.5:
        del data[at:]
    else:
        del data[at : at + chance.choice((1, 2, 8, 64))]


def move(data, chance):
    at, to, count = place(data, chance), place(data, chance), chance.choice((2, 9, 60, 400))
    piece = data[at : at + count]
    if chance.random() < 0.5:
        data[to : to + count] = piece
    else:
        data[to:to] = piece * chance.choice((1, 1, 2, 30))


def put_call(data, chance):
    at = place(data, chance)
    data[at:at] = chance.choice(EVIL) + chance.choice((b"", b"0", b"."))


CHANGES = (flip, set_opcode, set_length, cut, move, put_call)


def changed(data, chance):
    """A file after one to three changes; within a zip that stays whole, half of the time."""
    if data[:2] == b"PK" and chance.random() < 0.5:
        entries = unzipped(data)
        name = chance.choice([n for n in entries if n.endswith((".pkl", ".npy"))] * 4 + [*entries])
        return zipped(entries | {name: changed(entries[name], chance)})
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if data:
            chance.choice(CHANGES)(data, chance)
    return bytes(data)


def unzipped(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(entries):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return memory.getvalue()


# --- made-up pickles -----------------------------------------------------------------------------

NAMES = [
    *(*BUILDERS, *DTYPES, *STORAGES),
    *("somebody.Thing", "builtins.object", "builtins.list", "typing.Any", "numpy.float32"),
]


def made_up(chance):
    """A file around a pickle of opcodes that mostly fit each other."""
    parts = b"".join(piece(chance, 0) for _ in range(chance.choice((1, 1, 2, 4))))
    pickled = b"\x80\x04N\x94(" + parts + chance.choice((b"t.", b"l.", b"l."))
    return chance.choice((in_nothing, in_zip, in_zip, in_legacy, in_array))(pickled)


def in_nothing(pickled):
    return pickled


def in_zip(pickled):
    return zipped({"a/data.pkl": pickled, **{f"a/data/{i}": bytes(range(16)) for i in range(3)}})


def in_legacy(pickled):
    """The magic number, the version and a machine; after the pickle its keys, then a storage."""
    head = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}."
    return head + pickled + b"\x80\x02]U\x010a." + struct.pack("<q", 4) + bytes(range(16))


def in_array(pickled):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': ()}"
    start = (
        b"\x80\x04N\x94cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    )
    state = b"(K\x01)cnumpy\ndtype\n\x8c\x02O8\x85R\x89" + pickled[4:-1] + b"\x85\x81tb."
    state = state.replace(b"\x85\x81tb.", b"tb.") if pickled[-2:] == b"l." else state
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + start + state


def piece(chance, depth):
    """Opcodes that leave one thing."""
    makers = SCALARS if depth > 4 else (*SCALARS, *COMPOUNDS)
    return chance.choice(makers)(chance, depth)


def scalar(chance, depth):
    return chance.choice(
        [b"N", b"\x88", b"\x89", b"K\x01", b"K\x00", b"J\xff\xff\xff\xff", b"M\x00\x10", b")", b"]"]
        + [b"}", b"G" + struct.pack(">d", chance.choice((0.0, 1.5, 1e308, float("nan"))))]
        + [b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"C\x04abcd", b"C\x00", b"U\x04\x00\x00\x80?"]
        + [b"\x8c%c%s" % (len(text), text) for text in TEXTS]
    )


TEXTS = (
    b"",
    b"a",
    b"f4",
    b"<",
    b">",
    b"|",
    b"O",
    b"O8",
    b"U3",
    b"S0",
    b"latin1",
    b"C",
    b"storage",
    b"0",
)


def recall(chance, depth):
    return b"h%c" % chance.choice((0, 0, 0, 0, 1, 1, 1, 2, 3))


def name(chance, depth):
    module, _, attribute = chance.choice(NAMES).rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def listing(chance, depth):
    items = b"".join(piece(chance, depth + 1) for _ in range(chance.randrange(5)))
    return b"(" + items + chance.choice((b"t", b"l", b"t", b"o"))


def mapping(chance, depth):
    pairs = (scalar(chance, 0) + piece(chance, depth + 1) for _ in range(chance.randrange(4)))
    return b"}(" + b"".join(pairs) + b"u"


def called(chance, depth):
    return (
        name(chance, 0)
        + listing(chance, depth + 1)[:-1]
        + b"t"
        + chance.choice((b"R", b"R", b"\x81"))
    )


def built(chance, depth):
    return piece(chance, depth + 1) + piece(chance, depth + 1) + chance.choice((b"b", b"a", b"b"))


def kept(chance, depth):
    return piece(chance, depth + 1) + b"\x94"


def dtype(chance, depth):
    return b"cnumpy\ndtype\n(\x8c\x02" + chance.choice(TYPES) + b"\x89\x88tR"


TYPES = (b"f4", b"O8", b"U2", b"b1", b"c8", b"i8", b"S1", b"U0", b">f")


def size(chance, numbers=(0, 1, 1, 2, 2, 3, 4, 255)):
    """A tuple of up to three numbers."""
    count = chance.randrange(4)
    return b"(" + b"".join(b"K%c" % chance.choice(numbers) for _ in range(count)) + b"t"


def array(chance, depth):
    shape, data = chance.choice(
        (
            (b"(K\x01K\x02t", b"C\x08\x01" + bytes(7)),
            (b"(K\x02K\x01t", b"(NNl"),
            (b"(K\x02t", b"C\x02\x07a"),
            (b")", b"(" + piece(chance, depth + 1) + b"l"),
            (size(chance), chance.choice((b"]", b"C\x00", b"C\x04abcd"))),
            (size(chance), piece(chance, depth + 1)),
        )
    )
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
    order = chance.choice((b"\x88", b"\x89"))
    return start + b"(K\x01" + shape + dtype(chance, 0) + order + data + b"tb"


def number(chance, depth):
    kind, data = chance.choice(
        (
            (b"f4", b"C\x04\x00\x00\x80?"),
            (b"i8", b"C\x08" + b"\xff" * 8),
            (b"U2", b"C\x08" + b"\xff" * 8),
            (b"U2", b"C\x08a\x00\x00\x00\x00\x00\x00\x00"),
            (b"S1", b"U\x01a"),
            (chance.choice(TYPES), b"C\x00"),
        )
    )
    return (
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n\x8c\x02" + kind + b"\x85R" + data + b"tR"
    )


def storage(chance, depth):
    key = chance.choice((0, 0, 0, 1, 2))
    kind, count = ((b"Float", 4), (b"Byte", 16), (b"Half", 8))[key]
    if chance.random() < 0.05:
        kind, count = b"Double", 2
    return (
        b"(\x8c\x07storagectorch\n"
        + kind
        + b"Storage\n\x8c\x01%d\x8c\x03cpuK%c" % (key, count)
        + (chance.choice((b"", b"N")) + b"tQ")
    )


def tensor(chance, depth):
    offset = chance.choice((b"K\x00", b"K\x00", b"K\x01", b"K\x04", b"J\xff\xff\xff\xff"))
    version, rest = chance.choice(
        ((b"", b""), (b"_v2", b"\x89}"), (b"_v2", b"\x89}}"), (b"_v3", b"\x89}ctorch\nfloat16\n"))
    )
    start = b"ctorch._utils\n_rebuild_tensor" + version + b"\n(" + storage(chance, 0) + offset
    return start + chance.choice(WINDOWS) + rest + b"tR"


WINDOWS = (
    *(b"K\x04\x85K\x01\x85", b"K\x02K\x02\x86K\x02K\x01\x86", b"K\x02K\x02\x86K\x01K\x02\x86"),
    *(b"))", b"K\x00\x85K\x01\x85", b"K\xff\x85K\x00\x85", b"K\x03\x85K\x02\x85", b"K\x01\x85)"),
    *(b"K\x02\x85J\xff\xff\xff\xff\x85", b"J\x00\x00\x00\x7f\x85K\x00\x85", b"N\x85K\x01\x85"),
)


def module(chance, depth):
    parts = b"".join(
        b"\x8c%c%s}(\x8c\x01a" % (len(part), part) + piece(chance, depth + 1) + b"u"
        for part in (b"_parameters", b"_buffers", b"_modules")
    )
    return b"csomebody\nLayer\n)\x81}(" + parts + b"ub"


SCALARS = (scalar, scalar, recall, name)
COMPOUNDS = (
    *(listing, mapping, called, built, kept, kept, dtype, array, number),
    *(storage, tensor, tensor, tensor, module, module),
)


# --- reading -------------------------------------------------------------------------------------


def walked(value):
    """Number of values, each as often as it is reached."""
    if isinstance(value, raw.Stub):
        return 1 + walked(value.args) + walked(value.state)
    if isinstance(value, dict):
        return 1 + sum(walked(item) for item in value.values())
    if isinstance(value, list | tuple):
        return 1 + sum(map(walked, value))
    assert isinstance(value, str | bytes | int | float | complex | None | torch.Tensor)
    return 1


def outcome(path, data, *, values):
    """The value's size or the error's line; anything else is raised."""
    path.write_bytes(data)
    try:
        found = raw.read(path, values=values)
        if isinstance(found.value, raw.Stub):
            raw.state_dict(found.value)
    except TediError as error:
        return str(error)
    return walked(found.value)


def attack(tmp_path, times, seed):
    """Read as many changed files; tell how many were read and how many refused."""
    originals = [path.read_bytes() for path in write_all(tmp_path).values()]
    assert all(isinstance(outcome(tmp_path / "x", data, values=True), int) for data in originals)
    read = refused = 0
    signal.signal(signal.SIGALRM, too_long)
    for i in range(times):
        chance = random.Random(f"{seed} {i}")
        made = chance.random() < 0.4
        data = made_up(chance) if made else changed(chance.choice(originals), chance)
        signal.alarm(LIMIT)
        try:
            told = outcome(tmp_path / "x", data, values=chance.random() < 0.7)
            assert isinstance(told, int) or told.isprintable()
        except BaseException as error:
            (tmp_path / f"found-{seed}-{i}").write_bytes(data)
            raise AssertionError(f"case {seed} {i}: {error!r} in {tmp_path}") from error
        finally:
            signal.alarm(0)
        read, refused = read + isinstance(told, int), refused + isinstance(told, str)
    return read, refused


def too_long(*_):
    raise TooLongError


each_seed = pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.name)
needs_alarm = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="has no alarm")


@each_seed
@pytest.mark.parametrize("values", [True, False])
def test_what_once_went_wrong_ends_in_a_value_or_a_line(tmp_path, path, values):
    told = outcome(tmp_path / "x", path.read_bytes(), values=values)
    assert isinstance(told, int) or told.isprintable()


@needs_alarm
def test_changed_files_end_in_a_value_or_a_line(tmp_path):
    read, refused = attack(tmp_path, 2000, "short")
    assert read > 200
    assert refused > 800


@pytest.mark.slow
@needs_alarm
def test_many_changed_files_end_in_a_value_or_a_line(tmp_path):
    read, refused = attack(tmp_path, 24_000, "long")
    assert read > 2400
    assert refused > 9600


BOMBS = """
import resource, struct, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
from test_raw_fuzz import DICTS, bombs, outcome
torch.zeros(1)
here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (here + (600 << 20),) * 2)
for name, data in [*bombs(), *([("dicts", DICTS)] if {slow} else [])]:
    told = outcome(Path({path!r}), data, values=True)
    assert isinstance(told, str) and "memory" not in told, (name, told)
    print(name, told)
"""


def bombs():
    """Small files that ask for much."""
    proto = b"\x80\x04"
    yield "long number", proto + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x."
    yield "long text", proto + b"\x8d" + struct.pack("<Q", 2**40) + b"x."
    yield "laughs", proto + b"]\x94" + b"".join(b"h%c2\x86\x94" % i for i in range(99)) + b"."
    start = array(random.Random(0), 9).partition(b"(K\x01")[0] + b"(K\x01"
    kind = b"cnumpy\ndtype\n\x8c\x02f4\x85R\x89C\x00tb."
    yield "array", proto + start + b"\x8a\x06\0\0\0\0\0\x10\x85" + kind
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"
    yield "npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    text = b'{"a":{"dtype":"F32","shape":[999999999999],"data_offsets":[0,3999999999996]}}'
    yield "safetensors", struct.pack("<Q", len(text)) + text


DICTS = b"\x80\x04(" + b"}" * 4_100_000 + b"l."


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own size in Linux's way")
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_small_files_do_not_take_much_memory(tmp_path, slow):
    here = str(Path(__file__).parent)
    program = BOMBS.format(tests=here, path=str(tmp_path / "x"), slow=slow)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 6 + slow
