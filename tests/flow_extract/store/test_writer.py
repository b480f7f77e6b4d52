import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from flow_extract.store import writer
from flow_extract.store.codecs import CODECS
from flow_extract.store.reader import StoreEntry, entry_path
from flow_extract.store.writer import collecting, write_entry
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
    "counts": {"promised": None},
}


@pytest.fixture
def collected(tmp_path):
    """A function that writes so many frames and flow pairs into a store."""

    def write(frames, flows):
        jpeg = CODECS["jpeg"]
        with collecting(tmp_path) as rgb, collecting(tmp_path) as flow:
            for level in range(frames):
                rgb.append(jpeg.encode_rgb(np.full((16, 24, 3), level, np.uint8), quality=95))
            for level in range(flows):
                flow.append(jpeg.encode_flow(np.full((16, 24, 2), level, np.uint8), quality=95))
            write_entry(tmp_path / "store", HEADER, rgb=rgb, flow=flow)
        return entry_path(tmp_path / "store", "class/v")

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


def test_counts_and_digests_are_filled_in(collected):
    header = StoreEntry(collected(3, 2)).header
    assert header["counts"] == {"promised": None, "frames": 3, "flows": 2}
    assert header["format"] == "twostream-store-2"
    assert sorted(header["sha256"]) == ["flow", "flow_offsets", "rgb", "rgb_offsets"]


def test_digests_are_those_of_the_tensors(collected):
    import hashlib

    path = collected(4, 3)
    for key, tensor in load_file(path).items():
        digest = hashlib.sha256(tensor.tobytes()).hexdigest()
        assert StoreEntry(path).header["sha256"][key] == digest


@pytest.mark.parametrize(("frames", "flows"), [(3, 3), (3, 1), (0, 0)])
def test_other_numbers_leave_nothing(collected, tmp_path, frames, flows):
    with pytest.raises(ValueError, match=f"{frames} frames need {frames - 1} flow pairs"):
        collected(frames, flows)
    assert not list((tmp_path / "store").rglob("*.*"))


def test_disk_that_does_not_give_it_back_is_not_the_fault_of_the_video(
    collected, tmp_path, monkeypatch
):
    def broken(path):
        raise InputError("not a sound store file") from OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(writer, "StoreEntry", broken)
    with pytest.raises(OSError, match="Input/output error"):
        collected(3, 2)
    assert not list((tmp_path / "store").rglob("*.*"))


def test_twice_the_same_bytes(collected):
    first = collected(3, 2).read_bytes()
    assert collected(3, 2).read_bytes() == first
