"""A machine for pickles that runs nothing: it walks the opcodes and notes down what they describe.

Python's own unpickler imports what a stream names and calls it. This one knows the 68 opcodes of
protocols 0 to 5 (Python's `pickletools` describes them), looks names up in `names`, and leaves
the notes of `values`. Every length is checked against the file before it is used, large
payloads stay slices of the file, and time and memory grow with the opcodes walked, which are
counted.
"""

import re
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from tedi.checkpoints.raw import names
from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.values import Array, DType, Name, Object, View

HIGHEST_PROTOCOL = 5
_SHORT = 256  # bytes; longer payloads stay slices of the file
_TEXT = 4096  # bytes; a longer string of Python 2 is data, and stays bytes
_WIDEST = 64  # bytes of a whole number
_SOURCES = ("build_module_src", "module_src")  # of NVIDIA's TensorFlow networks

Persistent = Callable[[Any], Any]
_Number = TypeVar("_Number", int, float)


def load(
    data: memoryview, reading: Reading, *, at: int = 0, persistent: Persistent | None = None
) -> tuple[Any, int]:
    """The notes of one pickle, and where it ends.

    Args:
        data: the file.
        reading: counts the cost.
        at: where the pickle begins.
        persistent: gives what a persistent id stands for; without it there are none.

    Raises:
        BadFileError: damaged, or refused.
    """
    machine = _Machine(data, at, reading, persistent)
    return machine.run(), machine.at


class _Machine:
    def __init__(
        self, data: memoryview, at: int, reading: Reading, persistent: Persistent | None
    ) -> None:
        self.data, self.at, self.end = data, at, len(data)
        self.reading, self.persistent = reading, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Walk to the STOP opcode; what it leaves on the stack."""
        while True:
            self.reading.step()
            code = self.take(1)[0]
            if code == _STOP:
                return self.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise BadFileError(f"damaged; byte {self.at - 1} of its pickle is no opcode")
            operation(self)

    # -- the stream

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        start, self.at = self.at, self.at + count
        if self.at > self.end:
            raise BadFileError(f"cut short or damaged; its pickle goes on after byte {self.end:,}")
        return self.data[start : self.at]

    def number(self, width: int) -> int:
        """A length or an index: unsigned, little-endian."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """The rest of a line, in the opcodes of protocol 0; without its end."""
        width = 64
        while True:
            chunk = bytes(self.data[self.at : self.at + width])
            length = chunk.find(b"\n")
            if length >= 0:
                self.at += length + 1
                return chunk[:length]
            if self.at + width >= self.end:
                raise BadFileError("cut short or damaged; its pickle ends within a line")
            width *= 4

    def word(self) -> str:
        """A line of ASCII."""
        return _decoded(self.line(), "ascii")

    # -- the stack

    @property
    def floor(self) -> int:
        return self.marks[-1] if self.marks else 0

    def pop(self) -> Any:
        """The top of the stack, above the last mark."""
        if len(self.stack) <= self.floor:
            raise BadFileError("damaged; its pickle takes more than it has put down")
        return self.stack.pop()

    def top(self) -> Any:
        """The top of the stack, left there."""
        if len(self.stack) <= self.floor:
            raise BadFileError("damaged; its pickle takes more than it has put down")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """All above the last mark, which goes too."""
        if not self.marks:
            raise BadFileError("damaged; its pickle has no mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push(self, value: Any) -> None:
        """Put a value down."""
        self.stack.append(value)

    # -- numbers and texts

    def push_int_line(self) -> None:
        word = self.word()
        self.push({"00": False, "01": True}.get(word, _number(word, int)))

    def push_long_line(self) -> None:
        self.push(_number(self.word().removesuffix("L"), int))

    def push_float_line(self) -> None:
        self.push(_number(self.word(), float))

    def push_float(self) -> None:
        self.push(struct.unpack(">d", self.take(8))[0])

    def push_int(self, width: int, *, signed: bool = False) -> None:
        self.push(int.from_bytes(self.take(width), "little", signed=signed))

    def push_long(self, width: int) -> None:
        count = self.number(width)
        if count > _WIDEST:
            raise BadFileError(f"refused; its pickle has a whole number of {count:,} bytes")
        self.push_int(count, signed=True)

    def push_text(self, width: int) -> None:
        self.push(_decoded(bytes(self.take(self.number(width))), "utf-8"))

    def push_text_line(self) -> None:
        self.push(_decoded(self.line(), "raw-unicode-escape"))

    def push_bytes(self, width: int) -> None:
        data = self.take(self.number(width))
        self.push(bytes(data) if len(data) <= _SHORT else data)

    def push_old_text(self, width: int) -> None:
        data = self.take(self.number(width))
        self.push(_decoded(bytes(data), "latin-1") if len(data) <= _TEXT else data)

    def push_old_text_line(self) -> None:
        quoted = self.line().strip()
        if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
            raise BadFileError("damaged; its pickle has a text without quotes")
        self.reading.step(quoted.count(b"\\"))
        data = _ESCAPE.sub(_unescaped, quoted[1:-1])
        self.push(data.decode("latin-1") if len(data) <= _TEXT else memoryview(data))

    # -- containers

    def pop_or_unmark(self) -> None:
        """POP takes a mark away where there is nothing above it."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def push_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(items[::-1]))

    def push_dict(self) -> None:
        items = self.marked()
        self.push({})
        self.set_items(items)

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Object):
            target = target.own_items([])
        if not isinstance(target, list):
            raise BadFileError("damaged; its pickle appends to what is no list")
        target.extend(items)

    def append_one(self) -> None:
        item = self.pop()
        self.append([item])

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if isinstance(target, Object):
            target = target.own_items({})
        if not isinstance(target, dict) or len(items) % 2:
            raise BadFileError("damaged; its pickle sets a key of what is no dict")
        for i in range(0, len(items), 2):
            names.put(target, items[i], items[i + 1])

    def set_one(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    # -- the memo

    def keep(self, index: int) -> None:
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise BadFileError(f"damaged; its pickle recalls {index:,}, which it did not keep")
        self.push(self.memo[index])

    # -- names and objects

    def push_name(self) -> None:
        name, module = self.pop(), self.pop()
        self.push(names.find(module, name, self.reading))

    def push_name_lines(self) -> None:
        self.push(self.name_lines())

    def name_lines(self) -> Name:
        module, name = (_decoded(self.line(), "utf-8") for _ in range(2))
        return names.find(module, name, self.reading)

    def reduce(self) -> None:
        args, function = self.pop(), self.pop()
        self.push(names.call(function, args, self.reading))

    def new(self) -> None:
        args, kind = self.pop(), self.pop()
        self.push(names.new(kind, args))

    def new_with_keywords(self) -> None:
        keywords, args, kind = self.pop(), self.pop(), self.pop()
        if not isinstance(keywords, dict) or not isinstance(args, tuple):
            raise BadFileError("damaged; its pickle makes an object without its arguments")
        self.push(names.new(kind, (*args, keywords) if keywords else args))

    def push_old_object(self) -> None:
        kind, *args = self.marked() or [None]
        self.push(names.new(kind, tuple(args)))

    def push_old_object_line(self) -> None:
        kind = self.name_lines()
        self.push(names.new(kind, tuple(self.marked())))

    def build(self) -> None:
        """Give an object its state; what a dict, a list or a tensor has besides is left."""
        state, target = self.pop(), self.top()
        if isinstance(target, Object):
            self.build_object(target, state)
        elif isinstance(target, Array):
            self.build_array(target, state)
        elif isinstance(target, DType):
            _build_dtype(target, state)
        elif not isinstance(target, dict | list | View):
            raise BadFileError("damaged; its pickle gives a state to what has none")

    def build_object(self, target: Object, state: Any) -> None:
        if target.state is not None:
            raise BadFileError(f"damaged; its pickle builds {target.name} twice")
        target.state = state
        for key in _SOURCES:
            if isinstance(state, dict) and isinstance(state.get(key), str) and state[key]:
                self.reading.source = True
                state[key] = ""

    def build_array(self, target: Array, state: Any) -> None:
        match state:
            case (_, shape, dtype, fortran, data) | (shape, dtype, fortran, data):
                target.fill(shape, dtype, fortran, data, self.reading)
            case _:
                raise BadFileError("damaged; a numpy array with a state that does not fit")

    def push_persistent(self) -> None:
        key = self.pop()
        if self.persistent is None:
            raise BadFileError("refused; its pickle asks for an object outside the file")
        self.push(self.persistent(key))

    def set_protocol(self) -> None:
        if self.take(1)[0] > HIGHEST_PROTOCOL:
            raise BadFileError(f"damaged, or a pickle newer than protocol {HIGHEST_PROTOCOL}")

    def check_frame(self) -> None:
        """A frame only says how many bytes come next."""
        if self.at + 8 + int.from_bytes(self.data[self.at : self.at + 8], "little") > self.end:
            raise BadFileError(f"cut short or damaged; its pickle goes on after byte {self.end:,}")
        self.take(8)

    def refuse(self) -> None:
        raise BadFileError("refused; its pickle asks for an object outside the file")


def _number(word: str, kind: type[_Number]) -> _Number:
    try:
        if len(word) <= 2 * _WIDEST:
            return kind(word)
    except ValueError:
        pass
    raise BadFileError("damaged; its pickle has a number that is none")


def _decoded(data: bytes, encoding: str) -> str:
    """A text that can be written again: halves of characters (surrogates) are damage."""
    try:
        text = data.decode(encoding)
        if encoding == "raw-unicode-escape":
            text.encode("utf-8")
    except UnicodeError as error:
        raise BadFileError("damaged; its pickle has a text that is none") from error
    return text


def _unescaped(found: re.Match[bytes]) -> bytes:
    """One escape of a Python 2 text; what is none stays as it is."""
    code = found[1]
    if len(code) == 3:
        return bytes([int(code[1:], 16)])
    return _ESCAPES.get(code, found[0])


def _build_dtype(target: DType, state: Any) -> None:
    match state:
        case (int(), ("<" | ">" | "|" | "=") as order, None, None, None, *_):
            target.order = order
        case _:
            raise BadFileError("holds a numpy array of records, which is not read")


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_STOP = ord(".")
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    # numbers
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): _Machine.push_int_line,
    ord("L"): _Machine.push_long_line,
    ord("F"): _Machine.push_float_line,
    ord("G"): _Machine.push_float,
    ord("J"): lambda m: m.push_int(4, signed=True),
    ord("K"): lambda m: m.push_int(1),
    ord("M"): lambda m: m.push_int(2),
    0x8A: lambda m: m.push_long(1),
    0x8B: lambda m: m.push_long(4),
    # texts and bytes
    ord("S"): _Machine.push_old_text_line,
    ord("T"): lambda m: m.push_old_text(4),
    ord("U"): lambda m: m.push_old_text(1),
    ord("V"): _Machine.push_text_line,
    ord("X"): lambda m: m.push_text(4),
    0x8C: lambda m: m.push_text(1),
    0x8D: lambda m: m.push_text(8),
    ord("B"): lambda m: m.push_bytes(4),
    ord("C"): lambda m: m.push_bytes(1),
    0x8E: lambda m: m.push_bytes(8),
    0x96: lambda m: m.push_bytes(8),
    # containers; a set is a list here
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("0"): _Machine.pop_or_unmark,
    ord("1"): lambda m: m.marked().clear(),
    ord("2"): lambda m: m.push(m.top()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.marked())),
    0x85: lambda m: m.push_tuple(1),
    0x86: lambda m: m.push_tuple(2),
    0x87: lambda m: m.push_tuple(3),
    ord("]"): lambda m: m.push([]),
    0x8F: lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.marked()),
    0x91: lambda m: m.push(m.marked()),
    ord("a"): _Machine.append_one,
    ord("e"): lambda m: m.append(m.marked()),
    0x90: lambda m: m.append(m.marked()),
    ord("}"): lambda m: m.push({}),
    ord("d"): _Machine.push_dict,
    ord("s"): _Machine.set_one,
    ord("u"): lambda m: m.set_items(m.marked()),
    # the memo
    ord("p"): lambda m: m.keep(_number(m.word(), int)),
    ord("q"): lambda m: m.keep(m.number(1)),
    ord("r"): lambda m: m.keep(m.number(4)),
    0x94: lambda m: m.keep(len(m.memo)),
    ord("g"): lambda m: m.recall(_number(m.word(), int)),
    ord("h"): lambda m: m.recall(m.number(1)),
    ord("j"): lambda m: m.recall(m.number(4)),
    # names and objects
    ord("c"): _Machine.push_name_lines,
    0x93: _Machine.push_name,
    ord("R"): _Machine.reduce,
    0x81: _Machine.new,
    0x92: _Machine.new_with_keywords,
    ord("o"): _Machine.push_old_object,
    ord("i"): _Machine.push_old_object_line,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.push_persistent,
    # what no weight file needs: ids by line, registered extensions, buffers sent apart
    **dict.fromkeys((ord("P"), 0x82, 0x83, 0x84, 0x97, 0x98), _Machine.refuse),
    # frames and versions
    0x80: _Machine.set_protocol,
    0x95: _Machine.check_frame,
}
