"""Run the steps one by one, each in a process of its own with a time limit; one JSON line a check.

python -m benchmarks.gpu.run_steps [SECONDS] [DEVICE] [STEP...]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# Step -> its longest time in seconds, in the order of their worth. `videos` makes the stores that
# `loader`, `scoring`, `extraction` and `classical` read.
STEPS = {
    "videos": 60,
    "loader": 60,
    "scoring": 40,
    "main_job": 80,
    "tvl1": 70,
    "extraction": 60,
    "networks": 60,
    "raft": 45,
    "mixing": 20,
    "distributed": 40,
    "classical": 30,
    "machine": 40,
    "tvl1_kernels": 60,
}
SHORTEST = 8  # seconds: less is not enough to start a step
END_OF_LOG = 600  # characters that explain a step which broke off


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=450)
    parser.add_argument("device", nargs="?", default="cuda")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    options = parser.parse_args()
    if unknown := set(options.steps) - STEPS.keys():
        parser.error(f"no step {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as temporary:
        logs = Path(os.environ.get("OUT", temporary))
        lines = []
        for step in options.steps or STEPS:
            seconds = min(STEPS[step], end - time.monotonic())
            lines += run_step(step, options.device, seconds, folder=Path(temporary), logs=logs)
        (logs / "gpu_check.jsonl").write_text("".join(f"{line}\n" for line in lines))
    raise SystemExit(not all(json.loads(line)["ok"] for line in lines))


def run_step(step: str, device: str, seconds: float, *, folder: Path, logs: Path) -> list[str]:
    """Run one step, print its lines as they come, and return them.

    A step that fails, or is not done in time, has a line more, with the reason.
    """
    if seconds < SHORTEST:
        lines = [json.dumps({"step": step, "ok": False, "why": "no time left"})]
        print(lines[0], flush=True)
        return lines
    log = logs / f"{step}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.one_step", step, device, str(folder)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # so that the commands it has started end with it
        )
        timer = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            print(lines[-1], flush=True)
        exit_code = process.wait()
        timer.cancel()
    if exit_code:
        timed_out = exit_code == -signal.SIGKILL
        why = f"not done after {seconds:.0f} s" if timed_out else log.read_text()[-END_OF_LOG:]
        lines.append(json.dumps({"step": step, "ok": False, "exit_code": exit_code, "why": why}))
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
