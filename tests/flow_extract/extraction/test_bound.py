import numpy as np
import pytest

from flow_extract.extraction import estimate
from flow_extract.extraction.estimate import bound_of_store, choose_bound
from flow_extract.extraction.one_video import extract_video
from flow_extract.store.settings import extraction_settings
from twostream_base.errors import InputError

SETTINGS = extraction_settings("dis", {}, bound=20.0, short_side=None)


def made_up_flow(share, pixels):
    """A method: this share of the vectors is that long, to the left; the others stand still."""

    def flow(frames):
        found = np.zeros((len(frames) - 1, *frames.shape[1:3], 2), np.float32)
        rows = round(share * frames.shape[1])
        found[:, :rows, :, 0] = -pixels
        return found

    return lambda settings: flow


@pytest.fixture
def videos(make_video, tmp_path):
    return [make_video(tmp_path / f"v{n}.avi", frames=12, size=(50, 64), seed=n) for n in range(3)]


@pytest.mark.parametrize(
    ("share", "pixels", "expected"),
    [(0.0, 0, 10), (0.5, 10, 10), (0.5, 18, 20), (0.02, 35, 40), (0.5, 500, 120)],
)
def test_smallest_candidate_that_clips_almost_nothing(videos, monkeypatch, share, pixels, expected):
    monkeypatch.setattr(estimate, "make_method", made_up_flow(share, pixels))
    choice = choose_bound(videos, SETTINGS)
    assert choice.bound == expected
    assert choice.pairs == 3 * 8
    assert choice.shares == {
        candidate: (share if pixels > candidate else 0) for candidate in estimate.CANDIDATES
    }


def test_real_flow_of_slow_motion(videos):
    """The texture of `make_video` moves by (1.5, -0.5) pixels a frame."""
    assert choose_bound(videos, SETTINGS) == choose_bound(videos, SETTINGS)
    assert choose_bound(videos, SETTINGS).bound == 10


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
