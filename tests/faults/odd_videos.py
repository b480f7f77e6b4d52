"""Videos at the edge of what is one: the documented outcome of each, with memory under 1 GB.

python tests/faults/odd_videos.py
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scene import cannot, expect, leftovers, write_video

from flow_extract.extraction.executor import available_cores
from flow_extract.extraction.folder import extract_folder
from flow_extract.extraction.settings import extraction_settings
from flow_extract.store.reader import scan_store

MEMORY = 1024  # MB
# Status and stored frames; 0: no store file.
OUTCOMES = {
    "frames00": ("failed", 0),
    **{f"frames{n:02d}": ("ok", n) for n in (1, 2, 9, 10, 11)},
    "huge_header": ("failed", 0),
    "huge_claim": ("ok", 12),
    "odd_size": ("ok", 5),
    "one_pixel_high": ("ok", 3),
    "text": ("failed", 0),
    "empty": ("failed", 0),
    "uhd": ("ok", 2),
    "wave": ("failed", 0),
}


def write_odd(folder: Path) -> None:
    """One file for each of `OUTCOMES`, and a folder with a video's name."""
    for n in (1, 2, 9, 10, 11):
        write_video(folder / f"frames{n:02d}.avi", frames=n)
    data = write_video(folder / "huge_header.avi").read_bytes()
    (folder / "frames00.avi").write_bytes(data[: data.find(b"movi") + 4])
    (folder / "huge_header.avi").write_bytes(with_size(data, 65_000))
    (folder / "huge_claim.avi").write_bytes(with_length(data, 5_000_000))
    write_video(folder / "odd_size.avi", frames=5, size=(121, 161))
    write_video(folder / "one_pixel_high.avi", frames=3, size=(1, 64))
    write_video(folder / "uhd.avi", frames=2, size=(2160, 3840))
    (folder / "text.mp4").write_text("A text that calls itself a video.\n" * 99)
    (folder / "empty.mp4").touch()
    (folder / "wave.avi").write_bytes(without_video(data))
    (folder / "folder.avi").mkdir()


def with_size(data: bytes, side: int) -> bytes:
    """An AVI whose headers and pictures claim to be `side` x `side` pixels."""
    changed = bytearray(data)
    for place in (changed.find(b"avih") + 40, changed.find(b"strf") + 12):
        changed[place : place + 8] = side.to_bytes(4, "little") * 2
    start = changed.find(b"\xff\xc0")  # in each JPEG picture: height, width
    while start >= 0:
        changed[start + 5 : start + 9] = side.to_bytes(2, "big") * 2
        start = changed.find(b"\xff\xc0", start + 1)
    return bytes(changed)


def with_length(data: bytes, frames: int) -> bytes:
    """An AVI whose headers claim so many frames."""
    changed = bytearray(data)
    for place in (changed.find(b"avih") + 24, changed.find(b"strh") + 40):
        changed[place : place + 4] = frames.to_bytes(4, "little")
    return bytes(changed)


def without_video(data: bytes) -> bytes:
    """An AVI whose only stream says that it is text."""
    return data.replace(b"vidsMJPG", b"txts\0\0\0\0")


def in_this_process(function: Any, jobs: Any, **_: Any) -> Iterator[tuple[Any, Any]]:
    """An engine whose memory is that of this process."""
    for job in jobs:
        yield job, function(job)


def main(folder: Path) -> None:
    """Extract them all, one after the other, and compare."""
    if not Path("/proc/self/status").exists():
        raise cannot("there is no /proc to read the peak memory from")
    # Written by another process: its memory does not count.
    writer = multiprocessing.get_context("fork").Process(target=write_odd, args=[folder / "videos"])
    writer.start()
    writer.join()
    expect(writer.exitcode == 0, "the videos cannot be written")
    report = extract_folder(
        folder / "videos",
        folder / "store",
        settings=extraction_settings("dis", {}, bound=20.0, short_side=None),
        workers=available_cores(),
        timeout=120,
        progress=lambda results, total: results,
        engine=in_this_process,
    )
    headers = scan_store(folder / "store")
    found = {
        result.name: (
            result.status,
            headers[result.name]["counts"]["frames"] if result.name in headers else 0,
        )
        for result in report.extracted
    }
    differences = dict(found.items() ^ OUTCOMES.items())
    expect(not differences, f"{differences}; {report.problems()}")
    expect(not leftovers(folder / "store"), "leftovers")
    # Not `ru_maxrss`: that of the process that has started this one is its beginning.
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 2**10
    print(f"{len(found)} odd videos as documented; peak memory {peak:.0f} MB")
    expect(peak < MEMORY, f"{peak:.0f} MB of memory")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
