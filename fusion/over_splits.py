"""What `fuse`, `tune` and `compare` do over several splits: each by itself, then the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion import workflows
from fusion.combining.fuse import VideoScores
from fusion.combining.inputs import FusionOptions, find_files, read_inputs, split_options
from fusion.evaluation.comparison import class_accuracy
from fusion.evaluation.pooled import SplitAnswers, compare_over_splits
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import read_head
from twostream_base.errors import InputError

MEASURES = ("top1", "top5", "mean_class")
_ALIKE = ("dataset", "subset", "protocol", "model", "selected_on")


def fuse_splits(
    options: FusionOptions, *, out: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Fuse each split by itself, as `fuse_files` does.

    The result has `splits`, the results of each; `inputs` and `fused` (and `unfitted`), the mean
    percents over the splits; `missing`, a line for each split that is not there; and `warnings`.

    Args:
        out: score files for the fused scores, with `{split}` in the name.

    Raises:
        InputError: splits of different inputs, an `out` without `{split}`, or what `fuse_files`
            and `split_options` refuse.
    """
    chosen, missing = split_options(options)
    outs = out_files(out, chosen, option="--out")
    results: dict[int, dict[str, Any]] = {}
    for split, of_split, of_all in _parts(chosen, progress):
        results[split] = workflows.fuse_files(of_split, out=outs.get(split), progress=of_all)
    streams = _same({split: [row["stream"] for row in r["inputs"]] for split, r in results.items()})
    listed = list(results.values())
    return {
        "splits": [{"split": split} | result for split, result in results.items()],
        "strategy": listed[0]["strategy"],
        "segments": listed[0]["segments"],
        "inputs": [
            {"stream": stream} | mean_accuracy([result["inputs"][number] for result in listed])
            for number, stream in enumerate(streams)
        ],
        "fused": mean_accuracy([result["fused"] for result in listed]),
        "unfitted": mean_accuracy([result["unfitted"] for result in listed])
        if listed[0]["unfitted"]
        else None,
        "fitted_on": listed[0]["fitted_on"],
        "missing": missing,
        "warnings": _warnings(chosen, {s: result["warnings"] for s, result in results.items()}),
    }


def tune_splits(
    options: FusionOptions,
    *,
    choose: str = "val",
    cascade: float | None = None,
    curve: Path | None = None,
    out: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Find the weights of each split by itself, as `tune_files` does.

    The result has `splits`, the results of each; the mean of `held_out`, `equal` and `picked` in
    percent, that of the `weights`, `missing` and `warnings`.
    """
    chosen, missing = split_options(options)
    outs, curves = (
        out_files(path, chosen, option=option)
        for path, option in ((out, "--out"), (curve, "--curve"))
    )
    results: dict[int, dict[str, Any]] = {}
    for split, of_split, of_all in _parts(chosen, progress):
        results[split] = workflows.tune_files(
            of_split,
            choose=choose,
            cascade=cascade,
            curve=curves.get(split),
            out=outs.get(split),
            progress=of_all,
        )
    streams = _same({split: list(result["weights"]) for split, result in results.items()})
    listed = list(results.values())
    return {
        "splits": [{"split": split} | result for split, result in results.items()],
        "chosen_on": choose,
        "weights": {
            stream: float(np.mean([result["weights"][stream] for result in listed]))
            for stream in streams
        },
        **{
            key: _mean([result[key]["percent"] for result in listed]) if listed[0][key] else None
            for key in ("held_out", "equal", "picked")
        },
        "fitted_on": listed[0]["fitted_on"],
        "missing": missing,
        "warnings": _warnings(chosen, {s: result["warnings"] for s, result in results.items()}),
    }


def compare_splits(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = workflows.COMPARED,
    stream_weights: str | None = None,
    alone: bool = False,
    classes: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Compare streams and fusions over splits, each pair within the splits: see
    `compare_over_splits`.

    `classes` counts the right answers of each class, over all splits.
    """
    chosen, missing = split_options(options)
    answers, warnings, marks = [], dict[int, list[str]](), dict[str, str]()
    counts: dict[str, dict[str, Any]] = {}
    for split, of_split, of_all in _parts(chosen, part_of(progress, 0, 0.9)):
        results, streams, calibrated = workflows.compared_answers(
            read_inputs(of_split),
            of_split,
            strategies=strategies,
            stream_weights=stream_weights,
            alone=alone,
            progress=of_all,
        )
        answers.append(answers_of(split, results, streams))
        warnings[split] = streams.warnings
        marks |= workflows.fitted_on(results, streams, calibrated)
        for row in class_accuracy(results, streams.labels, streams.class_names) if classes else ():
            known = counts.setdefault(
                row["class"], {"class": row["class"], "videos": 0, "correct": {}}
            )
            known["videos"] += row["videos"]
            for name, hits in row["correct"].items():
                known["correct"][name] = known["correct"].get(name, 0) + hits
    _same({part.split: list(part.right) for part in answers})
    if len(answers[0].right) < 2:
        raise InputError("a comparison needs two results, and videos with a label")
    progress("the comparison", 0.9)
    return compare_over_splits(answers, rng=seed, all_pairs=True) | {
        "classes": list(counts.values()),
        "fitted_on": marks,
        "missing": missing,
        "warnings": _warnings(chosen, warnings),
    }


def answers_of(
    split: int | str, results: Mapping[str, np.ndarray], streams: VideoScores
) -> SplitAnswers:
    """Which labelled videos of a split are right, by the classes (V,) that results predict."""
    known = np.flatnonzero(streams.labels >= 0)
    groups = streams.groups
    return SplitAnswers(
        split=split,
        names=[streams.names[row] for row in known],
        groups=None if groups is None else [groups[row] for row in known],
        right={
            name: {None: predicted[known] == streams.labels[known]}
            for name, predicted in results.items()
        },
    )


def mean_accuracy(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over splits of percents of `accuracy_summary`; None where a split has no labels."""
    return {
        measure: _mean([summary[measure]["percent"] for summary in summaries])
        for measure in MEASURES
    }


def out_files(path: Path | None, splits: Mapping[int, object], *, option: str) -> dict[int, Path]:
    """The file of each split, by the `{split}` in the name.

    Raises:
        InputError: several splits, and no `{split}`.
    """
    if path is None:
        return {}
    if "{split}" not in str(path) and len(splits) > 1:
        raise InputError(
            f"{option} {path}: for {len(splits)} splits, give a name with {{split}}, as "
            f"{path.with_name(f'{path.stem}-split{{split}}{path.suffix}')}"
        )
    return {split: Path(str(path).replace("{split}", str(split))) for split in splits}


def _parts(
    chosen: Mapping[int, FusionOptions], progress: Progress
) -> Iterator[tuple[int, FusionOptions, Progress]]:
    """Each split with its options and its part of the progress; a mistake names the split."""
    for number, (split, options) in enumerate(chosen.items()):
        part = part_of(progress, number / len(chosen), (number + 1) / len(chosen))
        yield split, options, _named(part, split)


def _named(progress: Progress, split: int) -> Callable[[str, float], None]:
    return lambda what, share: progress(f"split {split}: {what}", share)


def _same(by_split: Mapping[Any, list[str]]) -> list[str]:
    """The names that all splits have alike.

    Raises:
        InputError: they differ.
    """
    first, *others = by_split
    for split in others:
        if by_split[split] != by_split[first]:
            raise InputError(
                f"the inputs differ: split {first} has {', '.join(by_split[first])}; split "
                f"{split} has {', '.join(by_split[split])}; name each input, as "
                "spatial=rgb-{split}.safetensors"
            )
    return by_split[first]


def _warnings(
    chosen: Mapping[int, FusionOptions], by_split: Mapping[int, Sequence[str]]
) -> list[str]:
    """What should be alike in all splits and is not; then each warning of the splits once.

    A warning that is not about all splits says about which it is.
    """
    lines = []
    files = [find_files(options)[1] for options in chosen.values()]
    for number, of_input in enumerate(zip(*files, strict=True)):
        heads = [read_head(epochs[-1])["about"] for epochs in of_input]
        for fact in _ALIKE:
            facts = [str(about.get(fact, "not known")) for about in heads]
            if len(set(facts)) > 1:
                name = heads[0].get("stream", f"input {number + 1}")
                listed = ", ".join(map(" ".join, zip(map(str, chosen), facts, strict=True)))
                lines.append(f"{name}: {fact} differs between the splits: {listed}")
    splits: dict[str, list[int]] = {}
    for split, of_split in by_split.items():
        for line in of_split:
            splits.setdefault(line, []).append(split)
    return lines + [
        line if len(of) == len(by_split) else f"split {', '.join(map(str, of))}: {line}"
        for line, of in splits.items()
    ]


def _mean(percents: Sequence[float | None]) -> float | None:
    known = [percent for percent in percents if percent is not None]
    return round(float(np.mean(known)), 4) if len(known) == len(percents) else None
