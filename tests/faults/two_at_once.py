"""Several processes fill one store together: each video is computed once.

python tests/faults/two_at_once.py --processes 4 --rounds 20
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import digests, expect, marking_method, run, start, write_video, write_videos

VIDEOS = 12


def main(folder: Path, processes: int, rounds: int) -> None:
    """Start them at the same moment, `rounds` times, on a store that is empty."""
    write_videos(folder / "videos", VIDEOS - 1)
    write_video(folder / "videos" / "deadly.avi", frames=3, size=(72, 64))
    options = [*marking_method(folder), "--jobs", "2", "--method-option", "slow=0.05"]
    run(folder, "alone", *options, exit_code=1)
    good = digests(folder / "alone")
    for _ in range(rounds):
        shutil.rmtree(folder / "started")
        (folder / "started").mkdir()
        together = [start(folder, "shared", *options) for _ in range(processes)]
        printed = [process.communicate() for process in together]
        expect([errors for _, errors in printed] == [""] * processes, f"messages: {printed}")
        expect({process.returncode for process in together} == {1}, "exit codes")
        expect(all(f"{VIDEOS} videos" in output for output, _ in printed), f"counts: {printed}")
        expect(digests(folder / "shared") == good, "not the store of one process alone")
        begun = len(list((folder / "started").iterdir()))
        expect(begun == VIDEOS, f"{begun} videos were begun, not {VIDEOS}")
        shutil.rmtree(folder / "shared")
    print(f"{rounds} times {processes} processes: identical, each of {VIDEOS} videos begun once")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
