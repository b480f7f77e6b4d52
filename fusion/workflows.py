"""What `fuse`, `tune`, `compare` and `report` do with score files: from options to results.

Each command is one function here. Results are JSON values, except for the page of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.fuse import (
    Fusion,
    VideoScores,
    add_fitted_on,
    fuse_streams,
    fuse_videos,
    score_videos,
    shared_metadata,
)
from fusion.combining.inputs import FusionInputs, FusionOptions, read_inputs
from fusion.combining.step import MEAN, StepOptions, Steps, find_steps
from fusion.evaluation.answers import Answers, fused_answers, stream_answers
from fusion.evaluation.comparison import class_accuracy, compare, complementarity, segment_accuracy
from fusion.evaluation.metrics import accuracy_summary
from fusion.evaluation.results import fusion_result
from fusion.fitting import tune
from fusion.fitting.calibration import (
    CALIBRATIONS,
    CalibratedTables,
    calibrate_in_folds,
    calibrate_on,
)
from fusion.fitting.hold_out import grouped_folds
from fusion.fitting.learned_fusion import LEARNERS, fuse_by_learning
from fusion.reporting.content import Content, Pictures, make_content, read_runs
from fusion.reporting.page import report_page
from fusion.tables.groups import video_groups
from fusion.tables.join import Input, JoinedTables, join
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import ScoreTable, read_scores, write_scores
from twostream_base.errors import InputError
from twostream_base.text import write_csv

COMPARED = ("mean", "max", "geometric", "rank", "variance")
CALIBRATED = ", calibrated"  # after the name of a fusion


def fuse_files(
    options: FusionOptions, *, out: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Fuse score files, and write the fused scores to `out`: see `fusion_result`.

    Large files are read a few videos at a time, but for those of --epochs.
    """
    inputs = read_inputs(options)
    calibrated = None
    if options.learn != "none":
        fusion = fuse_inputs_by_learning(inputs, options, progress=progress)
    else:
        if options.calibrate != "none":
            calibrated = calibrate_inputs(inputs, options, progress=progress)
        fusion = fuse_videos(video_scores(inputs, options, calibrated), inputs.steps)
    shown = {key: ", ".join(map(str, paths)) for key, paths in inputs.files.items()}
    if out:
        write_scores(out, fusion.table)
    result = fusion_result(fusion, files=shown)
    if calibrated or options.learn != "none":
        plain, _ = fuse_streams(video_scores(inputs, options), inputs.steps.streams)
        result["unfitted"] = accuracy_summary(
            plain.scores, inputs.joined.labels, inputs.joined.groups
        )
    if calibrated:
        result["calibration"] = {
            key: calibrated.facts(key)
            | {"before": calibrated.before[key], "after": calibrated.after[key]}
            for key in calibrated.joined.tables
        }
    return result


def tune_files(
    options: FusionOptions,
    *,
    choose: str = "val",
    cascade: float | None = None,
    curve: Path | None = None,
    out: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Find weights of the streams, as `tune_on`, `tune_in_folds` or `tune_on_test` do.

    Args:
        choose: the weights on validation scores (`val`), in grouped folds (`crossfit`), or on these
            very videos (`test`).
        cascade: also evaluate a cascade that may lose so many percent points of the videos.
        curve: a CSV file for the count of correct videos at every weight of two streams.
        out: a score file for the scores fused by the weights.

    Raises:
        InputError: what the functions named above refuse, a curve of other than two streams, or a
            cascade that would be chosen on test.
    """
    if cascade is not None and choose == "test":
        raise InputError("--cascade is chosen on val or in folds, not on test")
    inputs = read_inputs(options)
    streams = video_scores(inputs, options)
    if curve and len(streams.scores) != 2:
        raise InputError(f"--curve is for two streams; these are {len(streams.scores)}")
    folds = None
    if choose == "val":
        tables = read_validation_scores(inputs, options)
        validation = video_scores(replace(inputs, joined=join(tables)), options)
        result = tune.tune_on(streams, validation, progress=progress)
        if cascade is not None:
            result["cascade"] = tune.cascade_on(streams, validation, tolerance=cascade / 100)
    elif choose == "crossfit":
        folds = find_folds(inputs.joined, count=options.folds)
        result = tune.tune_in_folds(streams, folds, progress=progress)
        if cascade is not None:
            result["cascade"] = tune.cascade_in_folds(streams, folds, tolerance=cascade / 100)
    else:
        result = tune.tune_on_test(streams, progress=progress)
    result["warnings"] = streams.warnings
    if out:
        write_scores(out, tune.fuse_by_tuned_weights(streams, result, folds))
    if curve:
        weights, counts = tune.curve_of_streams(streams).steps()
        heading = (f"weight of {next(iter(streams.scores))} from", "correct")
        write_csv(curve, [heading, *zip(weights.tolist(), counts, strict=True)])
    return result


def compare_files(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = COMPARED,
    stream_weights: str | None = None,
    alone: bool = False,
    classes: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Compare the streams and their fusions by each of `strategies`, pair by pair: see `compare`.

    Args:
        stream_weights: `STREAM=W,...`, for the strategy `weighted`.
        alone: compare the streams only.
        classes: also count the correct videos of each class.
        seed: of the bootstrap.
    """
    inputs = read_inputs(options)
    results, streams, calibrated = compared_answers(
        inputs, options, strategies=strategies, stream_weights=stream_weights, alone=alone,
        progress=progress,
    )  # fmt: skip
    result = compare(results, streams.labels, rng=seed, groups=streams.groups)
    counts = class_accuracy(results, streams.labels, streams.class_names) if classes else []
    return result | {
        "complementarity": complementarity(streams),
        "segments": {
            key: segment_accuracy(table, segments=inputs.steps.segments)
            for key, table in inputs.joined.tables.items()
            if table.scores.shape[1] > 1
        },
        "classes": counts,
        "fitted_on": fitted_on(results, streams, calibrated),
        "warnings": streams.warnings,
    }


def compared_answers(
    inputs: FusionInputs,
    options: FusionOptions,
    *,
    strategies: Sequence[str],
    stream_weights: str | None,
    alone: bool,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], VideoScores, CalibratedTables | None]:
    """The classes (V,) that each stream and fusion predicts, the streams, and calibrated ones."""
    streams = video_scores(inputs, options)
    results = {key: scores.argmax(axis=1) for key, scores in streams.scores.items()}
    calibrated = None
    if not alone:
        if options.calibrate != "none":
            calibrated = calibrate_inputs(inputs, options, progress=part_of(progress, 0, 0.5))
        fused = _fusions(
            inputs, options, streams, calibrated, strategies, stream_weights,
            part_of(progress, 0.5, 1),
        )  # fmt: skip
        results |= {name: of_fusion.first for name, of_fusion in fused.items()}
    return results, streams, calibrated


def report_files(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = COMPARED,
    stream_weights: str | None = None,
    shown: str | None = None,
    title: str = "Two-stream report",
    command: str = "",
    facts: Mapping[str, str] | None = None,
    seed: int = 0,
    inputs: FusionInputs | None = None,
    pictures: Pictures | None = None,
    progress: Progress = no_progress,
) -> str:
    """The report on score files as one HTML page: see `report_content`.

    `command` is what repeats it, `facts` what else is told at its end.
    """
    content = report_content(
        options,
        strategies=strategies,
        stream_weights=stream_weights,
        shown=shown,
        seed=seed,
        inputs=inputs,
        pictures=pictures,
        progress=progress,
    )
    return report_page([content], title=title, command=command, facts=facts)


def report_content(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = COMPARED,
    stream_weights: str | None = None,
    shown: str | None = None,
    seed: int = 0,
    inputs: FusionInputs | None = None,
    pictures: Pictures | None = None,
    progress: Progress = no_progress,
) -> Content:
    """What a report shows of one split.

    Where the groups of the videos are known, streams are calibrated and weights chosen in grouped
    folds, in fewer where there are fewer groups.

    Args:
        strategies, stream_weights, seed: as in `compare_files`.
        shown: the result that is shown in detail, by its name; by default the best fusion.
        inputs: what the options would have read, where it is here already.
        pictures: of the videos, for some of those won and lost.
    """
    inputs = inputs or read_inputs(options)
    groups = inputs.joined.groups
    few = len(set(groups or ()))
    if few > 1 and options.calibrate == "none":
        options = replace(options, calibrate="crossfit", folds=min(options.folds, few))
    calibrated = tuned = None
    if options.calibrate != "none":
        calibrated = calibrate_inputs(inputs, options, progress=part_of(progress, 0, 0.4))
    streams = video_scores(inputs, options)
    if groups and few > 1 and len(streams.scores) > 1:
        folds = grouped_folds(groups, streams.labels, count=min(options.folds, few))
        tuned = tune.tune_in_folds(streams, folds, progress=part_of(progress, 0.4, 0.6))
    answers = {
        key: stream_answers(scores, streams.labels) for key, scores in streams.scores.items()
    }
    answers |= _fusions(
        inputs,
        options,
        streams,
        calibrated,
        strategies,
        stream_weights,
        part_of(progress, 0.6, 0.9),
    )
    progress("the page", 0.9)
    return make_content(
        streams,
        inputs.joined,
        answers,
        shown=shown,
        segments=inputs.steps.segments,
        seed=seed,
        tuned=tuned,
        calibrated=calibrated,
        fitted_on=fitted_on(answers, streams, calibrated),
        runs=read_runs(inputs.files),
        files={key: list(map(str, paths)) for key, paths in inputs.files.items()},
        pictures=pictures,
    )


def report(
    inputs: Mapping[str, Input],
    *,
    strategies: Sequence[str] = COMPARED,
    groups: Sequence[str] | str | None = None,
    labels: ArrayLike | None = None,
    title: str = "Two-stream report",
    seed: int = 0,
) -> str:
    """All that scores tell as one self-contained HTML page.

        page = report({"spatial": "rgb.safetensors", "motion": "flow.safetensors"})
        Path("report.html").write_text(page)

    Args:
        inputs, labels: for each stream a score file, a table, or an array: see `join`.
        strategies: names of fusions to compare.
        groups: the group of each video, or how `video_groups` finds it; by default those of the
            files.

    Raises:
        InputError: the inputs do not join, or no video has a label.
    """
    files = {
        key: [Path(value)] if isinstance(value, str | PathLike) else []
        for key, value in inputs.items()
    }
    read = FusionInputs(files, join(inputs, labels=labels, groups=groups), Steps())
    return report_files(FusionOptions(), strategies=strategies, title=title, seed=seed, inputs=read)


def tune_weights(
    inputs: Mapping[str, Input],
    *,
    validation: Mapping[str, Input] | None = None,
    groups: Sequence[str] | str | None = None,
    folds: int = 5,
    labels: ArrayLike | None = None,
) -> dict[str, Any]:
    """The weights of the streams that get most videos right, and an honest estimate of it.

        tune_weights({"spatial": a, "motion": b}, labels=y, groups=scenes)["weights"]

    With `validation` they are found there (see `tune_on`), else in grouped folds of the videos
    themselves (see `tune_in_folds`).

    Args:
        inputs, validation: for each stream a score file or a table; `inputs` also arrays, with
            `labels`: see `join`.
        groups: the group of each video, or how `video_groups` finds it; by default those of the
            files.
        folds: how many grouped folds.

    Raises:
        InputError: the inputs do not join, no labels, groups that are not known, or fewer groups
            than folds.
    """
    joined = join(inputs, labels=labels, groups=groups)
    streams = score_videos(joined)
    if validation is not None:
        return tune.tune_on(streams, score_videos(join(validation)))
    return tune.tune_in_folds(streams, find_folds(joined, count=folds))


def video_scores(
    inputs: FusionInputs, options: StepOptions, calibrated: CalibratedTables | None = None
) -> VideoScores:
    """The scores of each stream for each video; with calibrated logits where there are any."""
    score = partial(score_videos, inputs.joined) if calibrated is None else calibrated.score_videos
    return score(crops=inputs.steps.crops, segments=inputs.steps.segments, combine=options.combine)


def _fusions(
    inputs: FusionInputs,
    options: FusionOptions,
    streams: VideoScores,
    calibrated: CalibratedTables | None,
    strategies: Sequence[str],
    stream_weights: str | None,
    progress: Progress,
) -> dict[str, Answers]:
    """The answers of each fusion, also of the calibrated streams.

    Of the scores no more is kept: those of all fusions would not fit into memory.
    """
    if len(streams.scores) == 1:
        return {}
    if stream_weights and "weighted" not in strategies:
        raise InputError("--weights has no effect without --strategy weighted")
    if doubled := set(streams.scores) & set(strategies):
        raise InputError(f"{', '.join(doubled)} is an input and a strategy; rename the file")
    variants = {"": streams}
    if calibrated:
        variants[CALIBRATED] = video_scores(inputs, options, calibrated)
    answers = {}
    for number, name in enumerate(strategies):
        progress(f"fusion by {name}", number / len(strategies))
        typed = StepOptions(strategy=name, weights=stream_weights if name == "weighted" else None)
        steps = find_steps(typed, streams=list(streams.scores), class_names=streams.class_names)
        for suffix, variant in variants.items():
            answers[name + suffix] = fused_answers(variant, steps.streams)
    return answers


def fitted_on(
    results: Iterable[str], streams: VideoScores, calibrated: CalibratedTables | None
) -> dict[str, str]:
    """The results in which something was fitted on labels of these videos, and which labels."""
    of_streams = shared_metadata(streams.metadata)
    marked = {}
    for name in results:
        facts = streams.metadata.get(name, of_streams)
        if calibrated and name.endswith(CALIBRATED):
            facts = add_fitted_on(of_streams, calibrated.fitted_on)
        if "fitted_on" in facts:
            marked[name] = str(facts["fitted_on"])
    return marked


def find_folds(joined: JoinedTables, *, count: int) -> np.ndarray:
    """The fold 0..count-1 of each joined video, whole groups at a time.

    Raises:
        InputError: groups that are not known, or too few of them.
    """
    first = next(iter(joined.tables.values()))
    dataset = str(first.metadata.get("dataset") or "") or None
    groups = joined.groups or video_groups(joined.names, dataset=dataset)
    return grouped_folds(groups, joined.labels, count=count)


def read_validation_scores(inputs: FusionInputs, options: FusionOptions) -> dict[str, ScoreTable]:
    """The validation scores of each stream: the files of --val in order, or those next to its own.

    Raises:
        InputError: another number of files, one that is missing, or of another stream.
    """
    if options.val and len(options.val) != len(inputs.files):
        raise InputError(
            f"--val was given {len(options.val)} times for {len(inputs.files)} inputs; give it "
            "once for each input"
        )
    paths = {key: files[0].with_name("val.safetensors") for key, files in inputs.files.items()}
    if options.val:
        paths = dict(zip(inputs.files, options.val, strict=True))
    tables = {}
    for key, path in paths.items():
        if not path.exists():
            raise InputError(f"no validation scores of {key} at {path}; name them with --val FILE")
        tables[key] = read_scores(path)
        expected = inputs.joined.tables[key].metadata
        for fact in ("stream", "dataset", "split"):
            here, there = expected.get(fact), tables[key].metadata.get(fact)
            if here is not None and there is not None and here != there:
                raise InputError(f"{path}: {fact} {there}, but the scores of {key} are of {here}")
    return tables


def calibrate_inputs(
    inputs: FusionInputs, options: FusionOptions, *, progress: Progress = no_progress
) -> CalibratedTables:
    """Calibrate the streams on validation scores or in folds, as --calibrate says."""
    fit = CALIBRATIONS[options.calibration]
    if options.calibrate == "val":
        return calibrate_on(inputs.joined, read_validation_scores(inputs, options), fit=fit)
    folds = find_folds(inputs.joined, count=options.folds)
    return calibrate_in_folds(inputs.joined, folds, fit=fit, progress=progress)


def fuse_inputs_by_learning(
    inputs: FusionInputs, options: FusionOptions, *, progress: Progress = no_progress
) -> Fusion:
    """Fuse by the learner of --learn.

    Raises:
        InputError: options that have no effect with --learn, or what `fuse_by_learning` refuses.
    """
    if options.calibrate != "none":
        raise InputError("--learn fits temperatures itself; leave out --calibrate")
    steps = inputs.steps
    if (steps.crops, steps.segments, steps.streams) != (MEAN, MEAN, MEAN) or options.combine:
        raise InputError(
            "--learn fuses the streams by what it learns from their mean logits; leave out "
            "--strategy, --segments, --crops and --combine"
        )
    learner = LEARNERS[options.learn]
    if options.learn_on == "val":
        others = read_validation_scores(inputs, options)
        return fuse_by_learning(
            inputs.joined, learner, name=options.learn, others=others, progress=progress
        )
    folds = find_folds(inputs.joined, count=options.folds)
    return fuse_by_learning(
        inputs.joined, learner, name=options.learn, folds=folds, progress=progress
    )
