"""Making those store files anew with which `check_store` found something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow_extract.check import Check, Finding, common_settings
from flow_extract.executor import run_jobs
from flow_extract.extract import Job, Result
from flow_extract.find_videos import find_videos
from flow_extract.manifest import rebuild_manifest
from flow_extract.plan import conclude, remove_leftovers, take_on
from flow_extract.store import entry_path, read_header
from twostream.errors import InputError

Progress = Callable[..., Iterable[Any]]
# What extracting again does not change; the last two have no video.
OTHERWISE = ("still", "damaged", "leftover", "manifest")
LEFT_ALONE = "left alone, as another process is at this video; check again when it is done"


def repair_store(
    store: Path, check: Check, *, videos: Path, workers: int, timeout: float, progress: Progress
) -> tuple[list[Result], Check]:
    """Extract again what is wrong, with the settings of most of the store.

    A video that another process is at is left alone (`busy`), and stays among the findings.

    Args:
        store: the store.
        check: what was found in it.
        videos: folder of the videos.
        workers: videos at one time.
        timeout: seconds allowed to one video.
        progress: `progress(items, total=...)` passes them through, drawing a bar or not.

    Returns:
        A result for each video that was tried, and what remains of the findings.

    Raises:
        InputError: the settings are unknown, or those of a conversion or of another OpenCV.
        OSError: the store cannot be written.
    """
    names = sorted({finding.name for finding in check.wrong() if finding.kind not in OTHERWISE})
    results: list[Result] = []
    if names:
        settings = _settings_of_most(check)
        found = find_videos(videos, store=store).videos
        jobs = [
            Job(
                name,
                found[name].absolute(),
                found[name].relative_to(videos).as_posix(),
                store.absolute(),
                settings,
                again=True,
            )
            for name in names
            if name in found
        ]
        results = [
            Result(name, "failed", f"no video of this name below {videos}")
            for name in names
            if name not in found
        ]
        run = run_jobs(take_on, jobs, workers=workers, timeout=timeout, conclude=conclude)
        with closing(run) as ended:
            results += [_stored(result) for _, result in progress(ended, total=len(jobs))]
    remove_leftovers(store)
    rebuild_manifest(store)
    return results, _remaining(store, check, results)


def _settings_of_most(check: Check) -> dict[str, Any]:
    import cv2

    settings = common_settings(check.headers)
    if "tree" in settings or "recoded_from" in settings:
        raise InputError(
            "this store was converted: remove the files that are wrong, and run convert-flow again"
        )
    if settings["opencv"] != cv2.__version__:
        raise InputError(
            f"this store was made with OpenCV {settings['opencv']}, here is {cv2.__version__}: "
            "install that one, or make the whole store anew with extract-flow"
        )
    return settings


def _stored(result: Result) -> Result:
    if result.status == "unwritable":
        raise OSError(f"{result.name} cannot be stored: {result.reason}")
    return result


def _remaining(store: Path, check: Check, results: list[Result]) -> Check:
    made = {result.name for result in results if result.status in ("ok", "damaged")}

    def remains(finding: Finding) -> bool:
        if finding.kind == "leftover":
            return (store / finding.name).exists()
        if finding.kind in OTHERWISE:
            return finding.kind != "manifest"
        return finding.name not in made

    busy = {result.name for result in results if result.status == "busy"}
    findings = [
        replace(finding, reason=f"{finding.reason}; {LEFT_ALONE}")
        if finding.name in busy
        else finding
        for finding in check.findings
        if remains(finding)
    ]
    headers = {name: read_header(entry_path(store, name)) for name in made}
    return Check(check.headers | headers, findings)
