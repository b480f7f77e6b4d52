"""Pickles from elsewhere, read so that nothing in them can run.

Only containers, texts, numbers and numpy arrays are built. The numpy functions that a pickle names
are never called, nor does numpy's own unpickling see the file: stand-ins take their place, which
check what they are given. Python 2 is read too (its strings as latin-1).

PyTorch tensors are read without PyTorch. A pickled tensor holds its storage as bytes in PyTorch's
older file format: three pickles of preliminaries, one of the storage, one of the keys, then a count
and the numbers. The pickles inside go through the restricted unpickler too.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from twostream_base.errors import InputError
from twostream_base.pickles import DEEPEST, check_opcodes

_PLAIN = re.compile(r"\?|b1|[iu][1248]|f[248]")
_OBJECT = ("O", "O8", "O4")
SMALLEST_EXTENT = 10_000  # items that any pickle may hold, however short it is
# What the pickle module raises on malformed input; its documentation gives no closed list.
_MALFORMED = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def load_pickle(data: bytes, *, path: Path, stand_ins: Mapping[str, Any] | None = None) -> Any:
    """Build what the pickle `data` from `path` holds: dict, list, tuple, str, numbers, arrays.

    Arrays come as `PickledArray`, which `np.asarray` takes. `stand_ins` take the place of further
    names, `module.name`; those that the pickle calls must be `Maker`s.

    Raises:
        InputError: the pickle wants anything else (named, and not run), is nested deeper than
            DEEPEST, holds more items than it has bytes, or is malformed.
    """
    try:
        value = RestrictedUnpickler(io.BytesIO(data), path, stand_ins or {}).load()
        _check_extent(value, most=2 * len(data))  # the shortest item takes a byte, and its place
        return value
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f"{path}: not a pickle that can be read: {error}") from None


class PickledArray:
    """A numpy array of a pickle; of numbers, or of objects that are themselves restricted."""

    def __init__(self, *_: object) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, Any]) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _array(dtype, shape, data, order="F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


class RestrictedUnpickler(pickle.Unpickler):
    """Reads one pickle after the other from a stream; see `load_pickle`."""

    def __init__(self, stream: IO[bytes], path: Path, stand_ins: Mapping[str, Any]) -> None:
        super().__init__(stream, encoding="latin1")
        self.stream = stream
        self.path = path
        self.stand_ins = _STAND_INS | dict(stand_ins)

    def load(self) -> Any:
        """Build what the next pickle of the stream holds; leave the stream behind it."""
        start = self.stream.tell()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in texts, where one is damaged
            check_opcodes(self.stream)
        self.stream.seek(start)
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in of a known name; refuse every other name."""
        known_as = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if known_as not in self.stand_ins:
            raise InputError(
                f"{self.path}: the pickle asks for {module}.{name}; a score file needs "
                "no such thing, it was refused and not run"
            )
        return self.stand_ins[known_as]


class Maker:
    """Stands for a function: the pickle can have it called, but cannot alter it."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, *arguments: Any) -> Any:
        """Make what the pickle asked for."""
        return self.make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("the pickle tries to alter a function")


class _Dtype:
    """Stands for a numpy dtype: a plain number, or object."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in _OBJECT and not _PLAIN.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of type {code!r}; only numbers and objects")
        self.code = code
        self.byte_order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = {"|": "", "<": "<", ">": ">", "=": "="}[state[1]]

    @property
    def of_objects(self) -> bool:
        return self.code in _OBJECT

    def plain(self) -> np.dtype:
        return np.dtype(self.byte_order + self.code)


def _array(dtype: _Dtype, shape: tuple[int, ...], data: Any, order: str) -> np.ndarray:
    if dtype.of_objects:
        return _object_array(shape, data, order)
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype.plain()).reshape(shape, order=order)  # type: ignore[call-overload]


def _object_array(shape: tuple[int, ...], items: Any, order: str) -> np.ndarray:
    if not isinstance(items, list) or len(items) != math.prod(shape):
        raise pickle.UnpicklingError("an object array whose items do not fill its shape")
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):  # one by one: numpy would look into lists
        array[index] = item
    return array.reshape(shape, order=order)  # type: ignore[call-overload]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}; only latin1")
    return text.encode(encoding)


_STAND_INS = {
    "numpy.dtype": Maker(_Dtype),
    "numpy.ndarray": "numpy.ndarray",  # only ever an argument
    "numpy.core.multiarray._reconstruct": Maker(PickledArray),
    "numpy.core.multiarray.scalar": Maker(lambda dtype, data: _array(dtype, (1,), data, "C")[0]),
    "numpy.core.numeric._frombuffer": Maker(
        lambda data, dtype, shape, order: _array(dtype, shape, data, "F" if order == "F" else "C")
    ),
    "_codecs.encode": Maker(_encode),
}


def _check_extent(value: Any, *, most: int) -> None:
    """Refuse what holds more items, each counted as often as it stands there, than bytes.

    A few bytes can name one list over and over: ten levels of ten are ten thousand million items
    for whoever makes an array of them. Numbers in an array count by their bytes.
    """
    most = max(most, SMALLEST_EXTENT)
    extents: dict[int, int] = {}  # of containers that are done, by id
    pending: list[tuple[Any, bool]] = [(value, False)]
    entered: list[Any] = []
    while pending:
        item, is_left = pending.pop()
        children = _children(item)
        if is_left:
            entered.pop()
            numbers = item.array if isinstance(item, PickledArray) else item
            size = numbers.nbytes if _is_numeric(numbers) else len(children)
            extents[id(item)] = 1 + size + sum(extents.get(id(child), 0) for child in children)
            if extents[id(item)] > most:
                raise pickle.UnpicklingError("it unpacks to more items than there are bytes")
        elif isinstance(item, _CONTAINERS) and id(item) not in extents:
            if len(entered) >= DEEPEST:  # a list within itself, too
                raise pickle.UnpicklingError(f"it is nested deeper than {DEEPEST} levels")
            entered.append(item)
            pending.append((item, True))
            pending.extend((child, False) for child in children if isinstance(child, _CONTAINERS))


def _is_numeric(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind != "O"


_CONTAINERS = (list, tuple, dict, set, frozenset, PickledArray, np.ndarray)


def _children(item: Any) -> Sequence[Any]:
    """What is in a container; of an array of numbers nothing."""
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, PickledArray):
        item = item.array
    if isinstance(item, np.ndarray):
        return () if _is_numeric(item) else item.reshape(-1).tolist()
    return list(item) if isinstance(item, set | frozenset) else item


_PRELIMINARIES = 3
# Texts, not dtypes: a pickle could alter those.
_NUMBERS = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


class _Promise(NamedTuple):
    """What the pickle says of a storage, before its numbers are read."""

    dtype: np.dtype
    length: int


def load_tensors(data: bytes, *, path: Path) -> Any:
    """As `load_pickle`, and tensors of plain numbers come as numpy arrays.

    Raises:
        InputError: the pickle wants anything else (named, and not run), or is malformed.
    """
    stand_ins = {
        "torch.storage._load_from_bytes": Maker(lambda raw: _storage(raw, path)),
        "torch._utils._rebuild_tensor_v2": Maker(_tensor),
        "collections.OrderedDict": Maker(dict),  # of hooks: always empty
    }
    return load_pickle(data, path=path, stand_ins=stand_ins)


class _StorageUnpickler(RestrictedUnpickler):
    def persistent_load(self, pid: Any) -> _Promise:
        """Take ("storage", type, key, device, count, ...): where it lay does not matter."""
        kind, numbers, _, _, count = pid[:5]
        if kind != "storage" or numbers not in _NUMBERS.values() or not isinstance(count, int):
            raise pickle.UnpicklingError("a tensor whose storage is not described as one")
        return _Promise(np.dtype(numbers), count)


def _storage(raw: bytes, path: Path) -> np.ndarray:
    """The numbers of a storage, (count,)."""
    stream = io.BytesIO(raw)
    for _ in range(_PRELIMINARIES):
        RestrictedUnpickler(stream, path, {}).load()
    promise = _StorageUnpickler(stream, path, _NUMBERS).load()
    RestrictedUnpickler(stream, path, {}).load()
    count = int.from_bytes(stream.read(8), "little")
    numbers = stream.read()
    if not isinstance(promise, _Promise) or count != promise.length:
        raise pickle.UnpicklingError("a tensor whose storage has another length than it says")
    if len(numbers) != count * promise.dtype.itemsize:
        raise pickle.UnpicklingError("a tensor whose storage is cut short")
    return np.frombuffer(numbers, promise.dtype)


def _tensor(
    storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> np.ndarray:
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    inside = offset >= 0 and min((*size, *stride), default=0) >= 0 and last < len(storage)
    if math.prod(size) > len(storage) or (math.prod(size) > 0 and not inside):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
