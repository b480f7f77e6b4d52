"""All videos of a folder into a store: what is missing is extracted, what is up to date stays."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from flow_extract.extraction.executor import PRELOAD, available_cores, run_jobs
from flow_extract.extraction.one_video import Job, Result, extract_video
from flow_extract.extraction.resume import claim, problem_to_retry, record_outcome, up_to_date
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.check import without_progress
from flow_extract.store.locks import remove_leftovers
from flow_extract.store.manifest import rebuild_manifest
from flow_extract.video.find_videos import FoundVideos, require_videos

# The statuses of a video that has a store file.
STORED = ("ok", "damaged")
# Between two looks at the videos that another process works on.
BUSY_SECONDS = 1.0
Progress = Callable[..., Iterable[Any]]
# `executor.run_jobs`, or another function like it.
Engine = Callable[..., Generator[tuple[Job, Any], None, None]]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of an extraction.

    Attributes:
        found: the videos, and what was left out.
        extracted: results of this run.
        reused: results of earlier runs that still hold, and of others that fill the same store.
    """

    found: FoundVideos
    extracted: list[Result]
    reused: list[Result]

    def counts(self) -> dict[str, int]:
        """How many videos there are, and in which of the four ways they came out."""
        problems = self.problems()
        damaged = sum(problem.status == "damaged" for problem in problems)
        return {
            "videos": len(self.extracted) + len(self.reused) + len(self.found.refused),
            "done_now": sum(result.status == "ok" for result in self.extracted),
            "already_done": sum(result.status == "ok" for result in self.reused),
            "damaged": damaged,
            "failed": len(problems) - damaged,
        }

    def problems(self) -> list[Result]:
        """Every video that is not `ok`, sorted by name; refused ones too."""
        refused = [Result(name, "refused", why) for name, why in self.found.refused.items()]
        results = [*self.extracted, *self.reused, *refused]
        return sorted((r for r in results if r.status != "ok"), key=lambda result: result.name)


def extract_folder(
    videos: str | PathLike[str],
    store: str | PathLike[str],
    *,
    settings: dict[str, Any] | None = None,
    workers: int | None = None,
    timeout: float = 600.0,
    progress: Progress = without_progress,
    engine: Engine = run_jobs,
    retry_failed: bool = False,
    verify_checksums: bool = False,
) -> Report:
    """Bring a store up to date with the videos below a folder.

    Where there are fewer videos than cores, each is computed by several threads; workers times
    threads is never more than the cores. Videos that another process works on are waited for. Those
    that crashed or took too long in an earlier run are tried again.

    Args:
        videos: folder of videos.
        store: folder of store files; made if missing.
        settings: of `extraction_settings`; None: its defaults.
        workers: videos at one time; None: one per core.
        timeout: seconds allowed to one video.
        progress: `progress(results, total=...)` passes them through, drawing a bar or not.
        engine: runs the jobs, as `executor.run_jobs` does.
        retry_failed: also try videos again that failed before with these settings.
        verify_checksums: recognise a changed video by its sha256 too, not by size and time alone.

    Raises:
        InputError: no folder, or no video in it.
        OSError: the store cannot be written.
    """
    root, store = Path(videos), Path(store)
    settings = settings or extraction_settings()
    found = require_videos(root, store=store)
    store.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store)
    jobs: list[Job] = []
    reused: list[Result] = []
    for name, video in found.videos.items():
        job = Job(
            name,
            video.absolute(),  # it may run in any folder
            video.relative_to(root).as_posix(),
            store.absolute(),
            settings,
            verify_checksum=verify_checksums,
        )
        result = up_to_date(job)
        if result is None:
            jobs.append(job)
        elif written := problem_to_retry(job, result, retry_failed=retry_failed):
            jobs.append(replace(job, ignore_problem_from=written))
        else:
            reused.append(result)
    workers = max(1, min(workers or available_cores(), len(jobs)))
    threads = max(1, available_cores() // workers)
    # What the trial of the method has imported here is what the jobs will import.
    heavy = [name for name in ("numba", "torch", "twostream_base.vision") if name in sys.modules]
    methods = [name for name in sys.modules if name.startswith("flow_extract.methods.")]
    run = partial(
        engine,
        extract_video,
        workers=workers,
        timeout=timeout,
        preload=[*PRELOAD, *heavy, *methods],
        claim=claim,
        conclude=record_outcome,
    )
    try:
        with closing(_results([replace(job, threads=threads) for job in jobs], run)) as results:
            done = list(progress(results, total=len(jobs)))
    finally:
        remove_leftovers(store)
    rebuild_manifest(store)
    reused += [result for result in done if result.reused]
    return Report(found, [result for result in done if not result.reused], reused)


def _results(jobs: list[Job], run: Callable[..., Any]) -> Generator[Result, None, None]:
    """Yield a result for each job; those that another process works on are asked for again."""
    while jobs:
        busy = []
        with closing(run(jobs)) as results:
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
