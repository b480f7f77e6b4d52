"""A running Dask cluster whose workers are killed, with a video that crashes and one that hangs.

python tests/faults/kill_dask_worker.py --kills 5
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import (
    ROOT,
    cannot,
    digests,
    expect,
    leftovers,
    marking_method,
    start,
    write_video,
    write_videos,
)

VIDEOS = 12


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and two workers, as one would start them by hand; its address, the workers."""
    file = folder / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    common = [sys.executable, "-m", "distributed.cli"]
    arguments = {
        "dask_scheduler": ["--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
        "dask_worker": ["--scheduler-file", str(file), "--nworkers", "2", "--nthreads", "1",
                        "--no-dashboard"],
    }  # fmt: skip
    started = []
    try:
        for name, words in arguments.items():
            command = [*common[:2], f"distributed.cli.{name}", *words]
            with (folder / f"{name}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        command,
                        cwd=folder,
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )  # fmt: skip
                )
            while not file.exists():
                time.sleep(0.05)
        yield address(file), started[1]
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def address(file: Path) -> str:
    import json

    return json.loads(file.read_text())["address"]


def workers(nanny: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of the Dask workers under `dask worker` that have begun to work."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            words = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == nanny.pid and b"spawn_main" in words:
            found.append(int(path.parent.name))
    return found


def main(folder: Path, kills: int) -> None:
    """Kill a worker as soon as some further videos have been begun, `kills` times."""
    if importlib.util.find_spec("distributed") is None:
        raise cannot("Dask is not installed: pip install 'dask[distributed]'")
    write_videos(folder / "videos", VIDEOS)
    write_video(folder / "videos" / "crashes.avi", frames=3, size=(72, 64))
    write_video(folder / "videos" / "hangs.avi", frames=3, size=(80, 64))
    options = [*marking_method(folder), "--timeout", "15", "--method-option", "slow=0.2"]
    local = start(folder, "alone", *options)
    local.communicate()
    expect(local.returncode == 1, "the run without Dask")
    before = len(list((folder / "started").iterdir()))
    with cluster(folder) as (scheduler, nanny):
        run = start(folder, "store", *options, "--engine", "dask", "--scheduler", scheduler)
        for n in range(kills):
            while len(list((folder / "started").iterdir())) < before + 2 * n + 2:
                expect(run.poll() is None, "it ended too early")
                time.sleep(0.02)
            os.kill(workers(nanny)[n % 2], signal.SIGKILL)
            time.sleep(1.5)  # the nanny starts another one
        output, errors = run.communicate(timeout=300)
    expect(run.returncode == 1 and errors == "", f"{run.returncode}: {errors}")
    expect("crashed   crashes: signal 9 (SIGKILL)" in output, output)
    expect("timeout   hangs: no progress for 15 s" in output, output)
    differing = {
        path for path, _ in digests(folder / "store").items() ^ digests(folder / "alone").items()
    }
    expect(not differing, f"not the store of a local run: {sorted(differing)}\n{output}")
    expect(not leftovers(folder / "store"), "leftovers")
    print(f"{kills} Dask workers killed: {VIDEOS} videos done, identical; 1 crashed, 1 timeout")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
