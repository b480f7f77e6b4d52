"""From sequence scores to glosses: streams fused at each time step, then decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fusion.combining.probabilities import as_log_probs, softmax
from fusion.combining.step import Step, reduced
from twostream.sequence.decoding import Hypothesis, greedy, log_probability
from twostream.sequence.score_file import SequenceScores
from twostream_base.errors import InputError, some_of

Decoder = Callable[[np.ndarray], list[Hypothesis]]


def fuse_steps(
    streams: Mapping[str, SequenceScores], step: Step, *, combine: str
) -> dict[str, np.ndarray]:
    """Fuse the streams' scores at each time step: name -> log-probabilities (T, classes).

    Args:
        combine: `logits`, the log-probabilities, or `probs`. They are normalised again afterwards.

    Raises:
        InputError: the streams differ in videos, vocabulary or time steps.
    """
    check_same_videos(streams)
    tables = list(streams.values())
    by_name = [dict(zip(table.names, table.log_probs, strict=True)) for table in tables]
    fused = {}
    for name in tables[0].names:
        scores = np.stack([rows[name] for rows in by_name], axis=-2).astype(np.float64)
        result = reduced(softmax(scores) if combine == "probs" else scores, step, kind=combine)
        fused[name] = as_log_probs(result.scores, result.kind)
    return fused


def check_same_videos(streams: Mapping[str, SequenceScores]) -> None:
    """Compare every stream with the first one.

    Raises:
        InputError: other videos, vocabulary, or time steps; streams and videos are named.
    """
    (base, first), *others = streams.items()
    steps = {name: len(rows) for name, rows in zip(first.names, first.log_probs, strict=True)}
    for key, table in others:
        if set(table.names) != set(first.names):
            different = sorted(set(table.names) ^ set(first.names))
            raise InputError(f"{base} and {key} score different videos: {some_of(different)}")
        if table.vocabulary != first.vocabulary:
            raise InputError(f"{base} and {key} were trained with different vocabularies")
        unequal = [
            f"{name} ({steps[name]} and {len(rows)})"
            for name, rows in zip(table.names, table.log_probs, strict=True)
            if len(rows) != steps[name]
        ]
        if unequal:
            raise InputError(
                f"{base} and {key} have different time steps: {some_of(unequal, limit=3)}; train "
                "both with temporal modules that keep the same number"
            )


def greedy_decoder(log_probs: np.ndarray) -> list[Hypothesis]:
    """The best path, as the only hypothesis."""
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


def format_ctm(sentences: Mapping[str, Sequence[str]]) -> str:
    """NIST's ctm, with the position in the sentence as time: CTC gives no times."""
    lines = [
        f"{name} 1 {position:.2f} 1.00 {gloss}"
        for name, glosses in sentences.items()
        for position, gloss in enumerate(glosses or ["[EMPTY]"])
    ]
    return "\n".join([*lines, ""])


def format_csv(sentences: Mapping[str, Sequence[str]]) -> str:
    """`name|glosses`, as `twostream wer` reads it."""
    rows = [f"{name}|{' '.join(glosses)}" for name, glosses in sentences.items()]
    return "\n".join(["name|glosses", *rows, ""])
