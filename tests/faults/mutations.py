"""Real clips, damaged by a seeded hand: none crashes the run or hangs it, each is classified.

python tests/faults/mutations.py --count 200
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import SHARED_DATA, cannot, expect, leftovers, start

from flow_extract.store.reader import scan_store
from flow_extract.video.decode import read_frames

TIMEOUT = 60


def mutated(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """One of six kinds of damage."""
    kind = rng.choice(["flipped", "header", "cut", "hole", "noise", "doubled"])
    changed = bytearray(data)
    size = len(changed)
    if kind == "cut":
        return kind, bytes(changed[: rng.randrange(size)])
    if kind == "doubled":
        begin = rng.randrange(size)
        return kind, bytes(changed[:begin] + changed[begin // 2 :])
    if kind == "hole":
        begin = rng.randrange(size)
        return kind, bytes(changed[:begin] + changed[begin + rng.randrange(1, 5000) :])
    if kind == "noise":
        begin, length = rng.randrange(size), rng.randrange(1, 20_000)
        changed[begin : begin + length] = rng.randbytes(len(changed[begin : begin + length]))
        return kind, bytes(changed)
    end, count = (size, 50) if kind == "flipped" else (min(size, 4096), 20)
    for _ in range(count):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return kind, bytes(changed)


def main(folder: Path, count: int) -> None:
    """Extract `count` damaged clips; what says `ok` has all its frames."""
    if not SHARED_DATA.is_dir():
        raise cannot(f"no real clips at {SHARED_DATA}")
    clips = sorted((SHARED_DATA / "ucf101-clips" / "videos").glob("*/*.avi"))
    clips += sorted((SHARED_DATA / "surv-fight").rglob("*.mp4"))
    clips = sorted((clip for clip in clips if clip.stat().st_size < 400_000), key=lambda c: c.name)
    (folder / "videos").mkdir()
    rng, whole = random.Random(0), {}
    for n in range(count):
        clip = rng.choice(clips)
        kind, data = mutated(clip.read_bytes(), rng)
        (folder / "videos" / f"{n:03d}-{kind}{clip.suffix}").write_bytes(data)
        whole[f"{n:03d}-{kind}"] = clip
    frames_of = functools.cache(lambda clip: sum(1 for _ in read_frames(clip)))
    begin = time.monotonic()
    process = start(
        folder, "store", "--json", "--short-side", "32", "--timeout", str(TIMEOUT),
        "--method-option", "preset=ultrafast",
    )  # fmt: skip
    output, errors = process.communicate()
    seconds = time.monotonic() - begin
    expect(process.returncode in (0, 1) and errors == "", f"{process.returncode}: {errors}")
    report = json.loads(output)
    statuses = {problem["name"]: problem["status"] for problem in report["problems"]}
    expect(report["videos"] == count, "not every file has a result")
    expect("timeout" not in statuses.values(), f"hung: {statuses}")
    for name, header in scan_store(folder / "store").items():
        counts, clip = header["counts"], whole[name]
        # A changed edit list may hide frames of an MP4: what it promises is what remains.
        promised = frames_of(clip) if clip.suffix == ".avi" else counts["promised"]
        short = counts["frames"] < promised
        expect(not (short and header["status"] == "ok"), f"{name}: short, and `ok`")
    expect(not leftovers(folder / "store"), "leftovers")
    tally = collections.Counter(statuses.values())
    print(f"{count} mutations in {seconds:.0f} s: {report['done_now']} ok, {dict(tally)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    with TemporaryDirectory() as temporary:
        main(Path(temporary), **vars(parser.parse_args()))
