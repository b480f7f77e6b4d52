"""Fixtures of all packages."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from flow_extract.extraction.one_video import Job
from flow_extract.extraction.settings import extraction_settings
from flow_extract.synthetic import moving_clip, smooth_texture, translation
from fusion.tables.score_file import ScoreTable, four_axes

from .faults.forks import CAN_FORK, own_folder

# How long an example takes, to make or to run, depends on how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# A shell starts what it puts in the background with interrupts ignored, and that is inherited: the
# tests that interrupt a command would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `python -m pytest` in this project."""
    parser.addoption(
        "--all-figures",
        action="store_true",
        help="check also those figures of the documents that take minutes",
    )


def pytest_configure(config: pytest.Config) -> None:
    """All processes of a run of the tests share the processes that are forked."""
    if CAN_FORK and not hasattr(config, "workerinput"):
        own_folder()


@pytest.fixture(autouse=True, scope="session")
def _a_temporary_folder_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What processes that were killed leave behind (sockets, caches) goes when the tests end.

    Not in pytest's own folder: paths of sockets must be short.
    """
    tmp_path_factory.getbasetemp()  # made beside it: what failed is kept
    folder = tempfile.mkdtemp(prefix="twostream-tests-")
    # After multiprocessing has removed its own, at -100.
    Finalize(None, shutil.rmtree, [folder, True], exitpriority=-200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_progress_of_slow_machines() -> None:
    """Lines of progress, shown after two seconds, are no part of the outputs that tests expect."""
    from twostream.commands import console

    console.LateProgress.AFTER = float("inf")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the clone; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def write_mjpg() -> Callable[[Path, np.ndarray], None]:
    """`write_mjpg(path, clip)` writes frames uint8 (T, H, W, 3) RGB as a Motion-JPEG AVI."""
    import cv2

    def write(path: Path, clip: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (clip.shape[2], clip.shape[1])
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, size)
        assert writer.isOpened()
        for frame in clip:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()

    return write


@pytest.fixture(scope="session")
def make_video(write_mjpg) -> Callable[..., Path]:
    """`make_video(path, frames=12, size=(48, 64), seed=0)` writes a moving texture as MJPG."""

    def make(path: Path, *, frames: int = 12, size: tuple[int, int] = (48, 64), seed=0) -> Path:
        texture = smooth_texture(size, rng=np.random.default_rng(seed))
        clip, _ = moving_clip(texture, [translation(1.5, -0.5)] * (frames - 1))
        write_mjpg(path, clip)
        return path

    return make


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """`make_job(video, **settings)`: the job of one video, into the store `tmp_path / "store"`."""

    def make(video: Path, *, method: str = "dis", bound: float = 20.0, short_side=None) -> Job:
        settings = extraction_settings(method, {}, bound=bound, short_side=short_side)
        return Job(video.stem, video, video.name, tmp_path / "store", settings)

    return make


@pytest.fixture(scope="session")
def make_table() -> Callable[..., ScoreTable]:
    """A factory: scores (V, C), (V, S, C) or (V, S, R, C), videos v0.., classes c0.., labels 0."""

    def make(scores: Any, *, score_type: str = "logits", **metadata: Any) -> ScoreTable:
        array = four_axes(np.asarray(scores, dtype=np.float32))
        videos, classes = array.shape[0], array.shape[3]
        return ScoreTable(
            names=tuple(metadata.pop("names", [f"v{row}" for row in range(videos)])),
            class_names=tuple(metadata.pop("class_names", [f"c{row}" for row in range(classes)])),
            scores=array,
            labels=np.array(metadata.pop("labels", [0] * videos), dtype=np.int64),
            score_type=score_type,
            metadata=metadata,
        )

    return make
