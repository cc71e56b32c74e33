"""The reader of a torch file's stack program: it builds plain values and calls nothing.

Opcodes are those of serialisation protocols 2 to 5 as torch writes them; the names and arguments
are in the Python standard library's documentation of the format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from ..embedding import EmbeddingError
from .stack_opcodes import OPCODES

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
MAX_DIMENSIONS = 8
MAX_WORK = 300_000
"""Instructions, and values copied from one collection into another."""
MAX_NAME = 200
MAX_LONG = 32


@dataclass(frozen=True)
class TensorRecord:
    """Where a tensor lies in the file: elements of `dtype` in the part named `storage`."""

    dtype: torch.dtype
    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Inert:
    """A value of a type that is not needed; it was recognised and left unmade."""

    name: str


@dataclass(frozen=True)
class _Name:
    """A name that the program mentions; nothing is imported for it."""

    text: str


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str


_KEYS = (str, int, float, bytes)


class _Mark:
    pass


_MARK = _Mark()
_TABLES = {"collections.OrderedDict", "builtins.dict", "__builtin__.dict"}
_PARAMETERS = {
    "torch.nn.modules.container.ParameterDict",
    "torch.nn.modules.container.ParameterList",
    "torch.nn.parameter.Parameter",
}
_INERT_NAMES = {"torch.Size", "torch.device", "_codecs.encode"}
_INERT_NAMES |= {f"{module}.set" for module in ("builtins", "__builtin__")}
_INERT_NAMES |= {f"numpy.{name}" for name in ("dtype", "ndarray")}
_INERT_NAMES |= {
    f"numpy.{core}.multiarray.{name}"
    for core in ("core", "_core")
    for name in ("scalar", "_reconstruct")
}


class StackProgram:
    """One pass over the program. Raises EmbeddingError for calls that are not data."""

    def __init__(self, file_name: str, program: bytes, at: int = 0) -> None:
        self.file_name = file_name
        self.program = program
        self.at = at
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, torch.dtype] = {}
        self.work_left = MAX_WORK

    def run(self) -> object:
        """The value that the program leaves on its stack."""
        try:
            while True:
                self._work(1)
                opcode = self._take(1)[0]
                if opcode == 0x2E:
                    return self._whole(self.stack.pop())
                self._step(opcode)
        except EmbeddingError:
            raise
        except (IndexError, struct.error, TypeError, ValueError) as error:
            raise self._broken(" ".join(str(error).split())[:MAX_NAME]) from error

    def _work(self, count: int) -> None:
        self.work_left -= count
        if self.work_left < 0:
            raise EmbeddingError(f"{self.file_name} holds too many values for an embedding.")

    def _step(self, opcode: int) -> None:
        name = OPCODES.get(opcode)
        if name is None:
            raise self._broken(f"unknown opcode {opcode:#x}")
        kind, _, argument = name.partition(" ")
        getattr(self, f"_{kind}")(*([argument] if argument else []))

    def _take(self, count: int) -> bytes:
        piece = self.program[self.at : self.at + count]
        if len(piece) < count:
            raise self._broken("it ends too early")
        self.at += count
        return piece

    def _line(self) -> str:
        end = self.program.index(b"\n", self.at, self.at + MAX_NAME)
        line = self.program[self.at : end]
        self.at = end + 1
        return line.decode("utf-8")

    def _unpack(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _broken(self, why: str) -> EmbeddingError:
        return EmbeddingError(f"{self.file_name} is a broken torch file: {why}.")

    def _refuse(self, name: str) -> NoReturn:
        name = " ".join(name.split())[:MAX_NAME]
        raise EmbeddingError(
            f"{self.file_name} asks for {name} to be run, which no embedding needs; "
            "it is not loaded."
        )

    # Plain values

    def _skip(self, count: str) -> None:
        self._take(int(count))

    def _number(self, layout: str) -> None:
        self.stack.append(self._unpack(layout))

    def _long(self, layout: str) -> None:
        length = self._unpack(layout)
        if not 0 <= length <= MAX_LONG:
            raise self._broken(f"it has a number of {length} bytes")
        self.stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _text(self, layout: str) -> None:
        text = self._take(self._unpack(layout)).decode("utf-8", "surrogatepass")
        self.stack.append(text)

    def _bytes(self, layout: str) -> None:
        self.stack.append(self._take(self._unpack(layout)))

    def _constant(self, text: str) -> None:
        self.stack.append({"None": None, "True": True, "False": False}[text])

    def _empty(self, kind: str) -> None:
        self.stack.append({"dict": dict, "list": list, "tuple": tuple, "set": set}[kind]())

    # The stack and its memo

    def _mark(self) -> None:
        self.stack.append(_MARK)

    def _since_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                values = self.stack[position + 1 :]
                del self.stack[position:]
                return values
        raise self._broken("it lacks a mark")

    def _pop(self) -> None:
        self.stack.pop()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _dup(self) -> None:
        self.stack.append(self.stack[-1])

    def _put(self, layout: str) -> None:
        self.memo[self._unpack(layout)] = self.stack[-1]

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, layout: str) -> None:
        number = self._unpack(layout)
        if number not in self.memo:
            raise self._broken(f"it asks for value {number} before it is made")
        self.stack.append(self.memo[number])

    # Collections

    def _tuple(self, count: str) -> None:
        values = self._since_mark() if count == "mark" else self._last(int(count))
        self.stack.append(tuple(values))

    def _last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise self._broken("its stack is empty")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _collect(self, kind: str) -> None:
        values = self._since_mark()
        self.stack.append(values if kind == "list" else dict(self._pairs(values)))

    def _set_items(self, count: str) -> None:
        values = self._since_mark() if count == "mark" else self._last(2)
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(self._pairs(values))

    def _append(self, count: str) -> None:
        values = self._since_mark() if count == "mark" else self._last(1)
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    # Names and calls: recorded, never made

    def _global(self) -> None:
        self.stack.append(_Name(f"{self._line()}.{self._line()}"))

    def _stack_global(self) -> None:
        module, name = self._last(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self._broken("it has a name that is no text")
        if len(module) + len(name) > MAX_NAME:
            raise self._broken("it has a name that is too long")
        self.stack.append(_Name(f"{module}.{name}"))

    def _persistent(self) -> None:
        record = self.stack.pop()
        if not isinstance(record, tuple) or not 3 <= len(record) <= 8:
            raise self._broken("it describes an impossible storage")
        tag, kind, key = record[:3]
        if isinstance(tag, str) and tag == "module" and isinstance(kind, _Name):
            self.stack.append(kind)
            return
        if not isinstance(tag, str) or tag != "storage" or not isinstance(key, (str, int)):
            raise self._broken("it describes an impossible storage")
        named = kind.text if isinstance(kind, _Name) else "none"
        dtype = DTYPES.get(named.rpartition(".")[2])
        if dtype is None:
            raise self._broken(f"it holds numbers of an unknown type {named}")
        self.storages[str(key)] = dtype
        self.stack.append(_Storage(dtype, str(key)))

    def _call(self) -> None:
        function, arguments = self._last(2)
        if not isinstance(arguments, tuple):
            raise self._broken("it has a call without arguments")
        self._work(len(arguments))
        name = function.text if isinstance(function, _Name) else str(type(function).__name__)
        self.stack.append(self._made(name, list(arguments)))

    def _made(self, name: str, arguments: list[Any]) -> object:
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return self._tensor(arguments)
        if name.startswith("torch._utils._rebuild_parameter"):
            return arguments[0]
        if name in _TABLES:
            return self._table(arguments[0]) if arguments else {}
        if name in _PARAMETERS:
            return {}
        if name in _INERT_NAMES:
            return Inert(name)
        self._refuse(name)

    def _table(self, entries: Any) -> dict[Any, Any]:
        if not isinstance(entries, (dict, list, tuple)):
            raise self._broken("it makes a table of something else")
        self._work(len(entries))
        if isinstance(entries, dict):
            return dict(entries)
        if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in entries):
            raise self._broken("it makes a table of something else")
        return dict(self._pairs([item for pair in entries for item in pair]))

    def _tensor(self, arguments: list[Any]) -> TensorRecord:
        storage, offset, shape, strides = arguments[:4]
        if not all(
            isinstance(sizes, (list, tuple)) and len(sizes) <= MAX_DIMENSIONS
            for sizes in (shape, strides)
        ):
            raise self._broken("it describes an impossible tensor")
        numbers = [offset, *shape, *strides]
        if (
            not isinstance(storage, _Storage)
            or len(shape) != len(strides)
            or any(type(number) is not int or not 0 <= number < 2**40 for number in numbers)
        ):
            raise self._broken("it describes an impossible tensor")
        return TensorRecord(storage.dtype, storage.key, offset, tuple(shape), tuple(strides))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], dict) and isinstance(state, dict):
            parameters = state.get("_parameters")
            if isinstance(parameters, dict):
                self._work(len(parameters))
                self.stack[-1].update(parameters)

    def _pairs(self, values: list[Any]) -> list[tuple[Any, Any]]:
        """Keys and values. Only plain keys: to look a nested one up may take for ever."""
        keys = values[::2]
        if not all(key is None or isinstance(key, _KEYS) for key in keys):
            raise self._broken("it has a table whose keys are no text and no numbers")
        return list(zip(keys, values[1::2], strict=True))

    def _whole(self, value: object) -> object:
        if isinstance(value, (_Name, _Storage, _Mark)):
            raise self._broken("it holds no value")
        return value
