"""All videos of a folder into a store: what is missing is done, what is there is recognised."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from flow_extract.extraction.executor import PRELOAD, available_cores, run_jobs
from flow_extract.extraction.one_video import Job, Result, extract_video
from flow_extract.extraction.resume import (
    claim,
    conclude,
    problem_to_retry,
    remove_leftovers,
    settled_result,
)
from flow_extract.store.manifest import rebuild_manifest
from flow_extract.video.find_videos import FoundVideos, find_videos
from twostream_base.errors import InputError, some_of

# The statuses of a video that has a store file.
STORED = ("ok", "damaged")
# Between two looks at the videos that another process is at.
BUSY_SECONDS = 1.0
Progress = Callable[..., Iterable[Any]]
# `executor.run_jobs`, or another function like it.
Engine = Callable[..., Generator[tuple[Job, Any], None, None]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found and made.

    Attributes:
        found: the videos, and what was left out.
        done: results of this run.
        settled: results of earlier runs that still hold, and of others at work on the same store.
    """

    found: FoundVideos
    done: list[Result]
    settled: list[Result]

    def counts(self) -> dict[str, int]:
        """How many videos there are, and in which of the four ways they came out."""
        problems = self.problems()
        damaged = sum(problem.status == "damaged" for problem in problems)
        return {
            "videos": len(self.done) + len(self.settled) + len(self.found.refused),
            "done_now": sum(result.status == "ok" for result in self.done),
            "already_done": sum(result.status == "ok" for result in self.settled),
            "damaged": damaged,
            "failed": len(problems) - damaged,
        }

    def problems(self) -> list[Result]:
        """Every video that is not `ok`, sorted by name; refused ones too."""
        refused = [Result(name, "refused", why) for name, why in self.found.refused.items()]
        results = [*self.done, *self.settled, *refused]
        return sorted((r for r in results if r.status != "ok"), key=lambda result: result.name)


def extract_folder(
    root: Path,
    store: Path,
    *,
    settings: dict[str, Any],
    workers: int,
    timeout: float,
    progress: Progress,
    engine: Engine = run_jobs,
    retry_failed: bool = False,
    deep: bool = False,
) -> Report:
    """Bring the store up to date with the videos below `root`.

    Where there are fewer videos than cores, each is computed by several threads; workers times
    threads is never more than the cores. Videos that another process is at are waited for. Those
    that crashed or took too long in an earlier run are tried again.

    Args:
        root: folder of videos.
        store: folder of store files; made if missing.
        settings: of `settings.extraction_settings`.
        workers: videos at one time.
        timeout: seconds allowed to one video.
        progress: `progress(results, total=...)` passes them through, drawing a bar or not.
        engine: runs the jobs, as `executor.run_jobs` does.
        retry_failed: also try videos again that failed before with these settings.
        deep: recognise a changed video by its sha256 too, not by size and time alone.

    Raises:
        InputError: no folder, or no video in it.
        OSError: the store cannot be written.
    """
    found = videos_below(root, store=store)
    store.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store)
    jobs, settled = _split(_all_jobs(found, root, store, settings, deep), retry_failed=retry_failed)
    workers = max(1, min(workers, len(jobs)))
    threads = max(1, available_cores() // workers)
    jobs = [replace(job, threads=threads) for job in jobs]
    run = partial(
        engine,
        workers=workers,
        timeout=timeout,
        preload=_modules(),
        claim=claim,
        conclude=conclude,
    )
    try:
        with closing(_results(jobs, run)) as results:
            done = list(progress(results, total=len(jobs)))
    finally:
        remove_leftovers(store)
    rebuild_manifest(store)
    settled += [result for result in done if result.settled]
    return Report(found, [result for result in done if not result.settled], settled)


def videos_below(root: Path, *, store: Path) -> FoundVideos:
    """As `find_videos`, but an error where there is none."""
    found = find_videos(root, store=store)
    if not found.videos and not found.refused:
        others = f"; other files: {some_of(found.ignored)}" if found.ignored else ""
        raise InputError(f"{root}: no video below this folder{others}")
    return found


def _all_jobs(
    found: FoundVideos, root: Path, store: Path, settings: dict[str, Any], deep: bool
) -> list[Job]:
    """A job for each video; its paths are absolute, as it may run anywhere."""
    return [
        Job(
            name,
            video.absolute(),
            video.relative_to(root).as_posix(),
            store.absolute(),
            settings,
            deep=deep,
        )
        for name, video in found.videos.items()
    ]


def _split(jobs: list[Job], *, retry_failed: bool) -> tuple[list[Job], list[Result]]:
    """Jobs that are to be done, and results of the others."""
    waiting, settled = [], []
    for job in jobs:
        result = settled_result(job)
        if result is None:
            waiting.append(job)
        elif (retry_of := problem_to_retry(job, result, retry_failed=retry_failed)) is not None:
            waiting.append(replace(job, retry_of=retry_of))
        else:
            settled.append(result)
    return waiting, settled


def _results(jobs: list[Job], run: Callable[..., Any]) -> Generator[Result, None, None]:
    """Yield a result for each job; those that another process is at are asked for again."""
    while jobs:
        busy = []
        with closing(run(extract_video, jobs)) as results:
            for job, result in results:
                if result.status == "unwritable":
                    raise OSError(f"{job.name} cannot be stored: {result.reason}")
                if result.status == "busy":
                    busy.append(job)
                else:
                    yield result
        jobs = busy
        if jobs:
            time.sleep(BUSY_SECONDS)


def _modules() -> list[str]:
    """What jobs import: as far as the trial of the method has shown it, in this process."""
    heavy = [name for name in ("numba", "torch", "twostream_base.vision") if name in sys.modules]
    return [*PRELOAD, *heavy, *(m for m in sys.modules if m.startswith("flow_extract.methods."))]
