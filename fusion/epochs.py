"""Fusion over epochs: the score files that `train --dump-scores` keeps of one run become one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusion.join import join
from fusion.score_file import ScoreTable
from fusion.step import Step, reduced
from fusion.votes import view_scores
from twostream.errors import InputError

_DUMP = re.compile(r"epoch-(\d+)(-test)?\.safetensors")


def find_epochs(run_scores: Path, wanted: str, *, subset: str) -> list[Path]:
    """The files of some epochs in a folder, oldest first.

    `epoch-017.safetensors` is of the videos that select the epoch, `epoch-017-test.safetensors` of
    the test videos where these are others.

    Args:
        wanted: `all`, `last:5`, or numbers as `3,5,8`.
        subset: of the videos, `val` or `test`.

    Raises:
        InputError: none are there, or not those that are wanted.
    """
    dumps = [
        (match, path)
        for path in sorted(run_scores.glob("epoch-*"))
        if (match := _DUMP.fullmatch(path.name))
    ]
    apart = subset == "test" and any(match[2] for match, _ in dumps)
    found = {int(match[1]): path for match, path in dumps if bool(match[2]) == apart}
    epochs = sorted(found)
    if wanted != "all" and (last := re.fullmatch(r"last:([1-9]\d*)", wanted)):
        chosen = epochs[-int(last[1]) :]
        lacking = int(last[1]) - len(chosen)
    elif wanted == "all" or re.fullmatch(r"\d+(,\d+)*", wanted):
        chosen = epochs if wanted == "all" else sorted({int(text) for text in wanted.split(",")})
        lacking = len(set(chosen) - set(epochs)) + (not chosen)
    else:
        raise InputError(f"--epochs {wanted!r}: expected all, last:N, or numbers as 3,5,8")
    if lacking:
        there = ", ".join(map(str, epochs)) or "none"
        raise InputError(
            f"--epochs {wanted}: {run_scores} holds the scores of epochs {there}; "
            "`twostream train --dump-scores last:N` keeps them"
        )
    return [found[epoch] for epoch in chosen]


def fuse_epochs(tables: Mapping[str, ScoreTable], step: Step) -> ScoreTable:
    """One table of the same stream at several epochs (oldest first), view by view.

    One epoch alone stays as it is.

    Raises:
        InputError: the tables do not join, differ in their views, or the strategy fails.
    """
    joined, _ = join(tables)
    shapes = {key: f"{table.kind} {table.scores.shape[1:3]}" for key, table in joined.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{key}: {shape}" for key, shape in shapes.items())
        raise InputError(f"the epochs differ in their kind or views (segments, crops): {listed}")
    last = list(joined.values())[-1]
    if len(joined) == 1:
        return last
    kind = "probs" if last.kind == "probs" else "logits"
    stacked = np.stack([view_scores(table, kind) for table in joined.values()], axis=-2)
    fused = reduced(stacked, step, kind=kind)
    epochs = [table.about.get("epoch", key) for key, table in joined.items()]
    about = last.about | {"epoch": epochs, "epochs": {"strategy": step.name, **step.options}}
    return replace(last, scores=fused.scores.astype(np.float32), kind=fused.kind, about=about)
