from pathlib import Path

import cv2
import numpy as np
import pytest

from flow_extract.extraction import estimate
from flow_extract.extraction.estimate import (
    Amount,
    bound_of_store,
    by_size,
    choose_bound,
    estimate_methods,
    first_clips,
    measure_amount,
    one_thread,
)
from flow_extract.extraction.one_video import extract_video
from flow_extract.extraction.settings import extraction_settings
from twostream_base.errors import InputError


def settings(method="dis", *, short_side=None):
    return extraction_settings(method, {}, bound=20.0, short_side=short_side)


@pytest.fixture
def videos(make_video, tmp_path):
    """Six videos of 5 to 10 frames of 48 x 64, and one that is none."""
    paths = [make_video(tmp_path / f"v{n}.avi", frames=5 + n, seed=n) for n in range(6)]
    broken = tmp_path / "broken.avi"
    broken.write_text("no video")
    return [*paths, broken]


def test_by_size_spreads_from_the_smallest_to_the_largest(tmp_path):
    paths = [tmp_path / f"{size}" for size in (50, 10, 40, 20, 30)]
    for path in paths:
        path.write_bytes(b"x" * int(path.name))
    assert [path.name for path in by_size(paths, 3)] == ["10", "30", "50"]
    assert [path.name for path in by_size(paths, 9)] == ["10", "20", "30", "40", "50"]
    assert [path.name for path in by_size(paths, 1)] == ["10"]


def test_amount_is_exact_where_all_headers_are_read(videos):
    amount = measure_amount(videos, short_side=None)
    frames = 5 + 6 + 7 + 8 + 9 + 10
    assert (amount.videos, amount.frames, amount.pixels) == (7, frames, frames * 48 * 64)
    assert measure_amount(videos, short_side=24).pixels == frames * 24 * 32


def test_amount_of_unread_videos_goes_by_their_size(videos, monkeypatch):
    monkeypatch.setattr(estimate, "PROBED", 4)
    assert measure_amount(videos, short_side=None).frames == pytest.approx(45, rel=0.2)


def test_plan_agrees_with_what_extraction_then_stores(shared_data):
    clips = sorted((shared_data / "ucf101-clips" / "videos").glob("*/*.avi"))[:4]
    plan = estimate_methods(clips, {"dis": settings(short_side=60)}, workers=1)
    (row,) = plan["methods"]
    assert (plan["videos"], plan["jobs"]) == (4, 1)
    assert row["files"] == 5
    assert 0 < row["hours"] < 1
    frames = sum(int(cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT)) for clip in clips)
    assert plan["frames"] == frames
    # A frame of 80 x 60 as JPEG 95, with its flow: some thousand bytes.
    assert 1e3 < row["gigabytes"] * 1e9 / frames < 2e4


def test_slower_method_takes_longer_and_jobs_shorten(videos):
    clips = first_clips(videos, short_side=None)
    amount = measure_amount(videos, short_side=None)

    def hours(method, threads):
        return estimate.estimate(settings(method), clips, amount, threads=threads)["hours"]

    assert hours("dis", 4) < hours("dis", 1)


def test_clips_leave_out_what_has_no_two_frames(make_video, videos, tmp_path):
    single = make_video(tmp_path / "single.avi", frames=1)
    clips = first_clips([single, videos[-1], videos[0]], short_side=24)
    assert [clip.frames.shape for clip in clips] == [(5, 24, 32, 3)]
    with pytest.raises(InputError, match="none of the videos that were tried has two frames"):
        first_clips([single, videos[-1]], short_side=None)


def test_nothing_readable(videos):
    with pytest.raises(InputError, match="none of 1 videos that were tried can be read"):
        measure_amount([videos[-1]], short_side=None)


def test_slow_method_is_judged_by_one_pair(monkeypatch):
    monkeypatch.setattr(estimate, "LONGEST_TRIAL_SECONDS", -1.0)
    seen = []

    def flow(frames):
        seen.append(len(frames))
        return np.zeros((len(frames) - 1, *frames.shape[1:3], 2), np.float32)

    clip = estimate.TimedClip(np.zeros((9, 32, 32, 3), np.uint8), decoding=0.0)
    monkeypatch.setattr(estimate, "recorded_method", lambda settings, device: flow)
    amount = Amount(videos=1, frames=9, pixels=9 * 32 * 32, opening=0.0)
    estimate.estimate(settings(), [clip], amount, threads=1)
    assert seen == [2]


def test_one_thread_is_for_a_while():
    before = cv2.getNumThreads()
    with one_thread():
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
    assert Path(estimate.__file__).exists()


SETTINGS = extraction_settings("dis", {}, bound=20.0, short_side=None)


def made_up_flow(share, pixels):
    """A method: this share of the vectors is that long, to the left; the others stand still."""

    def flow(frames):
        found = np.zeros((len(frames) - 1, *frames.shape[1:3], 2), np.float32)
        rows = round(share * frames.shape[1])
        found[:, :rows, :, 0] = -pixels
        return found

    return lambda settings, device: flow


@pytest.fixture
def moving_videos(make_video, tmp_path):
    return [make_video(tmp_path / f"v{n}.avi", frames=12, size=(50, 64), seed=n) for n in range(3)]


@pytest.mark.parametrize(
    ("share", "pixels", "expected"),
    [(0.0, 0, 10), (0.5, 10, 10), (0.5, 18, 20), (0.02, 35, 40), (0.5, 500, 120)],
)
def test_smallest_bound_that_clips_almost_nothing(
    moving_videos, monkeypatch, share, pixels, expected
):
    monkeypatch.setattr(estimate, "recorded_method", made_up_flow(share, pixels))
    choice = choose_bound(moving_videos, SETTINGS)
    assert choice.bound == expected
    assert choice.pairs == 3 * 8
    assert choice.shares == {bound: (share if pixels > bound else 0) for bound in estimate.BOUNDS}


def test_real_flow_of_slow_motion(moving_videos):
    """The texture of `make_video` moves by (1.5, -0.5) pixels a frame."""
    assert choose_bound(moving_videos, SETTINGS) == choose_bound(moving_videos, SETTINGS)
    assert choose_bound(moving_videos, SETTINGS).bound == 10


def test_short_and_broken_videos(make_video, tmp_path):
    (tmp_path / "broken.avi").write_text("no video")
    single = make_video(tmp_path / "single.avi", frames=1)
    with pytest.raises(InputError, match="none of the videos that were tried has two frames"):
        choose_bound([single, tmp_path / "broken.avi"], SETTINGS)
    two = make_video(tmp_path / "two.avi", frames=2)
    assert choose_bound([single, two], SETTINGS).pairs == 1


def test_store_that_has_been_begun_keeps_its_bound(make_video, make_job, tmp_path):
    job = make_job(make_video(tmp_path / "v.avi", frames=2), bound=40.0)
    assert bound_of_store(job.store, SETTINGS) is None
    extract_video(job)
    assert bound_of_store(job.store, SETTINGS) == 40.0
    other = extraction_settings("farneback", {}, bound=20.0, short_side=None)
    assert bound_of_store(job.store, other) is None
