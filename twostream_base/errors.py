"""`InputError`, for what the user can put right, and names made safe to print in its message."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Sequence


class InputError(ValueError):
    """Something given to us is wrong: the message says what, where, what is allowed, and the cure.

    The command line prints the message alone (no traceback) and ends with exit code 2.
    """


def printable(text: str) -> str:
    """Text that cannot act on a terminal nor forge a line: invisible characters are escaped.

    `printable("a\x1b[31m")` is `a\\x1b[31m`; line breaks, marks that change the direction of text
    and halves of characters are escaped likewise. What can be seen, in any script, stays.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


CURES = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room: the quota of that disk is used up",
    errno.EFBIG: "the limit of the size of files is reached (ulimit -f)",
    errno.EROFS: "that disk can only be read; give another folder",
    errno.EACCES: "mind its permissions",
    errno.EPERM: "mind its permissions",
    errno.ENOENT: "mind the path, and whether the disk is there",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "end other programs, or give fewer --workers or --threads",
    errno.EIO: "the disk, or the way to it, is failing",
    errno.ESTALE: "the file system of the network has lost it",
}


def disk_error(error: OSError) -> str:
    """What the system did not do, where, and the cure, in one line.

    `runs/a/last: No space left on device; make room on that disk, then run the same command again`
    """
    if error.errno is None or error.strerror is None:  # one of ours, or of a library: it is a line
        return printable(" ".join(str(error).split()))
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name]
    where = printable(" -> ".join(names))
    cure = CURES.get(error.errno)
    text = f"{where}: {error.strerror}" if where else error.strerror
    return f"{text}; {cure}, then run the same command again" if cure else text


def some_of(items: Sequence[object], *, limit: int = 5) -> str:
    """Name the first few items of a list: `a, b, c and 14 more`.

    Texts that look alike are told apart: of those not in Unicode's composed form (NFC), such as
    names of files of macOS, what composing would change is escaped, as `cafe\\u0301`.
    """

    def told_apart(text: str) -> str:
        composed = unicodedata.normalize("NFC", text)
        if composed == text:
            return text
        return "".join(char if char in composed else ascii(char)[1:-1] for char in text)

    shown = ", ".join(told_apart(printable(str(item))) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest:,} more" if rest > 0 else shown
