"""Names that are hard to handle: all through, or refused by name; nothing outside the store.

python tests/faults/hostile_names.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from scene import digests, expect, leftovers, start, write_video

from flow_extract.store.reader import scan_store

NAMES = [
    "with space", " leading", "trailing ", "-dash", "--help", "ünï", "u\u0308nfd", "\u00fcnfc",
    "new\nline", "tab\there", "quo'te", 'quo"te', "back\\slash", "%d", "%s%n", "$HOME", "`id`",
    "a;b", "a|b", "a&b", "a*b", "a?b", "[a]", "{a}", "~", "#", "日本語", "🎬", "a..b", "x" * 200,
]  # fmt: skip
REFUSED = {"twice": "share one name", "y" * 245: "too long"}


def write_tree(root: Path) -> None:
    """The names, and around them links in circles, pipes, broken links, one name twice."""
    video = write_video(root / "plain.avi", frames=2, size=(16, 16))
    for name in NAMES:
        (root / f"{name}.avi").write_bytes(video.read_bytes())
    for file in ("twice.avi", "twice.mp4", f"{'y' * 245}.avi"):
        (root / file).write_bytes(video.read_bytes())
    (root / "inner").mkdir()
    (root / "inner" / "up").symlink_to("..")
    (root / "self").symlink_to("self")
    (root / "self.avi").symlink_to("self.avi")
    (root / "gone.avi").symlink_to("../nowhere.avi")
    os.mkfifo(root / "pipe.avi")


def main(folder: Path) -> None:
    """Extract the tree, and look at what became of each name."""
    write_tree(folder / "videos")
    before = digests(folder / "videos" / "inner") | dict.fromkeys(os.listdir(folder), "")
    process = start(folder, "store", "--json")
    output, errors = process.communicate(timeout=120)
    expect(process.returncode == 1 and errors == "", f"{process.returncode}: {errors}")
    report = json.loads(output)
    expect(set(scan_store(folder / "store")) == {*NAMES, "plain"}, "not all names are stored")
    refused = {problem["name"]: problem["reason"] for problem in report["problems"]}
    expect(refused.keys() == REFUSED.keys(), refused)
    expect(all(why in refused[name] for name, why in REFUSED.items()), refused)
    skipped = {"inner/up", "self", "self.avi", "gone.avi", "pipe.avi"}
    expect(report["skipped"].keys() == skipped, report["skipped"])
    expect({*os.listdir(folder)} == {*before, "store"}, "something outside the store")
    expect(not leftovers(folder / "store"), "leftovers")
    print(f"{len(NAMES)} names stored, {len(refused)} refused by name, {len(skipped)} skipped")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
