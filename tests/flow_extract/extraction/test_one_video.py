import errno
import inspect
import os
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flow_extract.extraction import one_video
from flow_extract.extraction.folder import reuse_or_extract, up_to_date
from flow_extract.extraction.one_video import (
    count_clipped,
    extract_video,
    map_in_order,
    overlapping_chunks,
)
from flow_extract.extraction.settings import extraction_settings
from flow_extract.methods import FLOW_METHODS
from flow_extract.store.codecs import quantize
from flow_extract.store.header import settings_hash
from flow_extract.store.manifest import read_problem
from flow_extract.store.reader import PROBLEM_SUFFIX, StoreEntry, entry_path
from flow_extract.store.writer import EntryWriter
from flow_extract.synthetic import moving_clip, smooth_texture, translation
from flow_extract.video.pictures import identity
from twostream_base.files import sha256_bytes, sha256_file


def test_header_says_what_was_done(make_video, make_job, tmp_path):
    video = make_video(tmp_path / "v.avi", frames=5)
    job = make_job(video, method="farneback", bound=8.0, short_side=32)
    result = extract_video(job)
    assert (result.name, result.status, result.reason) == ("v", "ok", "")
    header = StoreEntry(entry_path(job.store, "v")).header
    assert header["method"]["name"] == "farneback"
    assert header["method"]["options"]["winsize"] == 15
    assert header["quantiser"] == {"bound": 8.0, "zero": 128, "scale": 127 / 8}
    assert (header["codec"], header["quality"], header["short_side"]) == ("jpeg", 95, 32)
    assert header["size"] == {"width": 43, "height": 32}
    assert header["counts"] == {"promised": 5, "frames": 5, "flows": 4, "repeated": 0}
    assert header["fps"] == 25
    assert header["decoder"].startswith("FFmpeg")
    assert header["settings_hash"] == settings_hash(job.settings)
    assert header["source"] == {
        "path": "v.avi",
        "size": video.stat().st_size,
        "mtime_ns": video.stat().st_mtime_ns,
        "sha256": sha256_file(video),
    }


def test_stored_flow_is_the_motion_of_the_video(make_video, make_job, tmp_path):
    """The texture of `make_video` moves by (1.5, -0.5) pixels a frame."""
    job = make_job(make_video(tmp_path / "v.avi", frames=4, size=(96, 128)))
    extract_video(job)
    levels = StoreEntry(entry_path(job.store, "v")).read_flow(0, 3)
    u, v = (levels.astype(float) - 128).mean(axis=(0, 1, 2)) * 20 / 127
    assert abs(u - 1.5) < 0.2
    assert abs(v + 0.5) < 0.2


def test_each_frame_and_each_pair_is_progress(make_video, make_job, tmp_path, monkeypatch):
    beats = []
    monkeypatch.setattr("twostream_base.heartbeat.INTERVAL", 0)
    monkeypatch.setattr("twostream_base.heartbeat._send", lambda: beats.append(1))
    video = make_video(tmp_path / "v.avi", frames=20)
    assert extract_video(make_job(video)).status == "ok"
    assert len(beats) >= 20 + 19


def test_repeated_frames_are_counted_and_dropped(write_mjpg, make_job, tmp_path):
    """25 frames per second made of ten: two or three of each, a little different by JPEG's loss."""
    noise = np.random.default_rng(0)
    texture = cv2.GaussianBlur(noise.integers(0, 256, (64, 96, 3), np.uint8), (0, 0), 2)
    texture = cv2.normalize(texture, None, 10, 240, cv2.NORM_MINMAX)
    shown = np.arange(25) * 10 // 25
    clip = np.stack([np.roll(texture, 3 * number, 1) for number in shown]).astype(int)
    clip += noise.integers(-4, 5, clip.shape)
    write_mjpg(tmp_path / "v.avi", clip.astype(np.uint8))
    job = make_job(tmp_path / "v.avi")
    result = extract_video(job)
    whole = StoreEntry(entry_path(job.store, "v"))
    assert (result.frames, result.repeated) == (25, 15)
    assert whole.header["counts"] == {"promised": 25, "frames": 25, "flows": 24, "repeated": 15}
    assert (whole.header["fps"], "drop_repeated" in whole.header) == (25, False)

    dropping = replace(job, settings=extraction_settings("dis", drop_repeated=True))
    assert up_to_date(dropping) is None
    result = extract_video(dropping)
    dropped = StoreEntry(entry_path(job.store, "v"))
    assert (result.status, result.frames, result.repeated) == ("ok", 10, 15)
    assert dropped.header["counts"] == {"promised": 25, "frames": 10, "flows": 9, "repeated": 15}
    assert (dropped.header["fps"], dropped.header["drop_repeated"]) == (10, True)
    assert dropped.header["settings_hash"] != whole.header["settings_hash"]
    assert (up_to_date(dropping).frames, up_to_date(dropping).repeated) == (10, 15)
    flow = dropped.read_flow(0, 9).astype(float) - 128
    assert abs(flow[..., 0].mean(axis=(1, 2)) * 20 / 127 - 3).max() < 0.3


def test_twice_the_same_bytes(make_video, make_job, tmp_path):
    job = make_job(make_video(tmp_path / "v.avi"))
    extract_video(job)
    first = entry_path(job.store, "v").read_bytes()
    extract_video(job)
    assert entry_path(job.store, "v").read_bytes() == first


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_flow_that_is_added_leaves_the_frames_as_they_are(
    make_video, make_job, tmp_path, monkeypatch, codec
):
    """The file is that of an extraction with flow, to the byte, though no frame is encoded."""
    frames_alone = extraction_settings(None, short_side=40, codec=codec)
    with_flow = extraction_settings("farneback", bound=8.0, short_side=40, codec=codec)
    job = make_job(make_video(tmp_path / "v.avi", frames=40))
    direct = replace(job, store=tmp_path / "direct", settings=with_flow)
    assert reuse_or_extract(direct).status == "ok"

    assert reuse_or_extract(replace(job, settings=frames_alone)).status == "ok"
    entry = StoreEntry(entry_path(job.store, "v"))
    counts = {"promised": 40, "frames": 40, "flows": 0, "repeated": 0}
    assert (entry.header["method"], entry.header["counts"]) == (None, counts)
    before = [blob.tobytes() for blob in entry.blobs("rgb", 0, 40)]

    def never(*args, **kwargs):
        raise AssertionError("a frame is encoded again")

    monkeypatch.setitem(one_video.CODECS, codec, one_video.CODECS[codec]._replace(encode_rgb=never))
    for threads in (1, 3):
        assert reuse_or_extract(replace(job, settings=with_flow, threads=threads)).status == "ok"
        after = [b.tobytes() for b in StoreEntry(entry_path(job.store, "v")).blobs("rgb", 0, 40)]
        assert after == before
        paths = (entry_path(store, "v") for store in (job.store, direct.store))
        assert len({path.read_bytes() for path in paths}) == 1
        monkeypatch.undo()
        assert reuse_or_extract(replace(job, settings=frames_alone)).status == "ok"
        monkeypatch.setitem(
            one_video.CODECS, codec, one_video.CODECS[codec]._replace(encode_rgb=never)
        )


@pytest.mark.parametrize("change", ["content", "rgb", "decoder", "frames"])
def test_frames_that_may_be_others_are_not_taken(make_video, make_job, tmp_path, change):
    """Of another video of the same size and time; damaged; of another decoder; of other size."""
    video = make_video(tmp_path / "v.avi", frames=6)
    job = make_job(video)
    path = entry_path(job.store, "v")
    alone = replace(job, settings=extraction_settings(None))
    if change == "frames":
        alone = replace(job, settings=extraction_settings(None, short_side=24))
    reuse_or_extract(alone)
    if change == "content":
        data, written = video.read_bytes(), video.stat().st_mtime_ns
        place = data.index(b"\xff\xda") + 40  # in the first picture
        video.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        os.utime(video, ns=(written, written))
    elif change == "rgb":
        path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    elif change == "decoder":
        data = path.read_bytes()
        place = data.index(b"FFmpeg avcodec ") + len(b"FFmpeg avcodec ")
        path.write_bytes(data[:place] + b"9" + data[place + 1 :])
    before = StoreEntry(path).blobs("rgb", 0, 6)[0].tobytes()
    reuse_or_extract(job)
    direct = replace(job, store=tmp_path / "direct")
    reuse_or_extract(direct)
    assert path.read_bytes() == entry_path(direct.store, "v").read_bytes()
    same = StoreEntry(path).blobs("rgb", 0, 6)[0].tobytes() == before
    assert same == (change in ("rgb", "decoder"))


def test_a_folder_of_pictures(make_job, tmp_path):
    """As the same pictures in a lossless video; what is missing is damage, and is named."""
    folder = tmp_path / "1"
    folder.mkdir()
    texture = smooth_texture((48, 64), rng=np.random.default_rng(0))
    clip, _ = moving_clip(texture, [translation(1.5, -0.5)] * 11)
    for number, frame in enumerate(clip, 95):
        cv2.imwrite(str(folder / f"{number}.PNG"), frame[..., ::-1])
    settings = extraction_settings("dis", codec="raw")
    job = replace(make_job(folder), settings=settings)
    result = extract_video(job)
    assert (result.name, result.status, result.reason) == ("1", "ok", "")
    entry = StoreEntry(entry_path(job.store, "1"))
    assert entry.header["counts"] == {"promised": 12, "frames": 12, "flows": 11, "repeated": 0}
    assert (entry.read_rgb(range(12)) == clip).all()
    expected = quantize(FLOW_METHODS["dis"]()(clip))
    assert (entry.read_flow(0, 11) == expected).all()
    files = [folder / f"{number}.PNG" for number in range(95, 107)]
    assert entry.header["source"] == {
        "path": "1",
        "size": sum(path.stat().st_size for path in files),
        "mtime_ns": max(path.stat().st_mtime_ns for path in files),
        "names": identity(folder)["names"],
        "sha256": sha256_bytes(b"".join(path.read_bytes() for path in files)),
    }
    assert entry.header["decoder"].startswith("OpenCV")
    assert up_to_date(job).status == "ok"
    (folder / "100.PNG").unlink()
    assert up_to_date(job) is None
    result = extract_video(job)
    assert (result.status, result.reason) == (
        "damaged", "1 of 12 pictures are missing, number 100",
    )  # fmt: skip
    counts = StoreEntry(entry_path(job.store, "1")).header["counts"]
    assert counts == {"promised": 12, "frames": 11, "flows": 10, "repeated": 0}
    cv2.imwrite(str(folder / "107.PNG"), clip[0, 1:])
    result = extract_video(job)
    assert (result.status, "107.PNG has 64 x 47 pixels" in result.reason) == ("failed", True)
    assert not entry_path(job.store, "1").exists()


def test_chunks_leave_no_trace(make_video, make_job, tmp_path, monkeypatch):
    job = make_job(make_video(tmp_path / "v.avi", frames=9))
    contents = []
    for length in (1, 4, 100):
        monkeypatch.setattr(one_video, "MAX_CHUNK", length)
        extract_video(job)
        contents.append(entry_path(job.store, "v").read_bytes())
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_threads_leave_no_trace(make_video, make_job, tmp_path, monkeypatch, method):
    job = make_job(make_video(tmp_path / "v.avi", frames=40), method=method)
    monkeypatch.setattr(one_video, "MAX_CHUNK", 3)
    contents = []
    for threads in (1, 2, 5):
        extract_video(replace(job, threads=threads))
        contents.append(entry_path(job.store, "v").read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_header_says_how_much_the_bound_clips(make_video, make_job, tmp_path):
    """The texture of `make_video` moves by (1.5, -0.5) pixels a frame."""
    video = make_video(tmp_path / "v.avi", frames=4, size=(96, 128))
    shares = []
    for bound in (20.0, 1.0):
        job = make_job(video, bound=bound)
        extract_video(job)
        shares.append(StoreEntry(entry_path(job.store, "v")).header["clipped_share"])
    assert shares[0] == 0
    assert 0.8 < shares[1] <= 1


def test_count_clipped_takes_the_larger_component():
    flow = np.array([[3, 0], [0, -3], [2, -2], [-2.5, 2.5]], np.float32)
    assert [count_clipped(flow, bound=bound) for bound in (1.5, 2, 2.5, 3)] == [4, 3, 2, 0]


@pytest.mark.parametrize("frames", [1, 2, 10, 11])
def test_short_videos(make_video, make_job, tmp_path, frames):
    job = make_job(make_video(tmp_path / "v.avi", frames=frames))
    assert extract_video(job).status == "ok"
    entry = StoreEntry(entry_path(job.store, "v"))
    assert (entry.num_frames, entry.num_flows) == (frames, frames - 1)
    assert entry.read_flow(0, frames - 1).shape == (frames - 1, 48, 64, 2)


def test_shorter_than_promised_is_damaged(make_video, make_job, tmp_path):
    video = make_video(tmp_path / "v.avi", frames=20)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    job = make_job(video)
    result = extract_video(job)
    frames = StoreEntry(entry_path(job.store, "v")).num_frames
    assert 5 <= frames < 20
    assert result.status == "damaged"
    assert "ends early" in result.reason


@pytest.mark.parametrize(("claim", "status"), [(20, "ok"), (24, "ok"), (60, "damaged")])
def test_matroska_that_knows_only_its_length(write_mjpg, make_job, tmp_path, claim, status):
    """Its length in milliseconds (EBML element 4489, a float of 8 bytes) is made `claim` frames."""
    video = tmp_path / "v.mkv"
    write_mjpg(video, np.zeros((20, 48, 64, 3), np.uint8))
    before, element, after = video.read_bytes().partition(b"\x44\x89\x88")
    video.write_bytes(before + element + struct.pack(">d", claim * 40.0) + after[8:])
    job = make_job(video)
    result = extract_video(job)
    assert result.status == status
    assert ("after 0.80 of 2.40 s" in result.reason) == (status == "damaged")
    header = StoreEntry(entry_path(job.store, "v")).header
    assert header["counts"] == {"promised": 20, "frames": 20, "flows": 19, "repeated": 19}


def test_no_video_leaves_a_problem_file_and_its_repair_removes_it(make_video, make_job, tmp_path):
    video = tmp_path / "v.avi"
    video.write_text("no video")
    job = make_job(video)
    result = extract_video(job)
    assert result.status == "failed"
    problem = read_problem(entry_path(job.store, "v", PROBLEM_SUFFIX))
    assert problem["reason"] == result.reason
    assert problem["source"] == {"path": "v.avi", "size": 8, "mtime_ns": video.stat().st_mtime_ns}
    make_video(video)
    assert extract_video(job).status == "ok"
    assert [path.name for path in job.store.iterdir()] == ["v.safetensors"]


def test_full_disk_is_not_the_fault_of_the_video(make_video, make_job, tmp_path, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device", "/store/v")

    monkeypatch.setattr(EntryWriter, "finish", no_space)
    job = make_job(make_video(tmp_path / "v.avi", frames=2))
    result = extract_video(job)
    assert result.status == "unwritable"
    assert "No space left on device: /store/v" in result.reason
    assert list(job.store.iterdir()) == []


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM]
)
def test_a_video_that_the_machine_cannot_read_now_is_not_recorded(
    make_video, make_job, tmp_path, monkeypatch, number
):
    """And an older store file of it stays."""
    job = make_job(make_video(tmp_path / "v.avi", frames=2))
    assert extract_video(job).status == "ok"
    before = entry_path(job.store, "v").read_bytes()
    job = replace(job, settings=job.settings | {"short_side": 32})

    def fails(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fails)
        result = extract_video(job)
    assert result.status == "failed"
    assert os.strerror(number) in result.reason
    assert "tried again" in result.reason
    assert [path.name for path in job.store.iterdir()] == ["v.safetensors"]
    assert entry_path(job.store, "v").read_bytes() == before
    assert up_to_date(job) is None
    assert extract_video(job).status == "ok"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "opencv",
     RuntimeError("can't start new thread")],
    ids=["python", "torch", "opencv", "thread"],
)  # fmt: skip
def test_lack_of_memory_is_not_recorded(make_video, make_job, tmp_path, monkeypatch, error):
    if error == "opencv":
        error = cv2.error("(-4:Insufficient memory) Failed to allocate 4915200 bytes")
        error.code = -4

    def fails(*args, **kwargs):
        raise error

    job = make_job(make_video(tmp_path / "v.avi", frames=2))
    monkeypatch.setattr(one_video, "encode_frames", fails)
    result = extract_video(job)
    assert (result.status, up_to_date(job)) == ("failed", None)
    assert "out of memory" in result.reason
    monkeypatch.setattr(one_video, "encode_frames", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract_video(job)


def test_a_decoder_that_fails_where_memory_is_short_is_not_believed(
    make_job, tmp_path, monkeypatch
):
    """FFmpeg says nothing of memory: it opens no video, or ends early."""
    video = tmp_path / "v.avi"
    video.write_text("no video")
    monkeypatch.setattr(one_video, "MEMORY_TO_BE_HAD", 2**62)
    job = make_job(video)
    result = extract_video(job)
    assert result.status == "failed"
    assert "memory is short" in result.reason
    assert up_to_date(job) is None


def frames_of(count, size=(4, 6)):
    return (np.full((*size, 3), n % 256, np.uint8) for n in range(count))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [[0]]),
        (2, [[0, 1]]),
        (16, [[*range(16)]]),
        (17, [[*range(16)], [15, 16]]),
        (33, [[*range(16)], [*range(15, 32)], [31, 32]]),
    ],
)
def test_chunks_share_one_frame(count, expected):
    chunks, overlaps = zip(*overlapping_chunks(frames_of(count)), strict=True)
    assert [chunk[:, 0, 0, 0].tolist() for chunk in chunks] == expected
    assert overlaps == (0, *[1] * (len(chunks) - 1))


def test_chunks_of_large_frames_are_short():
    lengths = [len(chunk) for chunk, _ in overlapping_chunks(frames_of(5, size=(1080, 1920)))]
    assert lengths == [1, 2, 2, 2, 2]


def test_a_method_gets_as_many_pixels_as_it_wants():
    lengths = [len(c) for c, _ in overlapping_chunks(frames_of(50, size=(4, 5)), pixels=419)]
    assert lengths == [20, 21, 11]
    lengths = [len(c) for c, _ in overlapping_chunks(frames_of(3, size=(4, 5)), pixels=1)]
    assert lengths == [1, 2, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_method_of_a_device_gives_the_same_file(make_video, make_job, tmp_path, threads):
    """Its flow is computed for many pairs at once, then encoded in parts."""
    job = make_job(make_video(tmp_path / "v.avi", frames=41), method="farneback")
    extract_video(job)
    expected = entry_path(job.store, "v").read_bytes()
    farneback, calls = FLOW_METHODS["farneback"], []

    def make_wide(**options):
        def flow(frames):
            calls.append(len(frames))
            return farneback(**options)(frames)

        flow.pixels_at_once = 36 * frames_pixels
        return flow

    make_wide.__signature__ = inspect.signature(farneback)
    header = StoreEntry(entry_path(job.store, "v")).header
    frames_pixels = header["size"]["width"] * header["size"]["height"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FLOW_METHODS, "farneback", make_wide)
        assert extract_video(replace(job, threads=threads)).status == "ok"
    assert calls == [36, 6]
    assert entry_path(job.store, "v").read_bytes() == expected


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_answers_come_in_the_order_of_the_items(threads):
    def slowest_first(n):
        time.sleep(0.02 / (n + 1))
        return n * n

    assert list(map_in_order(slowest_first, range(12), threads=threads)) == [
        n * n for n in range(12)
    ]


def test_never_more_busy_threads_than_allowed():
    """Making an item counts as much as working on one; two are busy at least once."""
    busy, most, lock, together = 0, 0, threading.Lock(), threading.Event()

    def work(item, *, patient=True):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
            if busy > 1:
                together.set()
        together.wait(timeout=60 * patient)
        time.sleep(0.005)
        with lock:
            busy -= 1
        return item

    items = (work(n, patient=False) for n in range(30))
    assert list(map_in_order(work, items, threads=3)) == list(range(30))
    assert 1 < most <= 3


@pytest.mark.parametrize("threads", [1, 3])
def test_error_of_an_item_reaches_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda n: 1 / n, [2, 1, 0, 1], threads=threads))


def test_items_are_not_taken_ahead_of_the_work():
    taken = []
    answers = map_in_order(lambda n: n, (taken.append(n) or n for n in range(100)), threads=4)
    assert next(answers) == 0
    assert len(taken) <= 5
    answers.close()
