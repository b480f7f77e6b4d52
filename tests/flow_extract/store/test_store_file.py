import gc
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from flow_extract.store import reader
from flow_extract.store.reader import DTYPES, FORMAT, StoreFile
from twostream_base.errors import InputError

ARRAYS = {
    "flow_offsets": np.array([0, 3, 5], np.uint64),
    "rgb_offsets": np.array([0, 1, 2, 4], np.uint64),
    "flow": np.array([1, 2, 3, 4, 5], np.uint8),
    "rgb": np.array([6, 7, 8, 9], np.uint8),
}
HEADER = {
    "format": FORMAT, "name": "v", "status": "ok", "reason": "", "codec": "raw",
    "settings_hash": "", "source": {}, "size": {"height": 1, "width": 1},
    "counts": {"frames": 3, "flows": 2}, "sha256": dict.fromkeys(DTYPES, ""),
}  # fmt: skip


def write(path: Path, header: object = HEADER) -> Path:
    save_file(ARRAYS, path, {"twostream": json.dumps(header)})
    return path


def table_of(path: Path) -> dict:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def with_table(path: Path, table: object, *, text: str | None = None) -> Path:
    """The same data behind another beginning."""
    data = path.read_bytes()
    rest = data[8 + int.from_bytes(data[:8], "little") :]
    written = (json.dumps(table) if text is None else text).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + rest)
    return path


@pytest.mark.parametrize("first_read", [8, 100, 1 << 14])
def test_every_stretch_of_every_array(tmp_path, monkeypatch, first_read):
    monkeypatch.setattr(reader, "FIRST_READ", first_read)
    file = StoreFile(write(tmp_path / "v.safetensors"))
    assert file.header == HEADER
    for key, array in ARRAYS.items():
        data = array.tobytes()
        assert file.sizes[key] == len(data)
        for begin in range(len(data) + 1):
            for end in range(begin, len(data) + 1):
                assert file.read(key, begin, end) == data[begin:end]


def handles_on(path: Path) -> int:
    links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(link.is_symlink() and os.readlink(link) == str(path) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_it_is_closed_by_close_or_with_the_last_user(tmp_path):
    path = write(tmp_path / "v.safetensors").resolve()
    file, other = StoreFile(path), StoreFile(path)
    assert handles_on(path) == 2
    file.close()
    file.close()
    assert handles_on(path) == 1
    del other
    assert handles_on(path) == 0
    path.write_bytes(b"no store file")
    with pytest.raises(InputError):
        StoreFile(path)
    gc.collect()
    assert handles_on(path) == 0


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "FIRST_READ", 8)
    path = write(tmp_path / "v.safetensors")
    file = StoreFile(path)
    os.truncate(path, path.stat().st_size - 2)
    assert file.read("rgb", 0, 2) == b"\6\7"
    with pytest.raises(InputError, match=r"v\.safetensors: not a sound store file \(it ends at"):
        file.read("rgb", 0, 4)


def moved(key, **change):
    return lambda table: table | {key: table[key] | change}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: [],
        lambda table: None,
        lambda table: {key: table[key] for key in table if key != "rgb"},
        lambda table: table | {"more": table["rgb"]},
        moved("rgb", data_offsets=[0, 4]),  # over another array
        moved("rgb", data_offsets=[46, 50]),  # behind a gap
        moved("rgb", data_offsets=[45, 1 << 62], shape=[(1 << 62) - 45]),
        moved("rgb", shape=[-4]),
        moved("rgb", shape=[2, 2]),
        moved("rgb", shape="4"),
        moved("rgb", shape=[4.5]),
        moved("rgb", shape=[10**400]),
        moved("rgb", dtype="I8"),
        moved("flow", more=1),
        lambda table: table | {"flow": 5},
    ],
)
def test_arrays_that_are_not_where_they_should_be(tmp_path, change):
    path = write(tmp_path / "v.safetensors")
    with_table(path, change(table_of(path)))
    with pytest.raises(InputError, match=r"v\.safetensors: not a sound store file \(it"):
        StoreFile(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{]"])
def test_a_beginning_that_is_no_json(tmp_path, text):
    path = with_table(write(tmp_path / "v.safetensors"), None, text=text)
    with pytest.raises(InputError, match="its beginning is no JSON"):
        StoreFile(path)


@pytest.mark.parametrize("length", [0, 1 << 40, (1 << 64) - 1, 100_000_001])
def test_a_beginning_of_that_length(tmp_path, length):
    path = write(tmp_path / "v.safetensors")
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(InputError, match="not a sound store file"):
        StoreFile(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([], "its format is \\[\\]"),
        (None, "its format is None"),
        (HEADER | {"size": 7}, "its header lacks 'size'"),
        (HEADER | {"size": {"height": "1", "width": 1}}, "its header lacks 'size'"),
        (HEADER | {"counts": {"frames": 3}}, "its header lacks 'counts'"),
        (HEADER | {"sha256": {}}, "its header lacks 'sha256'"),
        ({key: HEADER[key] for key in HEADER if key != "codec"}, "its header lacks 'codec'"),
    ],
)
def test_a_header_that_lacks_something(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        StoreFile(write(tmp_path / "v.safetensors", header))


@given(place=st.integers(0, 700), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_named(tmp_path_factory, place, value):
    path = write(tmp_path_factory.mktemp("store") / "v.safetensors")
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(data)
    with suppress(InputError):
        file = StoreFile(path)
        assert [len(file.read(key, 0, file.sizes[key])) for key in DTYPES] == [24, 32, 5, 4]


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="not a sound store file"):
        StoreFile(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a sound store file"):
        StoreFile(tmp_path)
