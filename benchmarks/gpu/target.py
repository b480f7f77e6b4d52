"""The device that is checked, and how its time and memory are measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

TWOSTREAM = [sys.executable, "-m", "twostream"]


class Target:
    """A device, and the folder that the steps share.

    Attributes:
        is_gpu: False means a dry run: small inputs, figures without meaning.
    """

    def __init__(self, device: str, folder: Path) -> None:
        self.device, self.folder = torch.device(device), folder
        self.is_gpu = self.device.type == "cuda"
        torch.zeros(1, device=self.device)  # fails here if there is no such device

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def rate(self, work: Callable[[], object], count: float, *, seconds: float) -> float:
        """Things per second when `work` does `count` of them; a first call does not count.

        On the GPU `work` is repeated for that many seconds, in a dry run it is called once more.
        """
        work()
        self.synchronize()
        start, calls = time.perf_counter(), 0
        while not calls or (self.is_gpu and time.perf_counter() - start < seconds):
            work()
            self.synchronize()
            calls += 1
        return calls * count / (time.perf_counter() - start)

    def milliseconds(self, work: Callable[[], object], *, seconds: float = 0.7) -> float:
        """Of one call of `work`."""
        return 1000 / self.rate(work, 1, seconds=seconds)

    def peak_gib(self) -> float:
        """Most GPU memory that tensors took since this was last asked; 0 in a dry run."""
        if not self.is_gpu:
            return 0.0
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak


def run_command(
    *arguments: object, cwd: Path, launcher: list[str] = TWOSTREAM, env: Mapping[str, str] = {}
) -> tuple[str, float]:
    """Run `twostream ARGUMENTS` in a process of its own: what it printed, and its seconds.

    Raises:
        RuntimeError: it failed; the message has the end of what it said.
    """
    command = [*launcher, *map(str, arguments)]
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True
    )
    if done.returncode:
        words = " ".join(map(str, arguments))
        raise RuntimeError(f"{words}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return done.stdout, time.perf_counter() - start
