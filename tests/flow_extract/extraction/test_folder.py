import errno
import os
from dataclasses import replace

import pytest

from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.folder import (
    claim,
    extract_folder,
    problem_to_retry,
    record_outcome,
    up_to_date,
)
from flow_extract.extraction.one_video import Result, extract_video, record_problem
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.locks import locked, remove_leftovers
from flow_extract.store.reader import PROBLEM_SUFFIX, entry_path, scan_store
from twostream_base.errors import InputError

# Status and stored frames of each file, from the data's MANIFEST.csv: `failed` is what OpenCV does
# not open or decode, `damaged` what has fewer frames than it claims.
DECODER_CASES = {
    "derived/all_black_static": ("ok", 30),
    "derived/audio_only": ("failed", 0),
    "derived/avi_rawvideo_header_says_20000x20000": ("failed", 0),
    "derived/eleven_frames": ("ok", 11),
    "derived/gray_mjpeg": ("ok", 30),
    "derived/header_only_4k": ("failed", 0),
    "derived/mp4_named": ("ok", 40),
    "derived/mp4_no_moov": ("failed", 0),
    "derived/name with spaces ünï": ("ok", 11),
    "derived/odd_size_161x121": ("ok", 30),
    "derived/one_frame": ("ok", 1),
    "derived/portrait_180x320": ("ok", 30),
    "derived/rotated90_metadata": ("ok", 40),
    "derived/ten_frames": ("ok", 10),
    "derived/text_named": ("failed", 0),
    "derived/tiny_16x16": ("ok", 30),
    "derived/truncated_40pct": ("damaged", 23),
    "derived/two_frames": ("ok", 2),
    "derived/variable_frame_rate": ("ok", 33),
    "derived/zero_bytes": ("failed", 0),
    "real/decord_corrupted": ("damaged", 49),
    "real/decord_pancake": ("ok", 310),
    "real/decord_rot0": ("ok", 3),
    "real/decord_rot180": ("ok", 3),
    "real/decord_rot90": ("ok", 3),
    "real/kth_person01_jogging_d3": ("ok", 405),
    "real/moviepy_bitmap_1687B": ("ok", 5),
    "real/moviepy_no_duration": ("ok", 74),
    "real/moviepy_smpte_2997": ("ok", 251),
    "real/moviepy_zero_bytes": ("failed", 0),
    "real/torchcodec_av1": ("ok", 125),
    "real/torchcodec_h264_10bit": ("ok", 30),
    "real/torchcodec_nasa_multistream": ("ok", 325),
}


@pytest.fixture
def extract(tmp_path):
    """`extract(root, bound=20.0, short_side=None, retry_failed=False)`."""

    def run(root, *, bound=20.0, short_side=None, retry_failed=False):
        return extract_folder(
            root,
            tmp_path / "store",
            settings=extraction_settings("dis", {}, bound=bound, short_side=short_side),
            workers=2,
            timeout=60,
            retry_failed=retry_failed,
        )

    return run


@pytest.fixture
def root(make_video, tmp_path):
    """Three good videos, and one that is none."""
    for n in range(3):
        make_video(tmp_path / "videos" / f"class/v{n}.avi", frames=3, seed=n)
    (tmp_path / "videos" / "class" / "bad.avi").write_text("no video")
    return tmp_path / "videos"


def counts(report):
    names = ("videos", "done_now", "already_done", "damaged", "failed")
    return tuple(report.counts()[name] for name in names)


def test_second_run_has_nothing_to_do(extract, root, tmp_path):
    assert counts(extract(root)) == (4, 3, 0, 0, 1)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    report = extract(root)
    assert counts(report) == (4, 0, 3, 0, 1)
    assert [problem.name for problem in report.problems()] == ["class/bad"]
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_store_on_a_disk_that_is_read_alone(extract, root, make_video, monkeypatch):
    """Complete, it has nothing to do; else the video that is missing is named."""
    extract(root)
    (root / "class" / "bad.avi").unlink()

    def refuses(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for function in ("mkdir", "unlink", "replace", "rmdir", "remove"):
        monkeypatch.setattr(os, function, refuses)
    assert counts(extract(root)) == (3, 0, 3, 0, 0)
    monkeypatch.undo()
    make_video(root / "class" / "v9.avi", frames=2)
    for function in ("mkdir", "unlink", "replace", "rmdir", "remove"):
        monkeypatch.setattr(os, function, refuses)
    with pytest.raises(OSError, match=r"class/v9 cannot be stored: Read-only file system"):
        extract(root)


def test_new_and_changed_videos_are_done(extract, root, make_video, tmp_path):
    extract(root)
    make_video(root / "new.avi", frames=3)
    make_video(root / "class" / "v1.avi", frames=4)
    assert counts(extract(root)) == (5, 2, 2, 0, 1)
    assert scan_store(tmp_path / "store")["class/v1"]["counts"]["frames"] == 4


def test_other_settings_redo_all(extract, root, tmp_path):
    extract(root)
    assert counts(extract(root, bound=10.0)) == (4, 3, 0, 0, 1)
    bounds = {h["quantiser"]["bound"] for h in scan_store(tmp_path / "store").values()}
    assert bounds == {10.0}


def test_failed_video_is_tried_again_on_request_or_when_mended(extract, root, make_video):
    extract(root)
    assert [result.status for result in extract(root).extracted] == []
    assert [result.status for result in extract(root, retry_failed=True).extracted] == ["failed"]
    make_video(root / "class" / "bad.avi", frames=2)
    assert counts(extract(root)) == (4, 1, 3, 0, 0)


def test_refused_videos_count_as_failed(extract, root, make_video):
    make_video(root / "class" / "v1.mov.avi", frames=2)
    (root / "class" / "v1.mp4").touch()
    report = extract(root)
    assert counts(report) == (5, 3, 0, 0, 2)
    assert [(p.name, p.status) for p in report.problems()] == [
        ("class/bad", "failed"),
        ("class/v1", "refused"),
    ]


def test_no_videos(extract, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="no video below this folder; other files: notes.txt"):
        extract(tmp_path)
    assert not (tmp_path / "store").exists()


def test_decoder_cases(extract, shared_data, tmp_path):
    report = extract(shared_data / "decoder-cases", short_side=32)
    statuses = {result.name: result.status for result in report.extracted}
    frames = dict.fromkeys(statuses, 0) | {
        name: header["counts"]["frames"] for name, header in scan_store(tmp_path / "store").items()
    }
    assert {name: (statuses[name], frames[name]) for name in sorted(statuses)} == DECODER_CASES
    assert counts(report) == (33, 24, 0, 2, 7)


def test_tiny_videos_at_their_own_size(extract, shared_data, tmp_path):
    (tmp_path / "videos").mkdir()
    for file in ("real/moviepy_bitmap_1687B.mp4", "derived/tiny_16x16.avi"):
        source = shared_data / "decoder-cases" / file
        (tmp_path / "videos" / source.name).symlink_to(source)
    assert counts(extract(tmp_path / "videos")) == (2, 2, 0, 0, 0)
    sizes = [tuple(h["size"].values()) for h in scan_store(tmp_path / "store").values()]
    assert sorted(sizes) == [(1, 1), (16, 16)]


def take_on(job):
    """What an executor does with a job."""
    with claim(job) as result:
        return result or extract_video(job)


@pytest.fixture
def job(make_video, make_job, tmp_path):
    (tmp_path / "store").mkdir()
    return make_job(make_video(tmp_path / "v.avi", frames=2))


def test_new_video_is_to_be_done(job):
    assert up_to_date(job) is None


def test_stored_video_is_reused(job):
    extract_video(job)
    assert up_to_date(job) == Result("v", "ok", reused=True)


def test_problem_is_reused(job):
    record_problem(job, status="timeout", reason="after 5 s")
    assert up_to_date(job) == Result("v", "timeout", "after 5 s", reused=True)


def test_changed_video_or_settings_are_to_be_done(job, make_job):
    extract_video(job)
    assert up_to_date(make_job(job.video, bound=10.0)) is None
    os.utime(job.video, ns=(0, 10**18))
    assert up_to_date(job) is None


def test_unreadable_files_are_done_again(job):
    extract_video(job)
    entry_path(job.store, "v").write_bytes(b"half")
    assert up_to_date(job) is None
    entry_path(job.store, "v", PROBLEM_SUFFIX).write_text("{")
    assert up_to_date(job) is None


def test_of_two_files_the_one_that_counts_stays(job, make_job):
    extract_video(job)
    entry_path(job.store, "v", PROBLEM_SUFFIX).write_text("{}")
    assert up_to_date(job).status == "ok"
    assert not entry_path(job.store, "v", PROBLEM_SUFFIX).exists()

    content = entry_path(job.store, "v").read_bytes()
    other = make_job(job.video, bound=10.0)
    record_problem(other, status="failed", reason="no")
    entry_path(job.store, "v").write_bytes(content)
    assert up_to_date(other).status == "failed"
    assert not entry_path(job.store, "v").exists()


def test_sly_change_of_a_video_is_found_by_its_content(job):
    extract_video(job)
    data, written = job.video.read_bytes(), job.video.stat().st_mtime_ns
    job.video.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(job.video, ns=(written, written))
    assert up_to_date(job) is not None
    assert up_to_date(replace(job, verify_checksum=True)) is None
    job.video.unlink()
    assert up_to_date(replace(job, verify_checksum=True)) is None


def test_taking_on_extracts_once(job):
    assert take_on(job) == Result("v", "ok")
    assert take_on(job) == Result("v", "ok", reused=True)
    remove_leftovers(job.store)
    assert [path.name for path in job.store.iterdir()] == ["v.safetensors"]


def test_what_another_process_is_at_is_busy(job):
    with locked(job.store, "v"):
        assert take_on(job) == Result("v", "busy")
    assert take_on(job) == Result("v", "ok")


def test_store_that_is_not_seen_here_is_not_made(job):
    job.store.rmdir()
    result = take_on(job)
    assert result.status == "unwritable"
    assert str(job.store) in result.reason
    assert not job.store.exists()


def test_store_that_cannot_be_written(job, monkeypatch):
    def full(path, *_, **__):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "mkdir", full)
    folder = job.store / ".locks"
    assert take_on(job) == Result("v", "unwritable", f"No space left on device: {folder}")
    assert list(job.store.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("raised", "failed"), ("crashed", "crashed"), ("timeout", "timeout"), ("lost", "crashed")],
)
def test_end_of_a_process_is_recorded(job, outcome, status):
    result = record_outcome(job, Outcome(outcome, reason="why"))
    assert result == Result("v", status, "why")
    assert up_to_date(job) == replace(result, reused=True)


def test_value_of_a_job_is_its_result(job):
    assert record_outcome(job, Outcome("returned", Result("v", "ok"))) == Result("v", "ok")


@pytest.mark.parametrize(
    ("status", "retry_failed", "again"),
    [
        ("failed", False, False),
        ("failed", True, True),
        ("crashed", False, True),
        ("timeout", False, True),
    ],
)
def test_which_problems_are_tried_again(job, status, retry_failed, again):
    record_problem(job, status=status, reason="why")
    found = up_to_date(job)
    written = problem_to_retry(job, found, retry_failed=retry_failed)
    assert (written is not None) == again
    assert (up_to_date(replace(job, ignore_problem_from=written)) is None) == again


def test_problem_that_another_process_has_just_met_again_is_not_tried_again(job):
    record_problem(job, status="crashed", reason="before")
    written = problem_to_retry(job, up_to_date(job), retry_failed=False)
    os.utime(entry_path(job.store, "v", PROBLEM_SUFFIX), ns=(0, written + 1))
    assert up_to_date(replace(job, ignore_problem_from=written)).status == "crashed"


def test_a_fault_of_cuda_is_not_the_videos(job):
    outcome = Outcome("raised", None, "AcceleratorError: CUDA error: an illegal memory access")
    result = record_outcome(job, outcome)
    assert (result.status, "tried again next time" in result.reason) == ("failed", True)
    assert not list(job.store.glob(f"*{PROBLEM_SUFFIX}"))


def digests(store):
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*.safetensors")}


def test_store_files_of_a_renamed_class_are_copied(make_video, tmp_path):
    for name in ("walk/a", "walk/b", "run/a"):
        make_video(tmp_path / "videos" / f"{name}.avi", frames=4, seed=len(name) + ord(name[-1]))
    videos, store = tmp_path / "videos", tmp_path / "store"
    extract_folder(videos, store)
    (videos / "walk").rename(videos / "walking")
    make_video(videos / "walking" / "b.avi", frames=5, seed=7)  # another one under this name
    extract_folder(videos, tmp_path / "new")
    report = extract_folder(videos, store)
    assert report.moved() == {"walk/a": "walking/a"}
    assert [result.name for result in report.extracted] == ["walking/b"]
    assert report.counts()["already_done"] == 2
    files = digests(store)
    assert files.pop("walk/a.safetensors")  # they stay; another root may know them by that name
    assert files.pop("walk/b.safetensors")
    assert files == digests(tmp_path / "new")
    assert extract_folder(videos, store).moved() == {}


def test_another_root_takes_no_store_file_away(make_video, tmp_path):
    """Below `walk` the video is named `a`; lists that name it `walk/a` go on."""
    make_video(tmp_path / "videos" / "walk" / "a.avi", frames=4)
    store = tmp_path / "store"
    extract_folder(tmp_path / "videos", store)
    before = digests(store)["walk/a.safetensors"]
    assert extract_folder(tmp_path / "videos" / "walk", store).moved() == {"walk/a": "a"}
    assert digests(store)["walk/a.safetensors"] == before
    assert extract_folder(tmp_path / "videos", store).counts()["already_done"] == 1


@pytest.mark.parametrize("change", ["content", "settings", "still there", "damaged"])
def test_only_the_store_file_of_the_very_video_is_copied(make_video, tmp_path, change):
    videos, store = tmp_path / "videos", tmp_path / "store"
    video = make_video(videos / "walk" / "a.avi", frames=4)
    extract_folder(videos, store)
    new, time = videos / "walking" / "a.avi", video.stat().st_mtime_ns
    new.parent.mkdir()
    new.write_bytes(video.read_bytes())
    if change != "still there":
        video.unlink()
    if change == "content":
        data = bytearray(new.read_bytes())
        data[len(data) // 2] ^= 1
        new.write_bytes(data)
    os.utime(new, ns=(time, time))
    entry = entry_path(store, "walk/a")
    if change == "damaged":
        data = bytearray(entry.read_bytes())
        data[-9] ^= 1
        entry.write_bytes(data)
    bound = 7 if change == "settings" else 20
    report = extract_folder(videos, store, settings=extraction_settings(bound=bound))
    assert report.moved() == {}
    assert "walking/a" in [result.name for result in report.extracted]
    assert entry.exists()
