"""The main job by its commands: training, resuming, fusion, torchrun, --compile."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.gpu.target import TWOSTREAM, Target, run_command
from benchmarks.gpu.videos import project_folder

EXTRA = ("fp32", "tf32", "fp16")  # precisions beside `auto`
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
    runs = root / "runs" / f"{'toy' if target.is_gpu else 'folder'}-split1"
    size, epochs = ("96", (6, 8)) if target.is_gpu else ("32", (1, 1))
    options = ["--weights", "none", "--input-size", size, "--batch-size", "16", "--lr", "0.003"]
    options += ["--select-by", "loss", "--protocol", "segments3", "--quiet", "--threads", "4"]
    options += ["--device", str(target.device)]

    def train(stream: str, epochs: int, *more: str) -> float:
        arguments = ["train", "--stream", stream, "--epochs", epochs, *options, *more]
        return run_command(*arguments, cwd=root)[1]

    def resume(name: str, *more: str) -> float:
        return sum(train("motion", epochs, "--name", name, *more) for epochs in (1, 2))

    # All at the same time: most of each is its start.
    work = [partial(train, "spatial", epochs[0]), partial(train, "motion", epochs[1])]
    if target.is_gpu:
        work += [partial(train, "motion", 2, "--name", name) for name in ("a", "b")]
        work += [partial(resume, "r"), partial(resume, "same-again", "--deterministic")]
        work += [partial(train, "motion", 2, "--name", "same", "--deterministic")]
        work += [partial(train, "motion", 1, "--name", p, "--precision", p) for p in EXTRA]
        work += [partial(train, "motion", 1, "--name", "compiled", "--compile")]
    with ThreadPoolExecutor() as pool:
        times = list(pool.map(lambda task: task(), work))
    networks = [runs / f"{stream}-resnet18" for stream in ("spatial", "motion")]
    output, _ = run_command("fuse", *networks, "--strategy", "mean", "--json", cwd=root)
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
    with (networks[1] / "log.csv").open() as file:
        last = [row for row in csv.DictReader(file) if row["subset"] == "train"][-1]
    yield {key: float(last[key]) for key in ("batch_time", "data_time")} | {"what": "log"}
    if not target.is_gpu:
        return
    equal, resumed = (largest_difference(networks[1], "a", name) for name in "br")
    deterministic = largest_difference(networks[1], "same", "same-again")
    yield {
        "ok": resumed <= 10 * equal + 1e-6 and deterministic == 0,
        "what": "resume",
        "resumed_difference": resumed,
        "equal_runs_difference": equal,
        "resumed_deterministic_difference": deterministic,
    }
    again = ["train", "--stream", "motion", "--epochs", "1", *options, "--name", "torchrun"]
    torchrun = partial(run_command, *again, cwd=root, launcher=[*TORCHRUN, *TWOSTREAM[1:]])
    compiled = partial(
        run_command,
        *("score", networks[1], "--compile", "--protocol", "segments25"),
        *("--device", target.device),
        cwd=root,
    )
    with ThreadPoolExecutor() as pool:
        jobs = {
            "torchrun, one process": pool.submit(torchrun),
            "score --compile": pool.submit(compiled),
        }
        for what, job in jobs.items():
            yield {"what": what, "seconds": job.result()[1]}


def largest_difference(run: Path, first: str, second: str) -> float:
    """Of all weights of two runs, which `--name` tells apart."""
    weights = [
        load_file(run.with_name(f"{run.name}-{name}") / "last" / "weights.safetensors")
        for name in (first, second)
    ]
    return max((weights[0][key].float() - weights[1][key].float()).abs().max().item()
               for key in weights[0])  # fmt: skip
