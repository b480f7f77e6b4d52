"""Writing store files (`store.py` describes and reads them)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flow_extract.blobs import Blobs
from flow_extract.store import StoreEntry, entry_path
from flow_extract.store_file import DTYPES, FORMAT
from twostream.errors import InputError
from twostream.files import atomic_path, sha256_bytes


def write_entry(store: Path, header: dict[str, Any], *, rgb: Blobs, flow: Blobs) -> None:
    """Write the store file of `header["name"]`; counts of what it holds and sha256 are filled in.

    Raises:
        ValueError: the number of flow pairs is not the number of frames - 1, or 0 without method.
        OSError: the disk does not take it, or does not give it back.
    """
    pairs = len(rgb) - 1 if header["method"] else 0
    if len(flow) != pairs:
        raise ValueError(f"{len(rgb)} frames need {pairs} flow pairs, not {len(flow)}")
    offsets = {"flow_offsets": flow.offsets.tobytes(), "rgb_offsets": rgb.offsets.tobytes()}
    header = header | {
        "format": FORMAT,
        "counts": header["counts"] | {"frames": len(rgb), "flows": len(flow)},
        "sha256": {key: sha256_bytes(data) for key, data in offsets.items()}
        | {"flow": flow.sha256, "rgb": rgb.sha256},
    }
    sizes = {key: len(data) for key, data in offsets.items()} | {"flow": flow.size, "rgb": rgb.size}
    with atomic_path(entry_path(store, header["name"])) as temporary:
        with temporary.open("wb") as stream:
            stream.write(_preamble(header, sizes))
            stream.write(b"".join(offsets.values()))
            flow.copy_to(stream)
            rgb.copy_to(stream)
        _check(temporary)


def _check(temporary: Path) -> None:
    try:
        StoreEntry(temporary)
    except InputError as error:
        if isinstance(error.__cause__, OSError):  # the disk fails: no fault of the video
            raise error.__cause__ from None
        raise


def _preamble(header: dict[str, Any], sizes: dict[str, int]) -> bytes:
    """Length and text at the beginning of a safetensors file, as its own library writes them.

    Written here because that library wants all data in memory, and a long video has gigabytes.
    """
    table: dict[str, Any] = {"__metadata__": {"twostream": _json(header)}}
    begin = 0
    for key, dtype in DTYPES.items():
        length = sizes[key] // 8 if dtype == "U64" else sizes[key]
        offsets = [begin, begin + sizes[key]]
        table[key] = {"dtype": dtype, "shape": [length], "data_offsets": offsets}
        begin += sizes[key]
    text = _json(table, sort_keys=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _json(value: dict[str, Any], *, sort_keys: bool = True) -> str:
    return json.dumps(
        value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
