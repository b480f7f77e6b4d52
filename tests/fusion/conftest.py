"""Score tables for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion.formats.foreign_scores import four_axes
from fusion.score_file import ScoreTable


@pytest.fixture(scope="session")
def make_table() -> Callable[..., ScoreTable]:
    """A factory: scores (V, C), (V, S, C) or (V, S, R, C), videos v0.., classes c0.., labels 0."""

    def make(scores: Any, *, kind: str = "logits", **given: Any) -> ScoreTable:
        array = four_axes(np.asarray(scores, dtype=np.float32))
        videos, classes = array.shape[0], array.shape[3]
        return ScoreTable(
            names=tuple(given.pop("names", [f"v{row}" for row in range(videos)])),
            class_names=tuple(given.pop("class_names", [f"c{row}" for row in range(classes)])),
            scores=array,
            labels=np.array(given.pop("labels", [0] * videos), dtype=np.int64),
            kind=kind,
            about=given,
        )

    return make
