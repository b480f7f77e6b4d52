"""Thousands of tiny videos through one run: memory and open files stay flat.

python tests/faults/many_tiny_videos.py --videos 2000
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scene import cannot, expect, write_video

from flow_extract.extraction.folder import extract_folder
from flow_extract.extraction.settings import extraction_settings

# What the run may grow by between a tenth of the way and its end: MB of memory, and open files.
MORE_MEMORY, MORE_FILES = 50, 2


def state() -> tuple[float, int]:
    """Memory in MB, and open files, of this process and of those under it that live on."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd"))


def main(folder: Path, videos: int) -> None:
    """Extract `videos` links to a few videos, and look at this process on the way."""
    if not sys.platform.startswith("linux"):
        raise cannot("it looks into /proc")
    for n in range(videos):
        path = folder / "videos" / f"class{n % 10}" / f"v{n:05d}.avi"
        if n < 10:
            write_video(path, frames=2, size=(16, 16), seed=n)
        else:
            shutil.copy(folder / "videos" / f"class{n % 10}" / f"v{n % 10:05d}.avi", path)
    states = []

    def watched(results: Iterable[Any], *, total: int) -> Iterator[Any]:
        for n, result in enumerate(results):
            if n % (total // 10) == 0:
                states.append(state())
            yield result

    begin = time.monotonic()
    report = extract_folder(
        folder / "videos",
        folder / "store",
        settings=extraction_settings("dis", {}, bound=20.0, short_side=None),
        workers=2,
        timeout=60,
        progress=watched,
    )
    expect(report.counts()["done_now"] == videos, report.counts())
    (first, files), (last, files_at_end) = states[1], state()
    seconds = time.monotonic() - begin
    print(
        f"{videos} videos in {seconds:.0f} s: memory {first:.0f} to {last:.0f} MB, "
        f"open files {files} to {files_at_end}"
    )
    expect(last - first < MORE_MEMORY, f"memory at each tenth: {states}")
    expect(files_at_end - files <= MORE_FILES, f"open files at each tenth: {states}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=2000)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
