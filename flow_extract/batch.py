"""All videos of a folder into a store: what is missing is done, what is there is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_extract.executor import Outcome, run_jobs
from flow_extract.extract import Job, Result, extract_video, record_problem
from flow_extract.find_videos import FoundVideos, find_videos
from flow_extract.manifest import rebuild_manifest
from flow_extract.plan import remove_leftovers, settled_result
from twostream.errors import InputError, some_of

# The statuses of a video that has a store file.
STORED = ("ok", "damaged")
Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found and made.

    Attributes:
        found: the videos, and what was left out.
        done: results of this run.
        settled: results of earlier runs that still hold.
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
    retry_failed: bool,
    progress: Progress,
) -> Report:
    """Bring the store up to date with the videos below `root`.

    Args:
        root: folder of videos.
        store: folder of store files; made if missing.
        settings: of `settings.extraction_settings`.
        workers: videos at one time.
        timeout: seconds allowed to one video.
        retry_failed: try videos again that failed before with these settings.
        progress: `progress(results, total=...)` passes them through, drawing a bar or not.

    Raises:
        InputError: no folder, or no video in it.
        OSError: the store cannot be written.
    """
    found = find_videos(root, store=store)
    if not found.videos and not found.refused:
        others = f"; other files: {some_of(found.ignored)}" if found.ignored else ""
        raise InputError(f"{root}: no video below this folder{others}")
    store.mkdir(parents=True, exist_ok=True)
    remove_leftovers(store)
    jobs, settled = [], []
    for name, video in found.videos.items():
        job = Job(name, video, video.relative_to(root).as_posix(), store, settings)
        result = settled_result(job)
        if result is None or (retry_failed and result.status not in STORED):
            jobs.append(job)
        else:
            settled.append(result)
    with closing(run_jobs(extract_video, jobs, workers=workers, timeout=timeout)) as outcomes:
        done = [_result(job, outcome) for job, outcome in progress(outcomes, total=len(jobs))]
    rebuild_manifest(store)
    return Report(found, done, settled)


def _result(job: Job, outcome: Outcome) -> Result:
    if outcome.status == "returned":
        if outcome.value.status == "unwritable":
            raise OSError(f"{job.name} cannot be stored: {outcome.value.reason}")
        return outcome.value
    status = "failed" if outcome.status == "raised" else outcome.status
    record_problem(job, status=status, reason=outcome.reason)
    return Result(job.name, status, outcome.reason)
