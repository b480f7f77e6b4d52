"""What score files and feature files have in common: a safetensors file of videos.

Two tensors, the values and `labels`, and one JSON text in the header.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from twostream.errors import InputError, some_of
from twostream.files import sha256_bytes

FORMAT = 1
HEADER_KEY = "twostream"
_HEADER_TYPES = {"names": list, "class_names": list, "kind": str, "about": dict, "sha256": dict}


def write_header(
    sums: dict[str, str],
    *,
    names: tuple[str, ...],
    class_names: tuple[str, ...],
    kind: str,
    about: dict[str, Any],
) -> dict[str, str]:
    """The metadata of the file: all that it says, and the sha256 of its tensors, `sums`."""
    header = {
        "format": FORMAT,
        "names": names,
        "class_names": class_names,
        "kind": kind,
        "about": about,
        "sha256": sums,
    }
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return {HEADER_KEY: text}


def read_table_file(
    path: Path, tensor: str, *, advice: str = ""
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and tensors of a file that holds `tensor` and `labels`, checked by their sums.

    Whether the content is sound is not checked.

    Args:
        advice: for those whose file is none of ours.

    Raises:
        InputError: not such a file, or damaged; the file is named.
    """
    try:
        with safe_open(path, framework="np") as file:
            header = read_header(path, file.metadata())
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except (SafetensorError, TypeError) as error:  # TypeError: numbers that numpy does not know
        raise InputError(
            f"{path}: not a safetensors file that can be read ({error}){advice}"
        ) from None
    _check_sums(path, tensors, header["sha256"], expected=sorted((tensor, "labels")))
    return header, tensors


def read_header(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    """The JSON text in the metadata of a score or feature file, with its keys checked.

    Raises:
        InputError: there is none, or of another format; `path` is named.
    """
    try:
        header = json.loads((metadata or {})[HEADER_KEY])
    except (KeyError, json.JSONDecodeError):
        raise InputError(f"{path}: a safetensors file, but not a score file of twostream") from None
    if not isinstance(header, dict) or not all(
        isinstance(header.get(key), kind) for key, kind in _HEADER_TYPES.items()
    ):
        raise InputError(f"{path}: not a score file; its header lacks {', '.join(_HEADER_TYPES)}")
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path}: score file format {header.get('format')!r}; this version of "
            f"twostream reads format {FORMAT}"
        )
    return header


def check_unique(items: tuple[str, ...], what: str) -> None:
    """Refuse names that are doubled, empty or no texts; `what` starts the message."""
    if not all(isinstance(item, str) and item for item in items):
        raise InputError(f"{what} must be texts that are not empty")
    if doubled := [item for item, count in Counter(items).items() if count > 1]:
        raise InputError(f"{what} must differ; more than once: {some_of(doubled)}")


def _check_sums(
    path: Path, tensors: dict[str, np.ndarray], sums: dict[str, str], *, expected: list[str]
) -> None:
    if sorted(tensors) != expected:
        raise InputError(
            f"{path}: holds {', '.join(tensors)}; expected here are {' and '.join(expected)}"
        )
    for key, tensor in tensors.items():
        stored = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
        if sha256_bytes(stored.data) != sums.get(key):
            raise InputError(
                f"{path}: `{key}` does not fit its checksum; the file is damaged, "
                "make or copy it again"
            )
