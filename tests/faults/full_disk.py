"""A store on a disk that fills up: the message, what was there before, and going on.

python tests/faults/full_disk.py --sizes 1,2,4,8        (as root: it mounts a tmpfs)
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import cannot, digests, expect, leftovers, run, stored, write_video

VIDEOS = 12


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise cannot(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def main(folder: Path, sizes: list[int]) -> None:
    """Extract about 10 MB into each size of disk, then make room and go on."""
    for n in range(VIDEOS):
        write_video(folder / "videos" / f"v{n:02d}.avi", frames=6, size=(160, 200), seed=n)
    options = "--jobs", "2", "--codec", "raw"
    run(folder, "undisturbed", *options)
    good = digests(folder / "undisturbed")
    need = sum(path.stat().st_size for path in (folder / "undisturbed").iterdir()) / 2**20
    for megabytes in sizes:
        with small_disk(folder / f"disk{megabytes}", megabytes) as disk:
            _, errors = run(folder, str(disk / "store"), *options, exit_code=1)
            expect("No space left" in errors, errors)
            expect(str(disk / "store") in errors, f"the path is not in: {errors}")
            kept = stored(disk / "store")
            expect(kept.items() <= good.items(), f"{megabytes} MB: a file that is not whole")
            expect(not leftovers(disk / "store"), f"{megabytes} MB: leftovers")
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            output, _ = run(folder, str(disk / "store"), *options)
            expect(f"{len(kept)} already done" in output, output)
            expect(digests(disk / "store") == good, f"{megabytes} MB: not the undisturbed store")
            print(f"{megabytes} MB of {need:.1f}: {len(kept)} of {VIDEOS} kept; then identical")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=lambda text: list(map(int, text.split(","))), default="1,2,4,8"
    )
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
