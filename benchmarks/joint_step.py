"""A training step of a joint network against the steps of its two streams: time and peak memory.

    python benchmarks/joint_step.py [--model resnet18] [--side 224] [--batch 8] [--turns 5]

The three take turns in processes of their own, on clips of noise; loading is not in it. The joint
network keeps both towers to their ends and joins them besides: all work of both, and the joining.
The table goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median

STREAMS = ("spatial", "motion", "joint")


def step(stream: str, *, model: str, side: int, batch: int) -> dict[str, float]:
    """Seconds of a forward and backward pass and of its update, and what the peak memory rose."""
    import torch

    from twostream.models import create_model

    torch.manual_seed(0)
    options = {"fuse_at": "layer4", "fuse": "conv", "keep_both": True} if stream == "joint" else {}
    network = create_model(model, num_classes=101, stream=stream, **options)
    network.to_device(torch.device("cpu"))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    modality = network.modality
    shape = (batch, 1, modality.snippet_length, modality.channels, side, side)
    clips, labels = torch.randint(0, 256, shape, dtype=torch.uint8), torch.arange(batch)

    def one_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(network(clips).mean(dim=1), labels).backward()
        optimizer.step()

    one_step()
    start = time.perf_counter()
    one_step()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10}


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--stream", choices=STREAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        network = {key: getattr(options, key) for key in ("model", "side", "batch")}
        print(json.dumps(step(options.stream, **network)))
        return
    seen: dict[str, list[dict[str, float]]] = {stream: [] for stream in STREAMS}
    for _ in range(options.turns):
        for stream in STREAMS:
            command = [sys.executable, __file__, *sys.argv[1:], "--stream", stream]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen[stream].append(json.loads(done.stdout))
    print("| stream | seconds a step | peak memory, MiB |\n|---|---|---|")
    for stream, rows in seen.items():
        seconds, peak = (median(row[key] for row in rows) for key in ("seconds", "peak"))
        print(f"| {stream} | {seconds:.3f} | {peak:,.0f} |")
    ratios = [
        joint["seconds"] / (spatial["seconds"] + motion["seconds"])
        for spatial, motion, joint in zip(*seen.values(), strict=True)
    ]
    print(f"\njoint / (spatial + motion): {median(ratios):.3f}, of {sorted(ratios)}")


if __name__ == "__main__":
    main()
