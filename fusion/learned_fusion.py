"""Score tables fused by what is learnt from labels, cross-fitted or on validation scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusion.calibrated import mean_logits, other_logits
from fusion.fuse import Fusion, fused_table
from fusion.join import join
from fusion.learned import Learner, Predict, learn, learned_in_folds
from fusion.probabilities import softmax
from fusion.score_file import ScoreTable
from fusion.step import MEAN, Step
from fusion.strategies import mean
from fusion.votes import cast_votes
from twostream.errors import InputError


def learned_fusion(
    tables: Mapping[str, ScoreTable],
    learner: Learner,
    *,
    name: str,
    folds: np.ndarray | None = None,
    others: Mapping[str, ScoreTable] | None = None,
) -> Fusion:
    """Fuse the mean logits of each video's views by `learner`, to probabilities.

    It learns from the labelled videos of all `folds` (V,) but a video's own, or from `others`:
    validation scores of the same streams. `name` stands in the header.

    Raises:
        InputError: one input alone, or others that lack a stream, share videos or have no labels.
    """
    votes = cast_votes(tables)
    if len(votes.scores) < 2:
        raise InputError("learning a fusion needs two inputs")
    joined, _ = join(tables)
    logits = _stacked(joined)
    if folds is not None:
        fused, where = learned_in_folds(logits, votes.labels, folds, learner), "crossfit"
    else:
        fused, where = _learned_elsewhere(joined, others or {}, learner)(logits), "val"
    # The header's strategy of the streams: nothing that could be applied without the labels.
    streams = Step(name, mean, {"learned_on": where})
    steps = {"crops": MEAN, "segments": MEAN, "streams": streams}
    table = fused_table(votes, softmax(fused), "probs", steps)
    return Fusion(table, votes, list(votes.warnings))


def _stacked(joined: Mapping[str, ScoreTable]) -> np.ndarray:
    return np.stack([mean_logits(table) for table in joined.values()], axis=1)


def _learned_elsewhere(
    joined: Mapping[str, ScoreTable], others: Mapping[str, ScoreTable], learner: Learner
) -> Predict:
    joined_others, _ = join({key: others[key] for key in joined if key in others})
    pairs = [other_logits(key, table, joined_others) for key, table in joined.items()]
    return learn(np.stack([logits for logits, _ in pairs], axis=1), pairs[0][1], learner)
