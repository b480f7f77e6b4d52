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
from contextlib import suppress
from pathlib import Path
from typing import Any

# Step -> its longest time in seconds, in the order of their worth. `videos` makes the stores that
# `loader`, `scoring`, `extraction` and `classical` read.
STEPS = {
    "videos": 60,
    "loader": 60,
    "scoring": 50,
    "main_job": 80,
    "tvl1": 70,
    "extraction": 90,
    "networks": 60,
    "raft": 45,
    "mixing": 20,
    "distributed": 40,
    "classical": 30,
    "machine": 40,
    "tvl1_kernels": 70,
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
    steps = list(options.steps or STEPS)
    with tempfile.TemporaryDirectory() as temporary:
        logs = Path(os.environ.get("OUT", temporary))
        started = [Step(steps[0], options.device, folder=Path(temporary), logs=logs)]
        lines = []
        for name in [*steps[1:], None]:
            # While a step runs, the next one imports torch and makes its CUDA context.
            if name:
                started.append(Step(name, options.device, folder=Path(temporary), logs=logs))
            lines += started.pop(0).run(end - time.monotonic())
        (logs / "gpu_check.jsonl").write_text("".join(f"{line}\n" for line in lines))
    raise SystemExit(not all(json.loads(line)["ok"] for line in lines))


class Step:
    """A process that is ready to run a step."""

    def __init__(self, name: str, device: str, *, folder: Path, logs: Path) -> None:
        self.name, self.log = name, logs / f"{name}.log"
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.one_step", name, device, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # so that the commands it has started end with it
            )

    def run(self, seconds: float) -> list[str]:
        """Run the step, print its lines as they come, and return them.

        A step that fails, or is not done in time, has a line more, with the reason.

        Args:
            seconds: that are left for all steps.
        """
        seconds = min(STEPS[self.name], seconds)
        if seconds < SHORTEST:
            self._kill()
            self.process.wait()
            return [self._show({"ok": False, "why": "no time left"})]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self._kill)
        timer.start()
        with suppress(BrokenPipeError):  # it has failed already
            self.process.stdin.write("\n")
            self.process.stdin.close()
        lines = []
        for line in self.process.stdout:
            lines.append(line.strip())
            print(lines[-1], flush=True)
        exit_code = self.process.wait()
        timer.cancel()
        if exit_code:
            timed_out = exit_code == -signal.SIGKILL
            end = self.log.read_text()[-END_OF_LOG:]
            why = f"not done after {seconds:.0f} s" if timed_out else end
            lines.append(self._show({"ok": False, "exit_code": exit_code, "why": why}))
        return lines

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _show(self, figures: dict[str, Any]) -> str:
        line = json.dumps({"step": self.name, **figures})
        print(line, flush=True)
        return line


if __name__ == "__main__":
    main()
