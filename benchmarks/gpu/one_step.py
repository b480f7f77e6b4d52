"""Run one step in this process and print its lines, once a line comes in.

echo | python -m benchmarks.gpu.one_step STEP DEVICE FOLDER
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from benchmarks.gpu.target import Target

# Step -> the module whose function of that name yields its figures.
MODULES = {
    "machine": "machine",
    "distributed": "machine",
    "tvl1_kernels": "flow",
    "tvl1": "flow",
    "raft": "flow",
    "networks": "training",
    "mixing": "training",
    "videos": "videos",
    "loader": "training",
    "classical": "training",
    "scoring": "scoring",
    "extraction": "flow",
    "main_job": "main_job",
}


def main() -> None:
    step, device, folder = sys.argv[1:]
    module = importlib.import_module(f"benchmarks.gpu.{MODULES[step]}")
    target = Target(device, Path(folder))
    if not sys.stdin.readline():
        return
    for figures in getattr(module, step)(target):
        line = {"step": step, "ok": True, **figures}
        line["ok"] = bool(line["ok"])  # a numpy bool has no place in JSON
        print(json.dumps({key: rounded(value) for key, value in line.items()}), flush=True)


def rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
