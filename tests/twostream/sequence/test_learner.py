from __future__ import annotations

from typing import Any

import pytest
import torch

from twostream.errors import InputError
from twostream.sequence.batches import Batch
from twostream.sequence.learner import SequenceLearner
from twostream.sequence.prediction import predict
from twostream.sequence.run_folder import SequenceOptions
from twostream.training.loop import NotFiniteError

OPTIONS = {
    "stream": "spatial", "backbone": "plain width=2", "temporal": ("conv widths=8,8,8",),
    "frame_size": 36, "input_size": 32, "dataset": "toy", "annotations": "", "videos": "",
    "vocabulary": "", "allow_missing": False, "runs": "", "name": "", "epochs": 4, "seed": 0,
    "batch_size": 2, "lr": 1e-2, "stage_lr": (), "halve_at": (1, 3), "weight_decay": 0.0,
    "clip_norm": 5.0, "ema": 0.0, "average": "", "load": "", "load_stages": (), "freeze": (),
    "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip
TARGETS = [[1, 2], [2]]


def learner(**changed: Any) -> SequenceLearner:
    return SequenceLearner(SequenceOptions(**{**OPTIONS, **changed}), classes=4, fresh=True)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return clips, torch.tensor([16, 12]), [0, 1]


def test_it_learns() -> None:
    one = learner(halve_at=())
    losses = [one.train_epoch([batch()] * 2, epoch=e, targets=TARGETS).loss for e in range(12)]
    assert losses[-1] < losses[0] / 4
    assert all(not sums for sums in [one.train_epoch([], epoch=0, targets=TARGETS).sequences])


def test_rates_are_halved_at_their_epochs() -> None:
    one = learner(stage_lr=("backbone=1e-4",))
    rates = []
    for epoch in range(4):
        one.train_epoch([], epoch=epoch, targets=TARGETS)
        rates.append(sorted(group["lr"] for group in one.optimizer.param_groups))
    assert rates == [[1e-4, 1e-2], [5e-5, 5e-3], [5e-5, 5e-3], [2.5e-5, 2.5e-3]]


def test_short_videos_are_counted_apart() -> None:
    targets = [[1, 2], [1, 1, 1, 1]]  # 16 frames make 4 steps, 12 make 3: seven are needed
    sums = learner().train_epoch([batch()], epoch=0, targets=targets)
    assert (sums.sequences, sums.short) == (1, [1])


def test_the_average_follows_the_weights() -> None:
    one = learner(ema=0.9)
    one.train_epoch([batch()] * 3, epoch=0, targets=TARGETS)
    assert one.average is not None
    assert one.average.n_averaged == 1 + 3
    assert one.scored is one.average.module
    ours, theirs = one.scored.state_dict(), one.network.state_dict()
    assert not torch.equal(ours["classifier.weight"], theirs["classifier.weight"])
    again = learner(ema=0.9)
    again.scored.load_state_dict(ours)
    again.restore(one.state())
    assert torch.equal(again.network.state_dict()["classifier.weight"], theirs["classifier.weight"])


def test_a_loss_that_is_not_finite() -> None:
    one = learner()
    torch.nn.init.constant_(one.network.classifier.bias, float("nan"))
    with pytest.raises(NotFiniteError, match="a loss of"):
        one.train_epoch([batch()], epoch=0, targets=TARGETS)


def test_unknown_parts() -> None:
    with pytest.raises(InputError, match="no part 'head'"):
        learner(freeze=("head",))


def test_predictions_have_their_true_length() -> None:
    one = learner()
    found = predict(one.network, [batch()], device=one.device, precision="fp32")
    assert [len(found[index]) for index in (0, 1)] == [4, 3]
