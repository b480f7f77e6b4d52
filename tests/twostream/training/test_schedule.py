"""The learning rates of real runs, replayed from their validation losses."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD

from twostream.training.schedule import plateau_schedule

HMDB51_MOTION = """
7.23786 7.84593 7.4333 4.67563 4.88513 4.66502 4.57741 4.54546 4.35964 4.49506 4.37555 4.23831
4.22788 4.25943 4.29885 4.22757 4.28803 4.24145 4.176 4.22205 4.25608 4.29323 4.18256 4.21453
4.19661 4.26151 4.21891 4.20866 4.19577 4.25268 4.23854 4.19427 4.1946 4.15377 4.26417 4.17396
4.2029 4.18492"""
UCF101_SPATIAL = """
4.49144 4.11913 4.22929 4.04706 4.22076 4.30669 4.29028 4.31007 4.38705 4.24382 3.84677 4.35221
4.19985 4.41117 4.06631 4.08131 4.42937"""

RUNS = {
    "HMDB51 motion ResNet18": (
        0.01,
        HMDB51_MOTION,
        [1e-2] * 3 + [1e-3] * 8 + [1e-4] * 4 + [1e-5] * 2 + [1e-6] * 4 + [1e-7] * 2 + [1e-8] * 15,
    ),
    "UCF101 spatial ResNet18": (
        5e-4,
        UCF101_SPATIAL,
        [5e-4] * 6 + [5e-5] * 2 + [5e-6] * 2 + [5e-7] * 3 + [5e-8] * 2 + [5e-9] * 2,
    ),
}


@pytest.mark.parametrize("run", RUNS)
def test_validation_losses_give_the_logged_rates(run: str) -> None:
    start, losses, logged = RUNS[run]
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
    schedule = plateau_schedule(optimizer)
    replayed = []
    for loss in map(float, losses.split()):
        replayed.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(loss)
    assert replayed == pytest.approx(logged, rel=1e-9)
