"""From sequence score files to glosses: streams fused at each time step, then decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fusion.probabilities import as_log_probs, softmax
from fusion.step import Step, reduced
from twostream.errors import InputError, some_of
from twostream.sequence.decoding import Hypothesis, greedy, log_probability
from twostream.sequence.score_file import SequenceScores

Decoder = Callable[[np.ndarray], list[Hypothesis]]


def fuse_steps(
    streams: Mapping[str, SequenceScores], step: Step, *, combine: str
) -> dict[str, np.ndarray]:
    """Fuse the streams' scores at each time step: name -> log-probabilities (T, classes).

    Args:
        combine: `logits`, the log-probabilities, or `probs`. They are normalised again afterwards.

    Raises:
        InputError: other videos, glosses, or time steps in one of the streams.
    """
    tables = list(streams.values())
    check_joinable(streams)
    first = tables[0]
    rows = [dict(zip(table.names, table.log_probs, strict=True)) for table in tables]
    fused = {}
    for name in first.names:
        voters = np.stack([row[name] for row in rows], axis=-2).astype(np.float64)
        given = softmax(voters) if combine == "probs" else voters
        made = reduced(given, step, kind=combine)
        fused[name] = as_log_probs(made.scores, made.kind)
    return fused


def check_joinable(streams: Mapping[str, SequenceScores]) -> None:
    """Hold the streams against the first one.

    Raises:
        InputError: other videos, glosses, or time steps, and of which stream and video.
    """
    (base, first), *others = streams.items()
    steps = {name: len(rows) for name, rows in zip(first.names, first.log_probs, strict=True)}
    for key, table in others:
        if set(table.names) != set(first.names):
            differing = sorted(set(table.names) ^ set(first.names))
            raise InputError(f"{base} and {key} score different videos: {some_of(differing)}")
        if table.vocabulary != first.vocabulary:
            raise InputError(f"{base} and {key} were trained with different vocabularies")
        unlike = [
            f"{name} ({steps[name]} and {len(rows)})"
            for name, rows in zip(table.names, table.log_probs, strict=True)
            if len(rows) != steps[name]
        ]
        if unlike:
            raise InputError(
                f"{base} and {key} have different time steps: {some_of(unlike, limit=3)}; train "
                "both with temporal modules that keep the same number"
            )


def decode_greedily(log_probs: np.ndarray) -> list[Hypothesis]:
    """The best path, as the one hypothesis."""
    labels = greedy(log_probs)
    return [Hypothesis(labels, log_probability(log_probs, labels))]


def decode_all(
    log_probs: Mapping[str, np.ndarray], decoder: Decoder
) -> dict[str, list[Hypothesis]]:
    """Hypotheses of each video, best first; a video without a time step has the empty one."""
    return {
        name: decoder(rows) if len(rows) else [Hypothesis((), 0.0)]
        for name, rows in log_probs.items()
    }


def written_ctm(sentences: Mapping[str, Sequence[str]]) -> str:
    """NIST's ctm, the place in the sentence as time: CTC does not say when a gloss was signed."""
    lines = [
        f"{name} 1 {place:.2f} 1.00 {gloss}"
        for name, glosses in sentences.items()
        for place, gloss in enumerate(glosses or ["[EMPTY]"])
    ]
    return "\n".join([*lines, ""])


def written_csv(sentences: Mapping[str, Sequence[str]]) -> str:
    """`name|glosses`, as `twostream wer` reads it."""
    rows = [f"{name}|{' '.join(glosses)}" for name, glosses in sentences.items()]
    return "\n".join(["name|glosses", *rows, ""])
