"""Every network of `twostream models` through the real command: does it train, does it score?

    python benchmarks/every_model.py                          # all, both streams: hours
    python benchmarks/every_model.py tsm i3d --largest 60     # by parts of names; at most 60 M
    python benchmarks/every_model.py --streams motion --folder here

`twostream train` takes a few steps on twelve generated videos of two classes, each network in its
usual snippets. `twostream scores check` must call its score files sound, and all scores be finite.
A network that is too large for the free memory, or for `--largest`, is named with the reason. One
that fails, or takes longer than `--limit`, is shown with its last words, and the script ends with
1. Seconds and peak memory are those of the whole command. The same `--folder` again goes on with
what it has not done. Writes `benchmarks/results/every_model.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from fusion.tables.score_file import read_scores
from twostream.data import toy
from twostream.models import MODELS
from twostream_base.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "every_model.md"
STREAMS = ("spatial", "motion")
CLASSES = ("BlueVertical", "RedHorizontal")
TRAIN, TEST = range(2, 7), range(1, 2)  # groups, one video of each class
# Networks of torchvision that take pictures of 224 pixels alone; the others are shown small ones.
FIXED_SIZE = ("vit_", "maxvit_", "mvit_", "s3d")
# Weights, gradient, momentum, and the copies that loading and keeping a checkpoint needs, float32.
BYTES_A_PARAMETER = 24
RUN = [
    "--weights", "none", "--segments", "1", "--batch-size", "4", "--epochs", "1", "--lr", "0.001",
    "--val-fraction", "0.2", "--protocol", "segments:1", "--val-protocol", "segments:1",
    "--device", "cpu", "--clip-norm", "1", "--quiet",
]  # fmt: skip

Row = dict[str, Any]  # model, stream, parameters, outcome, seconds, memory (MB)


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        rows = try_all(folder, options)
    print(tally(rows))
    if options.record:
        write_text(RESULT, report(rows))
    raise SystemExit(any(row["outcome"].startswith("FAILED") for row in rows))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names; all networks without them")
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=STREAMS)
    parser.add_argument("--largest", type=float, default=float("inf"), help="millions of weights")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one run")
    parser.add_argument("--folder", type=Path, help="kept, to go on; else a temporary one")
    parser.add_argument("--no-record", dest="record", action="store_false")
    return parser.parse_args()


def try_all(folder: Path, options: argparse.Namespace) -> list[Row]:
    """Try each network on each stream, smallest first; tell and keep each row at once."""
    make_videos(folder)
    record = folder / "rows.jsonl"
    lines = record.read_text().splitlines() if record.exists() else []
    known = [json.loads(line) for line in lines]
    rows = {(row["model"], row["stream"]): row for row in known}
    for size in sorted(sizes(options.names), key=lambda size: size["parameters"]):
        for stream in options.streams:
            key = (size["model"], stream)
            if key in rows and rows[key]["outcome"] == "passed":
                continue
            about = {**dict(zip(("model", "stream"), key, strict=True)),
                     "parameters": size["parameters"]}  # fmt: skip
            reason = why_not(folder, size["parameters"], largest=options.largest)
            row = about | (
                {"outcome": reason} if reason else try_network(folder, *key, options.limit)
            )
            rows[key] = row
            with record.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(table_row(row), flush=True)
    return sorted(rows.values(), key=lambda row: (row["parameters"], row["model"], row["stream"]))


def sizes(names: list[str]) -> list[Row]:
    """Parameters of the networks chosen, as `twostream models` tells them."""
    done = command(["models", *(names or ["*"]), "--json", "--quiet"], cwd=ROOT)
    if done["exit_code"]:
        raise SystemExit(done["errors"])
    listed: list[Row] = json.loads(done["output"])["models"]
    return listed


def make_videos(folder: Path) -> None:
    """Videos, their lists and a store of frames and flow, unless they are there."""
    lists = {"train": "", "test": ""}
    for label, name in enumerate(CLASSES):
        for subset, groups in (("train", TRAIN), ("test", TEST)):
            for group in groups:
                video = f"{name}/v_{name}_g{group:02d}_c01.avi"
                lists[subset] += f"{video} {label + 1}\n"
                if not (folder / "videos" / video).exists():
                    clip = toy.make_clip(name, rng=np.random.default_rng((label, group)))
                    toy.write_video(folder / "videos" / video, clip)
    classes = "".join(f"{number} {name}\n" for number, name in enumerate(CLASSES, start=1))
    write_text(folder / "annotations" / "classInd.txt", classes)
    for subset, text in lists.items():
        write_text(folder / "annotations" / f"{subset}list01.txt", text)
    done = command(["extract-flow", "--videos", "videos", "--store", "store"], cwd=folder)
    assert done["exit_code"] == 0, done["errors"]


def why_not(folder: Path, parameters: int, *, largest: float) -> str | None:
    """Why a network of so many parameters cannot be tried here; None if it can."""
    needed = BYTES_A_PARAMETER * parameters / 1e9
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    disk = shutil.disk_usage(folder).free / 1e9
    if parameters > largest * 1e6:
        return f"not run: more than --largest {largest:g} M parameters"
    if needed > memory:
        return f"not run: needs some {needed:.0f} GB of memory, {memory:.0f} GB are free"
    if needed > disk:
        return f"not run: needs some {needed:.0f} GB of disk, {disk:.0f} GB are free"
    return None


def try_network(folder: Path, model: str, stream: str, limit: float) -> Row:
    """Train a network for a few steps and look at its score file."""
    side = 224 if model.startswith(FIXED_SIZE) else 64
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    data = ["--dataset", "ucf101", "--annotations", "annotations", "--store", "store"]
    done = command(
        ["train", "--stream", stream, "--model", model, *data, "--runs", "runs", *RUN,
         "--input-size", str(side)],
        cwd=folder, limit=limit,
    )  # fmt: skip
    cost = {"seconds": done["seconds"], "memory": done["memory"], "side": side}
    if done["exit_code"] != 0:
        return {"outcome": f"FAILED: {last_words(done)}", **cost}
    wrong = what_is_wrong(runs / "ucf101-split1" / f"{stream}-{model}" / "scores")
    shutil.rmtree(runs)
    return {"outcome": f"FAILED: {wrong}" if wrong else "passed", **cost}


def what_is_wrong(scores: Path) -> str | None:
    """What `twostream scores check`, or a look at the numbers, has against the score files."""
    for subset in ("val", "test"):
        path = scores / f"{subset}.safetensors"
        checked = command(["scores", "check", str(path), "--json"], cwd=scores.parents[2])
        if checked["exit_code"] != 0:
            return last_words(checked)
        table = read_scores(path)
        if not np.isfinite(table.scores).all():
            return f"{path.name} holds scores that are not finite"
        if table.scores.shape != (len(CLASSES), 1, 1, len(CLASSES)):
            return f"{path.name} holds scores of shape {table.scores.shape}"
    return None


def command(arguments: list[str], *, cwd: Path, limit: float = 1800) -> Row:
    """Run `twostream`: its exit code, output, errors, seconds, and peak memory in MB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "twostream", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=errors,
        )
        alarm = threading.Timer(limit, process.kill)
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        return {
            "exit_code": process.returncode,
            "output": output.read(),
            "errors": errors.read(),
            "seconds": time.perf_counter() - start,
            "memory": usage.ru_maxrss / 2**10,
        }


def last_words(done: Row) -> str:
    """The last line that a command which failed has printed."""
    if done["exit_code"] < 0:
        return f"ended by signal {-done['exit_code']} after {done['seconds']:.0f} s"
    lines = (done["output"] + done["errors"]).strip().splitlines()
    return lines[-1] if lines else f"exit code {done['exit_code']}, without a word"


def table_row(row: Row) -> str:
    """A row of the table."""
    cost = f"{row['seconds']:.0f} | {row['memory']:,.0f}" if "seconds" in row else "|"
    return (
        f"| {row['model']} | {row['stream']} | {row['parameters'] / 1e6:.1f} | {cost} "
        f"| {row['outcome']} |"
    )


def tally(rows: list[Row]) -> str:
    """How many runs passed, failed, and were left out."""
    passed, failed, left_out = (
        sum(row["outcome"].startswith(word) for row in rows)
        for word in ("passed", "FAILED", "not run")
    )
    return f"{passed} passed, {failed} failed, {left_out} not run"


def report(rows: list[Row]) -> str:
    """All rows as a page."""
    untried = [name for name in MODELS if name not in {row["model"] for row in rows}]
    return "\n".join(
        [
            "# Every network through `twostream train`\n",
            "Made by `benchmarks/every_model.py`: a few steps on twelve generated videos, in the",
            "network's usual snippets at 64 pixels (224 where it takes nothing else), then the",
            "scores of the best epoch, which are checked. Seconds and peak memory are those of the",
            f"whole command on {os.cpu_count()} CPU cores, whatever else ran: {tally(rows)}.\n",
            "| network | stream | M parameters | seconds | memory, MB | outcome |",
            "|---|---|---|---|---|---|",
            *map(table_row, rows),
            "",
            *([f"Not tried in this run: {', '.join(untried)}.", ""] if untried else []),
        ]
    )


if __name__ == "__main__":
    main()
