from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twostream.compute.device import Runtime
from twostream.sequence.batches import Batch
from twostream.sequence.checkpoint import best_epochs
from twostream.sequence.decoding import log_probability
from twostream.sequence.learner import SequenceLearner, ctc_losses, predict, validation_row
from twostream.sequence.lists import SequenceRecord, min_time_steps
from twostream.sequence.options import SequenceOptions
from twostream.sequence.transcripts import NORMALISERS, usual_normaliser
from twostream.training.loop import NotFiniteError
from twostream_base.errors import InputError

OPTIONS = {
    "stream": "spatial", "backbone": "plain width=2", "temporal": ("conv widths=8,8,8",),
    "frame_size": 36, "input_size": 32, "dataset": "toy", "annotations": "", "videos": "",
    "store": "", "start_from": (), "fuse": "sum", "similarity": "joined", "auxiliary_loss": 0.0,
    "vocabulary": "", "allow_missing": False, "use_damaged": False, "runs": "", "name": "",
    "epochs": 4, "seed": 0,
    "batch_size": 2, "lr": 1e-2, "stage_lr": (), "halve_at": (1, 3), "weight_decay": 0.0,
    "clip_norm": 5.0, "flip": 0.0, "ema": 0.0, "average": "", "beam": 0,
    "normalise": "none", "load": "", "load_stages": (), "freeze": (),
    "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip
TARGETS = [[1, 2], [2]]


def make_learner(**changed: Any) -> SequenceLearner:
    return SequenceLearner(SequenceOptions(**{**OPTIONS, **changed}), classes=4, fresh=True)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return clips, torch.tensor([16, 12]), [0, 1]


def test_it_learns() -> None:
    learner = make_learner(halve_at=())
    losses = [learner.train_epoch([batch()] * 2, epoch=e, targets=TARGETS).loss for e in range(12)]
    assert losses[-1] < losses[0] / 4
    assert learner.train_epoch([], epoch=0, targets=TARGETS).sequences == 0


def test_rates_are_halved_at_their_epochs() -> None:
    learner = make_learner(stage_lr=("backbone=1e-4",))
    rates = []
    for epoch in range(4):
        learner.train_epoch([], epoch=epoch, targets=TARGETS)
        rates.append(sorted(group["lr"] for group in learner.optimizer.param_groups))
    assert rates == [[1e-4, 1e-2], [5e-5, 5e-3], [5e-5, 5e-3], [2.5e-5, 2.5e-3]]


def test_too_short_videos_are_skipped() -> None:
    targets = [[1, 2], [1, 1, 1, 1]]  # 16 frames make 4 steps, 12 make 3: seven are needed
    totals = make_learner().train_epoch([batch()], epoch=0, targets=targets)
    assert (totals.sequences, totals.too_short) == (1, [1])


def test_the_average_follows_the_weights() -> None:
    learner = make_learner(ema=0.9)
    learner.train_epoch([batch()] * 3, epoch=0, targets=TARGETS)
    assert learner.average is not None
    assert learner.average.n_averaged == 1 + 3
    assert learner.eval_network is learner.average.module
    averaged, current = learner.eval_network.state_dict(), learner.network.state_dict()
    assert not torch.equal(averaged["classifier.weight"], current["classifier.weight"])
    resumed = make_learner(ema=0.9)
    resumed.eval_network.load_state_dict(averaged)
    resumed.restore(learner.state())
    restored = resumed.network.state_dict()
    assert torch.equal(restored["classifier.weight"], current["classifier.weight"])


def test_a_loss_that_is_not_finite() -> None:
    learner = make_learner()
    torch.nn.init.constant_(learner.network.classifier.bias, float("nan"))
    with pytest.raises(NotFiniteError, match="nan"):
        learner.train_epoch([batch()], epoch=0, targets=TARGETS)


def test_unknown_parts() -> None:
    with pytest.raises(InputError, match="'head'.*backbone, temporal"):
        make_learner(freeze=("head",))


def test_predictions_have_their_true_length() -> None:
    learner = make_learner()
    log_probs = predict(learner.network, [batch()], Runtime(learner.device, "fp32", 1, 1))
    assert [len(log_probs[index]) for index in (0, 1)] == [4, 3]


@pytest.mark.parametrize(
    ("labels", "steps"), [((), 0), ((3,), 1), ((1, 2, 1), 3), ((1, 1), 3), ((2, 2, 2, 1), 6)]
)
def test_min_time_steps(labels: tuple[int, ...], steps: int) -> None:
    assert min_time_steps(labels) == steps


def test_losses_are_without_padding() -> None:
    """Padding has no influence; the forward algorithm agrees."""
    torch.manual_seed(0)
    log_probs = torch.randn(3, 9, 4).log_softmax(2)
    targets = [[1, 2], [3], [2, 2, 1]]
    losses, too_short = ctc_losses(log_probs, torch.tensor([9, 4, 6]), targets)
    assert too_short == []
    for n, length in enumerate((9, 4, 6)):
        expected = -log_probability(log_probs[n, :length].double().numpy(), targets[n])
        assert losses[n].item() == pytest.approx(expected, rel=1e-5)


def test_too_short_sequences_are_set_apart() -> None:
    log_probs = torch.zeros(4, 5, 3, requires_grad=True).log_softmax(2)
    losses, too_short = ctc_losses(
        log_probs, torch.tensor([2, 3, 0, 5]), [[1, 1], [1, 1], [1], [1]]
    )
    assert too_short == [0, 2]
    assert torch.isfinite(losses).all()
    losses.sum().backward()
    none, too_short = ctc_losses(log_probs[:1], torch.tensor([0]), [[1]])
    assert (len(none), too_short) == (0, [0])


def test_row() -> None:
    """Video a is recognised, b gives A for B, c has no time step, d too few for a finite loss."""
    sure = np.log(np.full((3, 3), 0.1) + np.diag([0.7] * 3)[[1, 0, 2]])
    log_probs = {0: sure, 1: sure[:1], 2: sure[:0], 3: sure[:1]}
    glosses = [("A", "B"), ("B",), ("A",), ("A", "A")]
    records = [SequenceRecord(str(n), Path(), words) for n, words in enumerate(glosses)]
    row = validation_row(log_probs, records, ("A", "B"))
    assert (row["substitutions"], row["deletions"], row["insertions"]) == (1, 2, 0)
    assert (row["errors"], row["words"], row["wer"]) == (3, 6, 0.5)
    # a: 1 _ 2, 1 1 2, 1 2 2, 1 2 _, _ 1 2; b: 2
    paths = 0.8 * 0.8 * 0.8 + 0.8 * 0.1 * 0.8 * 2 + 0.8 * 0.1 * 0.1 + 0.1 * 0.1 * 0.8
    assert row["val_loss"] == pytest.approx((-np.log(paths) - np.log(0.1)) / 2)


def test_row_of_a_beam_and_a_clean_up() -> None:
    """Greedily the best path is blank, blank (0.36); A has 0.16 + 0.24 + 0.24 in three paths."""
    rows = np.log([[0.6, 0.4], [0.6, 0.4]])
    records = [SequenceRecord("a", Path(), ("loc-A", "__EMOTION__"))]

    def errors(**options: Any) -> int:
        return int(validation_row({0: rows}, records, ("A",), **options)["errors"])

    assert errors() == 2
    assert errors(beam=2) == 2
    assert errors(beam=2, normalise=NORMALISERS["phoenix2014"]) == 0
    assert errors(normalise=NORMALISERS["phoenix2014"]) == 1


@pytest.mark.parametrize(
    ("dataset", "name"), [("phoenix2014", "phoenix2014"), ("csv", "none"), ("own:lists", "none")]
)
def test_the_usual_clean_up(dataset: str, name: str) -> None:
    assert usual_normaliser(dataset) == name


def test_best_epochs() -> None:
    rows = [
        {"epoch": 0, "errors": 5, "val_loss": 1.0},
        {"epoch": 1, "errors": 3, "val_loss": 2.0},
        {"epoch": 2, "errors": 3, "val_loss": 1.5},
    ]
    assert best_epochs(rows, 1) == [2]
    assert best_epochs(rows, 2) == [2, 1]
