"""Reads what a pickle would import and call, without importing or calling any of it.

The opcodes come from the standard library's `pickletools`; a small stack machine follows them, so that a name which
was memoised, duplicated or moved about the stack is found as the unpickler would find it. joblib puts the bytes of
its arrays between the opcodes: with `joblib=True` they are stepped over, as joblib's own unpickler does.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
from dataclasses import dataclass, field
from typing import IO, Any, cast

MAX_OPCODES = 10_000_000
"""About 20 s of reading and 100 MB of memory; a model of a gigabyte, most of it arrays, has far fewer."""
MAX_NESTED = 8
PIECE = 1 << 20
UNKNOWN = "(computed)"
"""Stands for a name that is only known when the pickle runs."""
EXTENSION = "copyreg extension"
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_STRINGS = frozenset({"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"})
_INTEGERS = frozenset({"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2"})
_OPAQUE = frozenset({"FLOAT", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
                     "EMPTY_LIST", "EMPTY_SET", "NEXT_BUFFER", "PERSID"})
_GROUPED = frozenset({"LIST", "FROZENSET"})
_DTYPE = re.compile(r"[<>|=]?([?bBhHiIlLqQuefdgFDGaSUVOmMpPc])(\d*)(\[.*\])?")
_CHARACTER = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8, "e": 2, "f": 4, "d": 8,
              "g": 16, "F": 8, "D": 16, "G": 32, "M": 8, "m": 8}


class OverLimit(Exception):
    """Reading on would take more memory or time than a function has."""


class Damaged(Exception):
    """The opcodes end or make no sense."""


class Bounded:
    """A stream that is read forwards, in pieces: no piece and not all of them together are larger than `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        # Asking a decompressing stream for what a length field claims could make it allocate that at once.
        parts: list[bytes] = []
        wanted = size
        while wanted > 0 and (part := self._stream.read(min(wanted, PIECE))):
            parts.append(self._counted(part))
            wanted -= len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def readline(self) -> bytes:
        line = self._counted(self._stream.readline(PIECE))
        if len(line) == PIECE:
            raise OverLimit("a line of the pickle is over 1 MiB")
        return line

    def skip(self, size: int) -> None:
        while size > 0:
            part = self._counted(self._stream.read(min(size, PIECE)))
            if not part:
                raise Damaged("the data of an array ends too early")
            size -= len(part)

    def _counted(self, part: bytes) -> bytes:
        self._position += len(part)
        if self._position > self._limit:
            raise OverLimit(f"over {self._limit:,} bytes")
        return part


@dataclass(frozen=True, slots=True)
class Global:
    """What a pickle imports. A name with dots is looked up attribute by attribute."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Reading:
    """What was found in one file."""

    globals: set[Global] = field(default_factory=set)
    called: bool = False
    """Something imported was called before the reading ended: a pickle does so while it is being read."""
    arrays: bool = False
    """joblib's arrays are in it."""
    pickles: int = 0
    """Pickles that were read to their end."""
    opcodes: int = 0


class _Opaque:
    __slots__ = ()


class _Made:
    """What a call made: its arguments, and the state it was given after."""

    __slots__ = ("args", "of", "state")

    def __init__(self, of: object, args: object) -> None:
        self.of, self.args, self.state = of, args, None


class _Entries(dict[str, Any]):
    """A dict of few names; only such ones describe arrays."""


OPAQUE = _Opaque()


def read_pickle(stream: Bounded, into: Reading, *, joblib: bool = False, depth: int = 0) -> None:
    """Follow one pickle to its STOP; the stream stands right after it. Raises Damaged and OverLimit; `into` keeps what was found before."""
    if depth > MAX_NESTED:
        raise OverLimit(f"arrays of objects nested over {MAX_NESTED} deep")
    machine = _Machine(into)
    try:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], stream)):
            into.opcodes += 1
            if into.opcodes > MAX_OPCODES:
                raise OverLimit(f"over {MAX_OPCODES:,} opcodes")
            machine.step(opcode.name, argument)
            if joblib and opcode.name == "BUILD" and isinstance(machine.stack[-1], _Made) and machine.stack[-1].of == Global(*_WRAPPER):
                _step_over_array(machine.stack[-1].state, stream, into, depth)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise Damaged(f"at byte {stream.tell():,}: {str(error)[:120] or type(error).__name__}") from error
    into.pickles += 1


class _Machine:
    """The unpickler's stack, marks and memo. Values that can't become a name or describe an array are opaque."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _STRINGS or name in _INTEGERS:
            self.stack.append(argument)
        elif name in _OPAQUE:
            self.stack.append(OPAQUE)
        elif name in _GROUPED:
            self._since_mark()
            self.stack.append(OPAQUE)
        elif name not in ("PROTO", "FRAME", "STOP", "READONLY_BUFFER"):
            # Every opcode has a method of its name; one that is not known yet ends as Damaged.
            getattr(self, f"_{name.lower()}")(argument)

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def _pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _empty_dict(self, _: Any) -> None:
        self.stack.append(_Entries())

    def _empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def _tuple(self, _: Any) -> None:
        items = tuple(self._since_mark())
        self.stack.append(items)

    def _tuple1(self, _: Any) -> None:
        self._take(1)

    def _tuple2(self, _: Any) -> None:
        self._take(2)

    def _tuple3(self, _: Any) -> None:
        self._take(3)

    def _take(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = tuple(self.stack[-count:])
        self.stack[-count:] = [items]

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append(_Entries())
        self._enter(items)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._enter([key, value])

    def _setitems(self, _: Any) -> None:
        self._enter(self._since_mark())

    def _enter(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, _Entries):
            for key, value in zip(items[::2], items[1::2], strict=True):
                if isinstance(key, str) and len(target) < 16:
                    target[key] = value

    def _append(self, _: Any) -> None:
        self.stack.pop()
        self.stack[-1]

    def _appends(self, _: Any) -> None:
        self._since_mark()
        self.stack[-1]

    _additems = _appends

    def _get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    _binget = _long_binget = _get

    def _put(self, key: int) -> None:
        if key < 0:
            raise ValueError("a negative place in the memo")
        self.memo[key] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _binpersid(self, _: Any) -> None:
        self.stack[-1] = OPAQUE

    def _import(self, module: object, name: object) -> Global:
        found = Global(module if isinstance(module, str) else UNKNOWN, name if isinstance(name, str) else UNKNOWN)
        self.reading.globals.add(found)
        return found

    def _global(self, argument: str) -> None:
        self.stack.append(self._import(*argument.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._import(module, name))

    def _ext1(self, code: int) -> None:
        self.stack.append(self._import(EXTENSION, str(code)))

    _ext2 = _ext4 = _ext1

    def _inst(self, argument: str) -> None:
        items = tuple(self._since_mark())
        self._call(self._import(*argument.split(" ", 1)), items)

    def _obj(self, _: Any) -> None:
        items = self._since_mark()
        self._call(items[0], tuple(items[1:]))

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self._call(function, arguments)

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._reduce(None)

    def _call(self, function: object, arguments: object) -> None:
        self.reading.called = True
        if isinstance(function, Global) and (function.module, function.name) == _WRAPPER:
            self.reading.arrays = True
        self.stack.append(_Made(function, arguments))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Made):
            target.state = state


def _step_over_array(state: object, stream: Bounded, into: Reading, depth: int) -> None:
    """As `NumpyArrayWrapper.read_array` of joblib: objects are a pickle of their own, everything else is padding and plain bytes."""
    if not isinstance(state, _Entries):
        raise Damaged("an array of joblib is not described")
    shape, dtype = state.get("shape"), state.get("dtype")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Damaged("the shape of an array is not plain numbers")
    width = _item_size(dtype)
    if width is None:
        read_pickle(stream, into, joblib=True, depth=depth + 1)
        return
    if isinstance(state.get("numpy_array_alignment_bytes"), int):
        stream.skip(int.from_bytes(stream.read(1)))
    stream.skip(math.prod(shape) * width)


def _item_size(dtype: object) -> int | None:
    """Bytes of one item; None for Python objects. Raises Damaged for what is not numpy's plain description of a type."""
    if not isinstance(dtype, _Made) or dtype.of != Global("numpy", "dtype") or not isinstance(dtype.args, tuple) or not dtype.args:
        raise Damaged("the type of an array is not numpy.dtype")
    match = _DTYPE.fullmatch(dtype.args[0]) if isinstance(dtype.args[0], str) else None
    if match is None:
        raise Damaged("the type of an array is not known")
    kind, digits = match[1], match[2]
    if kind == "O":
        return None
    if kind == "V":
        return _structure_size(dtype)
    if not digits:
        if kind not in _CHARACTER:
            raise Damaged("the type of an array is not known")
        return _CHARACTER[kind]
    return int(digits) * (4 if kind == "U" else 1)


def _structure_size(dtype: _Made) -> int | None:
    """A type of several fields: the state that `numpy.dtype.__setstate__` takes holds its fields and their size in all."""
    state = dtype.state
    if not isinstance(state, tuple) or len(state) < 6 or not isinstance(state[5], int) or state[5] < 0:
        raise Damaged("the type of an array is not described")
    fields = state[4]
    if isinstance(fields, _Entries):
        # The dict above keeps few entries: more fields than those can't be judged.
        if len(fields) >= 16:
            raise OverLimit("an array's type has over 15 fields")
        for value in fields.values():
            if isinstance(value, tuple) and value and _item_size(value[0]) is None:
                return None
    return state[5]
