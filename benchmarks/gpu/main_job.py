"""The main job by its commands: training, resuming, fusion, torchrun, --compile."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.gpu.target import TWOSTREAM, Target, run_command
from benchmarks.gpu.videos import project_folder

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]


def main_job(target: Target) -> Iterator[dict[str, Any]]:
    """Both streams and their fusion on toy data; is a resumed run no further off than an equal one?

    A dry run takes the few videos of the step `videos` instead.
    """
    root = target.folder / "toy" if target.is_gpu else project_folder(target)
    if target.is_gpu:
        root.mkdir()
        run_command("init", "--dataset", "toy", cwd=root)
        _, seconds = run_command("extract-flow", "--quiet", cwd=root)
        yield {"what": "extraction of 324 videos", "seconds": seconds}
    run = root / "runs" / f"{'toy' if target.is_gpu else 'folder'}-split1" / "motion-resnet18"

    size, epochs = ("96", (6, 8)) if target.is_gpu else ("32", (1, 1))
    options = ["--weights", "none", "--input-size", size, "--batch-size", "16", "--lr", "0.003"]
    options += ["--select-by", "loss", "--protocol", "segments3", "--quiet"]
    options += ["--device", str(target.device)]

    def train(stream: str, epochs: int, *more: str) -> float:
        arguments = ["train", "--stream", stream, "--epochs", epochs, *options, *more]
        return run_command(*arguments, cwd=root)[1]

    if target.is_gpu:
        for name in ("a", "b"):
            train("motion", 2, "--name", name)
        train("motion", 1, "--name", "r")
        train("motion", 2, "--name", "r")  # goes on with the second epoch
        equal, resumed = (largest_difference(run, "a", name) for name in "br")
        yield {
            "ok": resumed <= 10 * equal + 1e-6,
            "what": "resume",
            "resumed_difference": resumed,
            "equal_runs_difference": equal,
        }

    times = [train("spatial", epochs[0]), train("motion", epochs[1])]
    output, _ = run_command("fuse", "--strategy", "mean", "--json", cwd=root)
    fused = json.loads(output)
    yield {
        "ok": fused["fused"]["top1"]["percent"] > 90 or not target.is_gpu,
        "what": "main job",
        "spatial_s": times[0],
        "motion_s": times[1],
        "alone": [row["top1"]["correct"] for row in fused["inputs"]],
        "fused": fused["fused"]["top1"]["correct"],
        "of": fused["fused"]["top1"]["of"],
    }
    with (run / "log.csv").open() as file:
        last = [row for row in csv.DictReader(file) if row["subset"] == "train"][-1]
    yield {key: float(last[key]) for key in ("batch_time", "data_time")} | {"what": "log"}
    if not target.is_gpu:
        return
    again = ["train", "--stream", "motion", "--epochs", "1", *options, "--name", "torchrun"]
    _, seconds = run_command(*again, cwd=root, launcher=[*TORCHRUN, *TWOSTREAM[1:]])
    yield {"what": "torchrun, one process", "seconds": seconds}
    _, seconds = run_command(
        *("score", run, "--compile", "--protocol", "segments25"),
        *("--device", target.device),
        cwd=root,
    )
    yield {"what": "score --compile", "seconds": seconds}


def largest_difference(run: Path, first: str, second: str) -> float:
    """Of all weights of two runs, which `--name` tells apart."""
    weights = [
        load_file(run.with_name(f"{run.name}-{name}") / "last" / "weights.safetensors")
        for name in (first, second)
    ]
    return max((weights[0][key].float() - weights[1][key].float()).abs().max().item()
               for key in weights[0])  # fmt: skip
