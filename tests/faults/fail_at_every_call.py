"""A fault at the Nth file operation, for every N: the old state or the new one, never mixed.

python tests/faults/fail_at_every_call.py --step 1
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
from scene import digests, expect, leftovers, write_video

from flow_extract.extraction.folder import claim
from flow_extract.extraction.one_video import Job, extract_video
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.locks import remove_leftovers
from flow_extract.store.manifest import rebuild_manifest

FAULTS = ("error", "exit")


class Counter:
    """Counts file operations below a folder; at number `n` there is a fault."""

    def __init__(self, n: int, fault: str, folder: Path) -> None:
        self.count, self.n, self.fault, self.folder = 0, n, fault, str(folder)

    def tick(self, path: object = "") -> None:
        if str(path).startswith(self.folder):
            self.count += 1
            if self.count == self.n:
                if self.fault == "exit":
                    os._exit(9)
                raise OSError(errno.EIO, "Input/output error", str(path))


class Writing:
    """A stream whose writes count."""

    def __init__(self, stream: Any, path: object, counter: Counter) -> None:
        self.stream, self.path, self.counter = stream, path, counter

    def write(self, data: bytes) -> int:
        self.counter.tick(self.path)
        return self.stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()


def instrument(counter: Counter) -> None:
    """Count open, write, fsync, rename and unlink of this process."""
    for name in ("open", "replace", "unlink"):
        setattr(os, name, counting(getattr(os, name), counter))
    plain_open, plain_fsync = io.open, os.fsync

    def opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        counter.tick(path)
        stream = plain_open(path, mode, *rest, **more)
        below = str(path).startswith(counter.folder)
        return Writing(stream, path, counter) if below and set("wax") & set(mode) else stream

    def synced(handle: int) -> None:
        counter.tick(os.readlink(f"/proc/self/fd/{handle}"))
        plain_fsync(handle)

    io.open, os.fsync = opened, synced


def counting(function: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    def counted(path: Any, *rest: Any, **more: Any) -> Any:
        counter.tick(path)
        return function(path, *rest, **more)

    return counted


def attempt(job: Job, n: int, fault: str) -> int:
    """Do a job and the manifest in a process of its own; 0: all went well, without a fault."""
    pid = os.fork()
    if pid == 0:
        counter = Counter(n, fault, job.store)
        instrument(counter)
        try:
            with claim(job) as earlier:
                result = earlier or extract_video(job)
            rebuild_manifest(job.store)
            os._exit(0 if result.status == "ok" and counter.count < n else 1)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: Path, step: int) -> None:
    """From a store with old settings to one with new ones, with a fault at every `step`th call."""
    cv2.setNumThreads(1)  # threads do not survive the fork
    video = write_video(folder / "v.avi", frames=4)
    old, new = (
        Job("v", video, video.name, folder / "store", settings)
        for settings in (extraction_settings("dis", {}, bound=b, short_side=None) for b in (20, 10))
    )
    (folder / "store").mkdir()
    # What this loads late and compiles, each of the forks would have to for itself.
    extract_video(replace(new, store=folder / "first"))
    wanted = {}
    for job in (new, old):
        expect(attempt(job, 10**9, "exit") == 0, "the undisturbed run")
        wanted[id(job)] = digests(job.store)
    either = {wanted[id(job)]["v.safetensors"] for job in (old, new)}
    shutil.copytree(old.store, folder / "old state")
    points = 0
    for fault in FAULTS:
        n = 1
        while True:
            shutil.rmtree(old.store)
            shutil.copytree(folder / "old state", old.store)
            code = attempt(new, n, fault)
            found = digests(job.store)
            expect(found.get("v.safetensors") in either, f"{fault} at call {n}: a mixed state")
            if code == 0:
                break
            points += 1
            remove_leftovers(new.store)
            expect(attempt(new, 10**9, "exit") == 0, f"{fault} at call {n}: cannot go on")
            expect(
                digests(new.store) == wanted[id(new)], f"{fault} at call {n}: not as undisturbed"
            )
            expect(not leftovers(new.store), f"{fault} at call {n}: leftovers")
            n += step
    print(f"{points} faults ({', '.join(FAULTS)}): the old or the new state, and each goes on")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
