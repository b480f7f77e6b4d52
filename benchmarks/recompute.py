"""Peak memory and time of a training step of I3D on 32 frames, with and without `--recompute`.

    python benchmarks/recompute.py [RESNET]

Each step runs in a process of its own; the kernel tells its peak memory. The two take turns.
Equal losses are asserted. The table goes to benchmarks/results/recompute.md.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

TURNS = 3
RESULT = Path(__file__).parent / "results" / "recompute.md"


def step(name: str, saves: bool) -> dict[str, float]:
    """One step on two clips of 32 RGB frames at 224."""
    import torch

    from twostream.models import build_network
    from twostream.models.activation_checkpointing import checkpoint_activations
    from twostream.models.consensus import mean
    from twostream.transforms.presets import modality_of

    torch.manual_seed(0)
    network = build_network(
        f"i3d-{name}",
        consensus=mean,
        modality=modality_of("spatial", clip_length=32, frame_interval=2),
        num_classes=400,
    )
    if saves:
        checkpoint_activations(network.backbone)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clips = torch.randint(0, 256, (2, 1, 32, 3, 224, 224), dtype=torch.uint8)
    start = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(network(clips).mean(dim=1), torch.tensor([1, 2]))
    loss.backward()
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    return {"loss": loss.item(), "seconds": seconds, "peak": peak}


def main(name: str) -> None:
    """Take turns, check, write the table."""
    seen: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(TURNS):
        for saves in seen:
            command = [sys.executable, __file__, name, str(int(saves))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen[saves].append(json.loads(done.stdout))
    assert len({row["loss"] for rows in seen.values() for row in rows}) == 1, seen
    peaks, seconds = (
        {saves: median(row[key] for row in rows) for saves, rows in seen.items()}
        for key in ("peak", "seconds")
    )
    text = (
        f"# A training step of I3D-{name}, two clips of 32 frames at 224, fp32 on a CPU\n\n"
        f"Made by `benchmarks/recompute.py`, median of {TURNS} turns. Losses are equal.\n\n"
        "|  | peak memory of the step, MB | time |\n|---|---|---|\n"
        f"| plain | {peaks[False]:,.0f} | 1.00 |\n"
        f"| `--recompute` | {peaks[True]:,.0f} ({peaks[True] / peaks[False]:.2f}) "
        f"| {seconds[True] / seconds[False]:.2f} |\n"
    )
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps(step(sys.argv[1], sys.argv[2] == "1")))
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "resnet50")
