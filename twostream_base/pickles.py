"""Pickles and files of torch, checked before anything is built from them.

What a restricted unpickler, ours or torch's, may build is data alone. But it builds what is nested
as deep as it likes, and unpacks what is packed, which can take down the process.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO

DEEPEST = 32  # levels of lists, dicts and tuples within each other: score files have 5
ROOM = 1 << 26  # bytes by which anything may be larger than its file
LARGEST_PICKLE = 1 << 26  # bytes; numbers lie beside it
PICKLES = 5  # of a file of before torch 1.6, before the numbers
_MEMO_WRITERS = ("PUT", "BINPUT", "LONG_BINPUT")


def check_torch_file(path: Path) -> None:
    """Refuse a file of torch that would take down the process, or more memory than its bytes.

    What cannot be checked is refused too, as torch might read on where this stops.

    Raises:
        UnpicklingError: tuples nested deep, packed, not of torch, or damaged.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"  # as torch tells them apart
            file.seek(0)
            if is_archive:
                _check_archive(file)
                return
            for _ in range(PICKLES):
                check_opcodes(file)
    except (OSError, pickle.UnpicklingError):
        raise
    except Exception as error:  # noise can make a reader stumble anywhere
        raise pickle.UnpicklingError(f"damaged, or not of torch: {error or 'too short'}") from error


def _check_archive(file: IO[bytes]) -> None:
    """Check the pickles of an archive, and that it holds no more than its bytes.

    Torch has a reader of its own. It finds the same members as zipfile only where the file ends
    with one directory, with nothing behind it or between, which is how torch writes it.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 98))
    tail = file.read().rjust(98, b"\0")
    large_end, locator, end = tail[:56], tail[56:76], tail[76:]
    length, start = struct.unpack("<II", end[12:20])
    directory_end, is_whole = size - 22, end[:4] == b"PK\x05\x06" and end[20:] == b"\0\0"
    if locator[:4] == b"PK\x06\x07":  # the numbers of 32 bits are too small, or not in use
        length, start = struct.unpack("<QQ", large_end[40:])
        directory_end = size - 98
        is_whole &= large_end[:4] == b"PK\x06\x06"
        is_whole &= struct.unpack("<Q", locator[8:16])[0] == directory_end
    if not is_whole or start + length != directory_end:
        raise pickle.UnpicklingError("two archives in one file, or not as torch writes it")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > size + ROOM:
            raise pickle.UnpicklingError("it unpacks to far more than its size")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError("it is packed, as torch does not; save it again")
            if not member.filename.lower().endswith("data.pkl"):  # torch's reader ignores case
                continue
            if member.file_size > LARGEST_PICKLE:
                raise pickle.UnpicklingError(f"a pickle of more than {LARGEST_PICKLE:,} bytes")
            check_opcodes(io.BytesIO(archive.read(member)))


def _below_mark(opcode: pickletools.OpcodeInfo) -> int:
    """How many items it takes from below the last mark, as the list of APPENDS; without one, all.

    What stands above the mark, as the class of OBJ, goes with all else that does.
    """
    before = opcode.stack_before
    mark = pickletools.markobject
    return before.index(mark) if mark in before else len(before)


# Opcode -> how many items it takes from the stack, besides those down to the last mark; whether it
# takes these; and how many it puts there.
_STACK_EFFECTS = {
    opcode.name: (
        _below_mark(opcode),
        pickletools.markobject in opcode.stack_before,
        len(opcode.stack_after),
    )
    for opcode in pickletools.opcodes
}
_TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "FROZENSET": None}
_MEMO_READERS = ("GET", "BINGET", "LONG_BINGET")


def check_opcodes(stream: IO[bytes]) -> None:
    """Go through the next pickle of a stream, and refuse what would take down the process.

    Nothing is built; the stream is left behind the pickle. Refused are memo numbers that no pickle
    of this length needs, as each one takes memory at once; and tuples nested deep, as keys of a
    dict are hashed by a function that calls itself. Lists and dicts have no hash, and a tuple never
    changes, so its depth is known when it is made.

    Raises:
        UnpicklingError: these. Of what is malformed, other errors.
    """
    start = stream.tell()
    stack: list[int | None] = []  # of each item how deep its tuples are; None is a mark
    memo: dict[int, int | None] = {}
    largest = 0
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name == "MARK":
            stack.append(None)
        elif name in _TUPLES:
            size = _TUPLES[name]
            items = _down_to_mark(stack) if size is None else [stack.pop() for _ in range(size)]
            depth = 1 + max((item or 0 for item in items), default=0)
            if depth > DEEPEST:
                raise pickle.UnpicklingError(f"tuples nested deeper than {DEEPEST} levels")
            stack.append(depth)
        elif name == "MEMOIZE" or name in _MEMO_WRITERS:
            number = len(memo) if argument is None else int(argument)
            largest = max(largest, number)
            memo[number] = stack[-1]
        elif name in _MEMO_READERS:
            stack.append(memo[int(argument or 0)])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":  # of a mark too
            stack.pop()
        else:
            taken, to_mark, given = _STACK_EFFECTS[name]
            if to_mark:
                _down_to_mark(stack)
            if taken:
                if len(stack) < taken:
                    raise pickle.UnpicklingError("it takes more than it has put on the stack")
                del stack[-taken:]
            stack.extend([0] * given)
    length = stream.tell() - start
    if largest > length:
        raise pickle.UnpicklingError(f"memo number {largest} in {length} bytes")


def _down_to_mark(stack: list[int | None]) -> list[int | None]:
    items: list[int | None] = []
    while (item := stack.pop()) is not None:
        items.append(item)
    return items
