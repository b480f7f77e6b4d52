"""All videos of a folder into a store: what is missing is extracted, what is up to date stays."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from flow_extract.extraction.executor import PRELOAD, Engine, Outcome, available_cores, run_jobs
from flow_extract.extraction.one_video import (
    Job,
    Result,
    count_results,
    extract_video,
    record_problem,
    result_of,
    unrecorded,
    unwritable,
)
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.check import Progress, without_progress
from flow_extract.store.header import (
    frame_settings,
    is_current,
    is_same_source,
    recorded_settings,
    settings_hash,
)
from flow_extract.store.locks import locked, remove_leftovers
from flow_extract.store.manifest import read_problem, rebuild_manifest
from flow_extract.store.reader import (
    PROBLEM_SUFFIX,
    StoreEntry,
    entry_path,
    entry_paths,
    read_header,
)
from flow_extract.store.writer import copy_entry
from flow_extract.video.find_videos import FoundVideos, require_videos
from flow_extract.video.frames import VideoError
from flow_extract.video.pictures import content_sha256
from twostream_base.errors import InputError

# The statuses of a video that has a store file.
STORED = ("ok", "damaged")
# What a video is not to blame for: the machine may have been out of memory, or too slow.
TRIED_AGAIN = ("crashed", "timeout")
# Between two looks at the videos that another process works on.
BUSY_SECONDS = 1.0


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
        """See `count_results`; refused videos are among the failed ones.

        With the `frames` of all store files, and how many of the videos are `repeated`.
        """
        results = self._all()
        frames, repeated = (sum(getattr(r, key) for r in results) for key in ("frames", "repeated"))
        return count_results(results) | {"frames": frames, "repeated": repeated}

    def moved(self) -> dict[str, str]:
        """Old name -> new name of store files that went with their videos, in order of the new."""
        moved = [result for result in self.reused if result.moved_from]
        return {r.moved_from: r.name for r in sorted(moved, key=lambda result: result.name)}

    def problems(self) -> list[Result]:
        """Every video that is not `ok`, sorted by name; refused ones too."""
        return sorted((r for r in self._all() if r.status != "ok"), key=lambda result: result.name)

    def _all(self) -> list[Result]:
        refused = [Result(name, "refused", why) for name, why in self.found.refused.items()]
        return [*self.extracted, *self.reused, *refused]


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
    device: str | None = None,
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
        timeout: seconds without progress (a frame decoded, a pair computed) that end a video.
        progress: `progress(results, total=...)` passes them through, drawing a bar or not.
        engine: runs the jobs, as `executor.run_jobs` does.
        retry_failed: also try videos again that failed before with these settings.
        device: where flow is computed, for a method that has a choice; the settings must be made
            with it. On any but the CPU, and where there is no flow, a process stays for all videos
            that it is given.
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
            device=device,
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
    moved = find_moved(jobs, found, root)
    jobs = [replace(job, threads=threads, moved_from=moved.get(job.name)) for job in jobs]
    # What the trial of the method has imported here is what the jobs will import.
    heavy = [name for name in ("numba", "torch", "twostream_base.vision") if name in sys.modules]
    methods = [name for name in sys.modules if name.startswith("flow_extract.methods.")]
    run = partial(
        engine,
        reuse_or_extract,
        workers=workers,
        timeout=timeout,
        preload=[*PRELOAD, *heavy, *methods],
        claim=claim,
        conclude=record_outcome,
        # A context on a device takes seconds; and without flow a start is much of the work.
        lasting=device not in (None, "cpu") or settings["method"] is None,
    )
    try:
        with closing(_results(jobs, run)) as results:
            done = list(progress(results, total=len(jobs)))
    finally:
        remove_leftovers(store)
    try:
        rebuild_manifest(store)
    except OSError:  # nothing was done: then an index that is old or absent is no loss
        if jobs:
            raise
    reused += [result for result in done if result.reused]
    return Report(found, [result for result in done if not result.reused], reused)


def _results(jobs: list[Job], run: Callable[..., Any]) -> Generator[Result, None, None]:
    """Yield a result for each job; those that another process works on are asked for again."""
    while jobs:
        busy = []
        with closing(run(jobs)) as results:
            for job, result in results:
                if result.status == "unwritable":
                    raise OSError(
                        f"{job.name} cannot be stored: {result.reason}; mend that, and run the "
                        "same command again: what is stored stays"
                    )
                if result.status == "busy":
                    busy.append(job)
                else:
                    yield result
        jobs = busy
        if jobs:
            time.sleep(BUSY_SECONDS)


def up_to_date(job: Job) -> Result | None:
    """What an earlier run made of a video, or None if it is to be extracted.

    A store file or problem file counts when it is of these settings and of the same video file
    (path, size and time of change; with `job.verify_checksum` also sha256). Where frames alone are
    asked for, a store file that has them and flow counts too. Of a video with both kinds of file,
    the one that does not count is removed.
    """
    source = job.source()
    header = _read(read_header, job.path())
    if header and suffices(header, job.settings) and is_same_source(header, source):
        verified = not job.verify_checksum
        with suppress(OSError, VideoError):  # unreadable now; extraction will say why
            verified = verified or content_sha256(job.video) == header["source"].get("sha256")
        if verified:
            problem = job.path(PROBLEM_SUFFIX)
            if problem.exists():  # a store that is whole may be on a disk that is read alone
                problem.unlink(missing_ok=True)
            return result_of(job.name, header, reused=True)
    record = _read(read_problem, job.path(PROBLEM_SUFFIX))
    if record and is_current(record, settings_hash=settings_hash(job.settings), source=source):
        if job.path(PROBLEM_SUFFIX).stat().st_mtime_ns == job.ignore_problem_from:
            return None
        job.path().unlink(missing_ok=True)
        return Result(job.name, record["status"], record["reason"], reused=True)
    return None


def suffices(header: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a store file is of these settings, or has the frames where these are all."""
    frames = settings["method"] is None and frame_settings(recorded_settings(header))
    return header["settings_hash"] == settings_hash(settings) or frames == frame_settings(settings)


def reuse_or_extract(job: Job) -> Result:
    """Bring the store file of one video up to date, with what earlier runs have left of it.

    A store file of a former name is copied. Where the store file has the frames that these settings
    give, and other flow or none, the frames stay as they are.
    """
    if job.moved_from and (result := take_over(job, job.moved_from)):
        return result
    return extract_video(job, stored=stored_frames(job))


def take_over(job: Job, old: str) -> Result | None:
    """Copy the store file of the name `old` for a video with the same content; nothing is decoded.

    None where it is of another video, or damaged: then this one is extracted.
    """
    source = job.source()
    try:
        entry = StoreEntry(entry_path(job.store, old))
        source["sha256"] = content_sha256(job.video)
        if entry.header["source"].get("sha256") != source["sha256"]:
            return None
    except (InputError, VideoError, OSError):  # extraction says what is wrong with the video
        return None
    try:
        copy_entry(entry, job.store, job.name, source=source)
        job.path(PROBLEM_SUFFIX).unlink(missing_ok=True)
    except InputError:
        return None
    except OSError as error:
        return unwritable(job, error)
    return result_of(job.name, entry.header, reused=True, moved_from=old)


def stored_frames(job: Job) -> StoreEntry | None:
    """The store file of this very video with the frames that the job's settings give.

    None where there is none that is whole, or where its flow is of these settings too: then there
    is a reason to make it again.
    """
    with suppress(InputError):  # missing or damaged
        entry = StoreEntry(job.path())
        old = recorded_settings(entry.header)
        same = old != job.settings and frame_settings(old) == frame_settings(job.settings)
        if same and is_same_source(entry.header, job.source()) and not entry.changed_arrays():
            return entry
    return None


def find_moved(jobs: Sequence[Job], found: FoundVideos, root: Path) -> dict[str, str]:
    """Name of a video to extract -> name of a store file that seems to be of the same video.

    A class that is renamed gives its videos other names. Their file names, sizes and times of
    change stay; and where they were there is no video any more.
    """

    def file_name(name: str) -> str:
        return name.rpartition("/")[2]

    def key_of(name: str, source: Mapping[str, Any]) -> tuple[Any, ...]:
        return file_name(name), source.get("size"), source.get("mtime_ns"), source.get("names")

    files = {file_name(job.name) for job in jobs}
    there = found.videos.keys() | found.refused.keys()
    stored: dict[tuple[Any, ...], str] = {}
    for name, path in entry_paths(jobs[0].store).items() if jobs else ():
        if file_name(name) not in files or name in there:
            continue
        header = _read(read_header, path)
        if not header or header["name"] != name or not suffices(header, jobs[0].settings):
            continue
        if not os.path.lexists(root / str(header["source"].get("path"))):
            stored[key_of(name, header["source"])] = name
    moved = {}
    for job in jobs:
        source = job.source()
        key = key_of(job.name, source)
        if key in stored and source["size"] is not None:
            moved[job.name] = stored.pop(key)
    return moved


def problem_to_retry(job: Job, result: Result, *, retry_failed: bool) -> int | None:
    """The value of `Job.ignore_problem_from` if this earlier result is to be tried again."""
    if result.status in TRIED_AGAIN or (retry_failed and result.status == "failed"):
        try:
            return job.path(PROBLEM_SUFFIX).stat().st_mtime_ns
        except FileNotFoundError:
            return None
    return None


@contextmanager
def claim(job: Job) -> Iterator[Result | None]:
    """Hold the lock of a video for the length of the block.

    Yields:
        None if the video is to be extracted; else why not: its result where somebody else has done
        it (`reused`), `busy` where somebody works on it, `unwritable` where there can be no lock.
    """
    with ExitStack() as stack:
        try:
            if not job.store.is_dir():
                reason = "this machine does not see it"
                raise FileNotFoundError(errno.ENOENT, reason, str(job.store))
            mine = stack.enter_context(locked(job.store, job.name))
            result = up_to_date(job) if mine else Result(job.name, "busy")
        except OSError as error:
            result = unwritable(job, error)
        yield result


def record_outcome(job: Job, outcome: Outcome) -> Result:
    """The result of `reuse_or_extract`; the death of its process is recorded in the store."""
    if outcome.status == "returned":
        result: Result = outcome.value
        return result
    if outcome.status == "raised" and "CUDA error" in outcome.reason:
        return unrecorded(job, outcome.reason)
    status = {"raised": "failed", "lost": "crashed"}.get(outcome.status, outcome.status)
    return record_problem(job, status=status, reason=outcome.reason)


def _read(read: Callable[[Path], Mapping[str, Any]], path: Path) -> Mapping[str, Any] | None:
    """A record, or None where there is none or it is damaged: the video is then extracted again."""
    try:
        return read(path) if path.exists() else None
    except InputError:
        return None
