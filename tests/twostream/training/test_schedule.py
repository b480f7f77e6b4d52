"""The learning rates of real runs, replayed from their validation losses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.optim import SGD

from twostream.training.schedule import Schedule

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
        24,
    ),
    "UCF101 spatial ResNet18": (
        5e-4,
        UCF101_SPATIAL,
        [5e-4] * 6 + [5e-5] * 2 + [5e-6] * 2 + [5e-7] * 3 + [5e-8] * 2 + [5e-9] * 2,
        16,
    ),
}


def replay(
    start: float, losses: list[float], *, kind: str = "plateau", **options: Any
) -> tuple[list[float], int | None]:
    """The rate of every epoch, and the epoch after which nothing can change any more."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
    schedule = Schedule(optimizer, kind=kind, epochs=len(losses), **options)
    rates, exhausted = [], None
    for epoch, loss in enumerate(losses):
        schedule.begin(epoch)
        rates.append(schedule.lr)
        optimizer.step()
        schedule.end(epoch, loss)
        if schedule.exhausted and exhausted is None:
            exhausted = epoch
    return rates, exhausted


@pytest.mark.parametrize("run", RUNS)
def test_validation_losses_give_the_logged_rates(run: str) -> None:
    start, losses, logged, _ = RUNS[run]
    rates, _ = replay(start, [float(loss) for loss in losses.split()])
    assert rates == pytest.approx(logged, rel=1e-9)


@pytest.mark.parametrize("run", RUNS)
def test_the_epoch_after_which_the_rate_cannot_fall(run: str) -> None:
    """The HMDB51 run went on for 13 epochs after that, the UCF101 run was stopped right there."""
    start, losses, _, last = RUNS[run]
    assert replay(start, [float(loss) for loss in losses.split()])[1] == last


def test_a_better_loss_at_the_floor_is_not_the_end() -> None:
    losses = [1.0, 2.0, 2.0, 0.9, 2.0, 0.8, 2.0, 2.0]
    assert replay(1e-8, losses)[1] == 2
    assert replay(1e-8, [3.0, 2.9, 2.8, 3.0, 2.7, 3.0])[1] is None


def test_cosine_after_a_warm_up() -> None:
    rates, exhausted = replay(0.8, [1.0] * 6, kind="cosine", warmup=2)
    half = 0.5**0.5
    cosines = [(1 + c) / 2 for c in (1.0, half, 0.0, -half)]
    assert rates == pytest.approx([0.8 / 3, 0.8 * 2 / 3, *(0.8 * c for c in cosines)])
    assert exhausted is None


def test_steps() -> None:
    rates, _ = replay(1.0, [1.0] * 6, kind="steps", milestones=(2, 5))
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.01])


def test_the_plateau_waits_for_the_warm_up() -> None:
    rates, _ = replay(1.0, [1.0, 5.0, 5.0, 5.0, 5.0, 5.0], warmup=2)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 0.1])


def test_a_schedule_taken_up_again_goes_on_alike() -> None:
    losses = [float(loss) for loss in HMDB51_MOTION.split()]
    whole, _ = replay(0.01, losses, warmup=1)
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = Schedule(optimizer, kind="plateau", epochs=38, warmup=1)
    rates = []
    for epoch, loss in enumerate(losses):
        schedule.begin(epoch)
        rates.append(schedule.lr)
        optimizer.step()
        schedule.end(epoch, loss)
        kept = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
        optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
        schedule = Schedule(optimizer, kind="plateau", epochs=38, warmup=1)
        optimizer.load_state_dict(kept[0])
        schedule.load_state_dict(kept[1])
    assert rates == whole
