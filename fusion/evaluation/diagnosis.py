"""Automatic warnings: what goes wrong between streams without an error, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from fusion.combining.fuse import VideoScores
from fusion.evaluation.metrics import proportion, shown_measures, wilson_interval
from twostream_base.errors import some_of

SCALE_LEAK = (
    1.5  # logits this many times as wide as another stream's are louder, not more confident
)
COPIES = 0.97  # agreement above which a fusion merely repeats one stream
_TOP = 5
_ENOUGH = 20


def diagnose(streams: VideoScores, fused: np.ndarray, *, strategy: str) -> list[str]:
    """Warnings about the streams' scores and their fusion; each names the cure.

    `fused` has the first class of each video (V,) by the fusion.
    """
    findings = [*scale_leak(streams, fused, strategy=strategy)]
    for key, scores in streams.scores.items():
        if line := doubled_rows(streams.names, scores):
            findings.append(f"{key}: {line}")
        if line := at_chance(scores, streams.labels) or swapped_classes(streams, scores):
            findings.append(f"{key}: {line}")
    if len(streams.scores) > 1 and (line := suspicious_labels(streams)):
        findings.append(line)
    return findings


def scale_leak(streams: VideoScores, fused: np.ndarray, *, strategy: str) -> list[str]:
    """A fusion that one stream decides alone, or whose streams' logits differ in scale."""
    if len(streams.scores) < 2 or strategy in streams.scores:
        return []
    winners = {key: scores.argmax(axis=1) for key, scores in streams.scores.items()}
    agreement = {key: float((fused == won).mean()) for key, won in winners.items()}
    second, first = sorted(agreement, key=lambda key: agreement[key])[-2:]
    wide = {key: logit_width(scores) for key, scores in streams.scores.items()}
    loudest, quietest = max(wide, key=lambda key: wide[key]), min(wide, key=lambda key: wide[key])
    ratio = wide[loudest] / wide[quietest] if wide[quietest] else np.inf
    # A calibrated stream is wider where it knows more.
    calibrated = all("calibration" in facts for facts in streams.metadata.values())
    leaks = streams.score_type == "logits" and ratio >= SCALE_LEAK and not calibrated
    width = f"are {ratio:.1f}x as wide as those of {quietest}"
    if agreement[first] >= COPIES > agreement[second]:
        cause = f"its logits {width}: this is not fusion; try --calibrate"
        text = f"{strategy} agrees with {first} on {100 * agreement[first]:.1f} % of the videos"
        return [f"{text}; {cause if leaks and first == loudest else f'{first} decides alone'}"]
    leak = f"the logits of {loudest} {width}, which weighs it more; try --calibrate"
    return [leak] if leaks else []


def logit_width(scores: np.ndarray) -> float:
    """How wide (V, C) scores are: the mean, over videos, of their deviation over the classes."""
    return float(scores.std(axis=1).mean())


def doubled_rows(names: Sequence[str], scores: np.ndarray) -> str | None:
    """Videos (rows of `scores`) whose scores are another's to the bit."""
    first: dict[bytes, str] = {}
    pairs = []
    for name, row in zip(names, scores, strict=True):
        other = first.setdefault(blake2b(row.tobytes(), digest_size=16).digest(), name)
        if other != name:
            pairs.append(f"{name} as {other}")
    if not pairs:
        return None
    return f"{len(pairs)} videos have the scores of another one: {some_of(pairs)}"


def at_chance(scores: np.ndarray, labels: np.ndarray) -> str | None:
    """Whether (V, C) scores are right no more often than guesses are; of few videos nothing."""
    known = labels >= 0
    right = int((scores[known].argmax(axis=1) == labels[known]).sum())
    top1, chance = proportion(right, int(known.sum())), 100 / scores.shape[1]
    if top1["of"] < _ENOUGH or top1["interval"][0] > chance:
        return None
    return (
        f"top-1 is {top1['percent']:.2f} %, no better than chance ({chance:.2f} %): are the "
        "labels, or the order of the classes, those of another list?"
    )


def swapped_classes(streams: VideoScores, scores: np.ndarray) -> str | None:
    """Classes that a stream mostly predicts as each other, in a cycle.

    Mostly: in more than half of their videos, beyond the doubt of a 95 % interval.
    """
    classes = len(streams.class_names)
    known = streams.labels >= 0
    pairs = streams.labels[known] * classes + scores[known].argmax(axis=1)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    moved = {
        c: int(row.argmax())
        for c, row in enumerate(confusion)
        if row.any() and row.argmax() != c and wilson_interval(row.max(), row.sum())[0] > 0.5
    }
    while loose := [c for c in moved if moved[c] not in moved or c not in moved.values()]:
        moved = {c: to for c, to in moved.items() if c not in loose}
    if not moved:
        return None
    names = [
        f"{streams.class_names[c]} is predicted as {streams.class_names[to]}"
        for c, to in moved.items()
    ]
    return f"its classes seem to be in another order: {some_of(names)}; give its own class list"


def suspicious_labels(streams: VideoScores) -> str | None:
    """Videos for which all streams agree on another class, with the label not in their top 5."""
    if "top5" not in shown_measures(len(streams.class_names)):
        return None
    winners = np.stack([scores.argmax(axis=1) for scores in streams.scores.values()])
    suspects = (winners == winners[0]).all(axis=0) & (streams.labels >= 0)
    for scores in streams.scores.values():
        true = np.take_along_axis(scores, np.maximum(streams.labels, 0)[:, None], axis=1)
        suspects &= (scores > true).sum(axis=1) >= _TOP
    listed = [
        f"{streams.names[v]} ({streams.class_names[winners[0, v]]}?)"
        for v in np.flatnonzero(suspects)
    ]
    if not listed:
        return None
    reason = "as all streams agree on another class"
    return f"{len(listed)} labels to look at, {reason}: {some_of(listed)}"
