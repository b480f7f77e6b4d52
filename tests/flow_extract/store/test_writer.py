import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from flow_extract.store import writer
from flow_extract.store.codecs import CODECS
from flow_extract.store.reader import StoreEntry
from flow_extract.store.writer import EntryWriter
from twostream_base.errors import InputError

HEADER = {
    "name": "class/v",
    "status": "ok",
    "reason": "",
    "codec": "jpeg",
    "method": {"name": "dis"},
    "settings_hash": "",
    "source": {},
    "size": {"width": 24, "height": 16},
}


@pytest.fixture
def collected(tmp_path):
    """A function that writes so many frames and flow pairs into a store."""

    def write(frames, flows):
        jpeg = CODECS["jpeg"]
        with EntryWriter(tmp_path / "store", "class/v") as entry:
            for level in range(frames):
                entry.rgb.append(jpeg.encode_rgb(np.full((16, 24, 3), level, np.uint8), quality=95))
            for level in range(flows):
                entry.flow.append(
                    jpeg.encode_flow(np.full((16, 24, 2), level, np.uint8), quality=95)
                )
            counts = {"promised": None, "frames": frames, "flows": flows}
            entry.finish(HEADER | {"counts": counts})
        return entry.path

    return write


def metadata_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata()


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_bytes_are_those_of_the_safetensors_library(collected, frames):
    path = collected(frames, frames - 1)
    tensors, text = load_file(path), metadata_of(path)["twostream"]
    assert json.loads(text) == StoreEntry(path).header
    assert path.read_bytes() == save(tensors, {"twostream": text})


def test_format_and_digests_are_filled_in(collected):
    header = StoreEntry(collected(3, 2)).header
    assert header["format"] == "twostream-store-2"
    assert sorted(header["sha256"]) == ["flow", "flow_offsets", "rgb", "rgb_offsets"]


def test_digests_are_those_of_the_tensors(collected):
    path = collected(4, 3)
    for key, tensor in load_file(path).items():
        digest = hashlib.sha256(tensor.tobytes()).hexdigest()
        assert StoreEntry(path).header["sha256"][key] == digest


@pytest.mark.parametrize(("frames", "flows"), [(3, 3), (3, 1), (0, 0)])
def test_other_numbers_leave_nothing(collected, tmp_path, frames, flows):
    with pytest.raises(ValueError, match=f"{flows} flow pairs do not fit {frames} frames"):
        collected(frames, flows)
    assert not list((tmp_path / "store").rglob("*.*"))


def test_disk_that_does_not_give_it_back_is_not_the_fault_of_the_video(
    collected, tmp_path, monkeypatch
):
    def broken(path):
        raise InputError("not a valid store file") from OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(writer, "StoreEntry", broken)
    with pytest.raises(OSError, match="Input/output error"):
        collected(3, 2)
    assert not list((tmp_path / "store").rglob("*.*"))


def test_twice_the_same_bytes(collected):
    first = collected(3, 2).read_bytes()
    assert collected(3, 2).read_bytes() == first


def test_counts_other_than_those_of_the_header(tmp_path):
    counts = {"promised": None, "frames": 2, "flows": 1}
    with (
        EntryWriter(tmp_path, "v") as entry,
        pytest.raises(ValueError, match="0 frames and 0 flow pairs"),
    ):
        entry.finish(HEADER | {"counts": counts})


def content(blobs):
    return b"".join(blobs.as_tensor().chunks)


@given(st.lists(st.binary(max_size=40), max_size=20))
@settings(suppress_health_check=list(HealthCheck), max_examples=30)
def test_offsets_lead_back_to_each_blob(tmp_path, items):
    with EntryWriter(tmp_path, "v") as entry:
        blobs = entry.rgb
        for item in items:
            blobs.append(item)
        data, offsets, tensor = content(blobs), blobs.offsets.tolist(), blobs.as_tensor()
    assert [data[a:b] for a, b in pairwise(offsets)] == items
    assert len(blobs) == len(items)
    assert tensor.shape == (len(data),)


def test_much_goes_to_a_nameless_file(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MEMORY_LIMIT", 100)
    with EntryWriter(tmp_path, "v") as entry:
        blobs = entry.rgb
        for _ in range(10):
            blobs.append(b"x" * 50)
        assert list(tmp_path.iterdir()) == []
        assert content(blobs) == b"x" * 500


def test_is_closed_at_the_end(tmp_path):
    with EntryWriter(tmp_path, "v") as entry:
        blobs = entry.rgb
    with pytest.raises(ValueError, match="closed"):
        blobs.append(b"x")
