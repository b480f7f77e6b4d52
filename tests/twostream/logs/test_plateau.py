from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostream.logs.plateau import replay
from twostream.training.schedule import plateau_schedule


@given(
    losses=st.lists(st.sampled_from([1.0, 1.5, 2.0, 1.99981, 3.0]), min_size=1, max_size=40),
    start=st.sampled_from([0.01, 5e-4, 2e-8]),
)
def test_the_rule_is_that_of_torch(losses: list[float], start: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=start)
    schedule = plateau_schedule(optimizer)
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step(loss)
    done = replay(range(len(losses)), losses, rates)
    assert done.replayed == pytest.approx(rates, rel=1e-9)
    assert done.agreeing() == len(losses)


def test_where_no_fall_is_possible() -> None:
    rates = [1e-7, 1e-7, 1e-7, 1e-8, 1e-8]
    done = replay(range(3, 8), [1.0, 2.0, 2.0, 2.0, 2.0], rates)
    np.testing.assert_allclose(done.replayed, rates)
    assert done.floor_from == 6


def test_other_rates_do_not_agree() -> None:
    assert replay([0, 1, 2, 3], [1.0, 2.0, 2.0, 2.0], [0.1, 0.1, 0.05, 0.025]).agreeing() == 2
