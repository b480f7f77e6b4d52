import json
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from flow_extract.extraction.one_video import extract_video
from flow_extract.store.codecs import CODECS, quantize
from flow_extract.store.reader import StoreEntry, entry_path, open_entry, read_header, scan_store
from flow_extract.video.decode import read_frames
from twostream_base.errors import InputError


@pytest.fixture
def stored(make_video, make_job, tmp_path):
    """A store file of 12 frames, and the frames it was made of."""
    video = make_video(tmp_path / "v.avi", frames=12)
    job = make_job(video)
    assert extract_video(job).status == "ok"
    return entry_path(job.store, job.name), np.stack(list(read_frames(video)))


def test_numbers(stored):
    entry = StoreEntry(stored[0])
    assert (entry.num_frames, entry.num_flows, entry.size) == (12, 11, (48, 64))
    assert entry.header == read_header(stored[0])


def test_frames_come_back(stored):
    path, frames = stored
    read = StoreEntry(path).read_rgb([11, 0, 5])
    assert read.shape == (3, 48, 64, 3)
    assert np.abs(read.astype(int) - frames[[11, 0, 5]]).mean() < 2


def test_flow_is_that_of_the_frames(stored):
    from flow_extract.methods import FLOW_METHODS

    path, frames = stored
    expected = quantize(FLOW_METHODS["dis"]()(frames))
    read = StoreEntry(path).read_flow(0, 11)
    assert read.shape == (11, 48, 64, 2)
    assert np.abs(read.astype(int) - expected).mean() < 1


def test_any_stretch_of_flow_is_the_same_as_a_part_of_all(stored):
    entry = StoreEntry(stored[0])
    whole = entry.read_flow(0, 11)
    for start, count in [(0, 1), (3, 5), (10, 1), (4, 0), (11, 0)]:
        part = entry.read_flow(start, count)
        assert part.shape == (count, 48, 64, 2)
        assert (part == whole[start : start + count]).all()


def test_layout_of_the_file(stored):
    """Read without our reader: what the format promises to other programs."""
    tensors = load_file(stored[0])
    assert {key: value.dtype.name for key, value in tensors.items()} == {
        "rgb": "uint8",
        "flow": "uint8",
        "rgb_offsets": "uint64",
        "flow_offsets": "uint64",
    }
    begin, end = tensors["flow_offsets"][3:5].astype(int)
    pair = CODECS["jpeg"].decode_flow(tensors["flow"][begin:end], (48, 64))
    assert (pair == StoreEntry(stored[0]).read_flow(3, 1)[0]).all()


@pytest.mark.parametrize(
    "read",
    [
        lambda entry: entry.read_rgb([12]),
        lambda entry: entry.read_rgb([-1]),
        lambda entry: entry.read_flow(2, 10),
        lambda entry: entry.read_flow(-1, 2),
    ],
)
def test_reading_past_the_end(stored, read):
    with pytest.raises(IndexError, match=r"v\.safetensors.*it has 0\.\.1[01]"):
        read(StoreEntry(stored[0]))


def test_pictures_come_in_the_order_asked_for(stored):
    entry = StoreEntry(stored[0])
    flow = entry.read_flow(0, 11)
    indices = [4, 5, 6, 6, 2, 10, 9]
    pictures = list(entry.pictures("flow", indices))
    assert all((a == flow[b]).all() for a, b in zip(pictures, indices, strict=True))


def test_nothing_is_read_after_close(stored):
    entry = StoreEntry(stored[0])
    entry.close()
    with pytest.raises((OSError, IndexError)):
        list(entry.pictures("rgb", range(12)))


def test_many_threads_read_the_same(stored):
    entry = StoreEntry(stored[0])
    flow, rgb, wrong = entry.read_flow(0, 11), entry.read_rgb(range(12)), []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            start = int(rng.integers(0, 8))
            if not (entry.read_flow(start, 3) == flow[start : start + 3]).all():
                wrong.append(start)
            if not (entry.read_rgb([start]) == rgb[start]).all():
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, -1])
def test_cut_file_is_named(stored, keep):
    path, _ = stored
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    for read in (StoreEntry, read_header):
        with pytest.raises(InputError, match=r"v\.safetensors: not a valid store file"):
            read(path)


def test_damaged_picture_is_named(stored):
    path, _ = stored
    tensors, header = load_file(path), read_header(path)
    tensors["flow"][:] = 7
    save_file(tensors, path, {"twostream": json.dumps(header)})
    with pytest.raises(InputError, match=r"v\.safetensors: damaged, flow 2\.\.4"):
        StoreEntry(path).read_flow(2, 3)


def test_foreign_safetensors_file_is_named(tmp_path):
    save_file({"weights": np.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(
        InputError, match=r"a\.safetensors: not a valid store file \(a safetensors file without"
    ):
        scan_store(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "twostream-store-9"}, "'twostream-store-9'; this version reads"),
        ({"size": {"height": "1", "width": 1}}, "its header lacks a part of 'size'"),
        ({"counts": {"frames": 3}}, "its header lacks a part of 'counts'"),
        ({"sha256": {}}, "its header lacks a part of 'sha256'"),
        ({"size": 7}, "its header lacks size"),
        ({"source": None}, "its header lacks source"),
        ({"codec": "png"}, "its codec is 'png', not jpeg, raw, lz4"),
        ({"counts": {"frames": 11, "flows": 11}}, "rgb_offsets do not fit"),
    ],
)
def test_header_that_does_not_fit(stored, change, message):
    path, _ = stored
    header = read_header(path) | change
    save_file(load_file(path), path, {"twostream": json.dumps(header)})
    with pytest.raises(InputError, match=message):
        StoreEntry(path)


def with_arrays(path, **arrays):
    tensors = {key: value for key, value in (load_file(path) | arrays).items() if value is not None}
    save_file(tensors, path, {"twostream": json.dumps(read_header(path))})


@pytest.mark.parametrize(
    "arrays",
    [
        {"rgb": None},
        {"more": np.zeros(3, np.uint8)},
        {"rgb": np.zeros((2, 2), np.uint8)},
        {"flow": np.zeros(4, np.int8)},
        {"flow_offsets": np.zeros(12, np.uint32)},
    ],
)
def test_arrays_that_a_store_file_does_not_hold(stored, arrays):
    with_arrays(stored[0], **arrays)
    for read in (StoreEntry, read_header):
        with pytest.raises(InputError, match="it should hold flow_offsets, rgb_offsets, flow, rgb"):
            read(stored[0])


@settings(suppress_health_check=list(HealthCheck), max_examples=60)
@given(place=st.integers(0, 2500), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_named(stored, place, value):
    path, _ = stored
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
    with suppress(InputError):
        entry = StoreEntry(path)
        assert (entry.num_frames, entry.num_flows) == (12, 11)
    path.write_bytes(data)


def test_no_such_file(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="not a valid store file"):
            StoreEntry(path)


def test_open_entry(stored, make_job):
    path, _ = stored
    assert open_entry(str(path.parent), "v").header == read_header(path)


def test_scan(make_video, make_job, tmp_path):
    for name in ("b", "a"):
        job = make_job(make_video(tmp_path / f"{name}.avi", frames=2))
        extract_video(job)
    headers = scan_store(job.store)
    assert list(headers) == ["a", "b"]
    assert headers["a"]["counts"] == {"promised": 2, "frames": 2, "flows": 1, "repeated": 0}
    (job.store / "a.safetensors").rename(job.store / "c.safetensors")
    with pytest.raises(InputError, match="it was written for 'a'; rename it back"):
        scan_store(job.store)


def test_scan_of_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such store"):
        scan_store(tmp_path / "nowhere")


def test_no_way_out_of_the_store(tmp_path):
    for name in ("../v", "/v", "a/../../v", ""):
        with pytest.raises(InputError):
            entry_path(tmp_path, name)
