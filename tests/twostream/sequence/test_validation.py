from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twostream.sequence.lists import SequenceRecord
from twostream.sequence.validation import best_epochs, validation_row


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


def test_best_epochs() -> None:
    rows = [
        {"epoch": 0, "errors": 5, "val_loss": 1.0},
        {"epoch": 1, "errors": 3, "val_loss": 2.0},
        {"epoch": 2, "errors": 3, "val_loss": 1.5},
    ]
    assert best_epochs(rows, 1) == [2]
    assert best_epochs(rows, 2) == [2, 1]
