"""Pickles and files of torch, checked before anything is built from them.

What a restricted unpickler, ours or torch's, may build is data alone. But it builds what is nested
as deep as it likes, and unpacks what is packed, which can take down the process.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import IO

DEEPEST = 32  # levels of lists, dicts and tuples within each other: score files have 5
ROOM = 1 << 26  # bytes by which anything may be larger than its file
LARGEST_PICKLE = 1 << 26  # bytes; numbers lie beside it
PICKLES = 5  # of a file of before torch 1.6, before the numbers
_MEMO_WRITERS = ("PUT", "BINPUT", "LONG_BINPUT")


def check_torch_file(path: Path) -> None:
    """Refuse a file of torch that would take down the process, or more memory than its bytes.

    What cannot be checked is refused too, as torch might read on where this stops. An archive is
    looked at with torch's own reader: what else reads such files may find other members in them,
    as in two archives behind one another.

    Raises:
        UnpicklingError: tuples nested deep, a bomb, or damaged.
    """
    import torch

    try:
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"  # as torch tells them apart
            file.seek(0)
            if not is_archive:
                for _ in range(PICKLES):
                    check_opcodes(file)
                return
        archive = torch._C.PyTorchFileReader(str(path))
        sizes = {name: archive.get_record_size(name) for name in archive.get_all_records()}
        if sum(sizes.values()) > path.stat().st_size + ROOM:
            raise pickle.UnpicklingError("it unpacks to far more than its size")
        for name, size in sizes.items():
            if not name.lower().endswith("data.pkl"):  # torch's reader ignores case
                continue
            if size > LARGEST_PICKLE:
                raise pickle.UnpicklingError(f"a pickle of more than {LARGEST_PICKLE:,} bytes")
            check_opcodes(io.BytesIO(archive.get_record(name)))
    except (OSError, pickle.UnpicklingError):
        raise
    except Exception as error:  # noise can make a reader stumble anywhere
        reason = str(error).partition("\n")[0] or "too short"
        raise pickle.UnpicklingError(f"damaged, or not of torch: {reason}") from error


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
