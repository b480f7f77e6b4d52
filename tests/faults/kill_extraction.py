"""kill -9 of the whole process group at a random video; the same command again goes on.

python tests/faults/kill_extraction.py --rounds 200
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import digests, expect, leftovers, marking_method, run, start, stored, write_videos

VIDEOS = 12
JOBS = 2


def main(folder: Path, rounds: int) -> None:
    """Kill `rounds` runs; whenever one comes to its end, compare, and begin a new store."""
    write_videos(folder / "videos", VIDEOS)
    options = [*marking_method(folder), "--jobs", str(JOBS)]
    run(folder, "undisturbed", *options)
    good = digests(folder / "undisturbed")

    rng = random.Random(rounds)
    killed = stores = redone = 0
    while killed < rounds:
        store = f"store{stores}"
        before = len(stored(folder / store)), begun(folder)
        # Every other run is one whose processes stay for many videos.
        lasting = ["--device", "other"] if killed % 2 else []
        process = start(folder, store, *options, *lasting)
        # By what it has done: so it does not matter how fast this machine is.
        last = before[1] + rng.randrange(VIDEOS - before[0] + 2)
        while begun(folder) < last and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        with suppress(ProcessLookupError):  # it may have come to its end
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode != -signal.SIGKILL:  # it had come to its end
            expect(process.returncode == 0, f"exit {process.returncode}")
            check_whole(folder / store, good)
            stores += 1
            continue
        killed += 1
        now = stored(folder / store)
        expect(now.items() <= good.items(), "a file that is not that of the undisturbed run")
        lost = begun(folder) - before[1] - (len(now) - before[0])
        expect(lost <= JOBS, f"{lost} videos lost by one kill")
        redone += lost
    run(folder, f"store{stores}", *options)
    check_whole(folder / f"store{stores}", good)
    print(
        f"{killed} kills, {stores + 1} stores: 0 videos lost, 0 half-written, all identical; "
        f"{redone} videos begun anew, never more than {JOBS} by one kill"
    )


def begun(folder: Path) -> int:
    """Videos that any run has begun until now."""
    return len(list((folder / "started").iterdir()))


def check_whole(store: Path, good: dict[str, str]) -> None:
    """The store is that of the undisturbed run, and nothing else is in it."""
    expect(digests(store) == good, f"{store}: not the undisturbed store")
    expect(not leftovers(store), f"{store}: leftovers")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
