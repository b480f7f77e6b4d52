"""What `fuse`, `tune`, `compare` and `report` do with score files: from options to results.

Each command is one function here, which takes one split or several: several are each done by
itself, and then averaged. Results are JSON values, except for the page of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fusion.combining.fuse import VideoScores, fuse_videos, score_videos
from fusion.combining.inputs import (
    STREAMS,
    FusionInputs,
    FusionOptions,
    find_forms,
    find_inputs,
    has_field,
    read_held_out,
    read_inputs,
    read_tables,
    read_validation_scores,
    split_options,
    unlike_splits,
)
from fusion.combining.step import StepOptions, Steps, find_steps
from fusion.combining.strategies import COMPARED
from fusion.evaluation.comparison import (
    Answers,
    class_accuracy,
    compare,
    complementarity,
    fused_answers,
    mean_class_interval,
    segments_accuracy,
    stream_answers,
)
from fusion.evaluation.diagnosis import diagnose
from fusion.evaluation.metrics import MEASURES, accuracy_of_ranks
from fusion.evaluation.pooled import Seed, compare_over_splits, split_answers
from fusion.evaluation.results import fusion_result
from fusion.fitting import tune
from fusion.fitting.fitted_fusion import (
    CALIBRATED,
    LEARNERS,
    CalibratedTables,
    calibrate_inputs,
    fuse_by_learning,
)
from fusion.paper_table import find_sources, join_systems, table_files
from fusion.reporting.content import Content, Pictures, read_runs
from fusion.reporting.overview import overview_section, overview_verdict
from fusion.reporting.page import report_page
from fusion.tables.groups import grouped_folds
from fusion.tables.join import Input, join
from fusion.tables.progress import Progress, no_progress, part_of
from fusion.tables.score_file import add_fitted_on, shared_metadata, write_scores
from twostream_base.errors import InputError, some_of
from twostream_base.text import write_csv


def fuse_files(
    options: FusionOptions, *, out: Path | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """Fuse score files, and write the fused scores to `out`: see `fusion_result`.

    Large files are read a few videos at a time, but for those of --epochs.

    Over several splits, the result has `splits`, the results of each; `inputs` and `fused` (and
    `unfitted`), the mean percents over the splits; `missing`, a line for each split that is not
    there; and `warnings`. The name `out` then has a `{split}`.

    Raises:
        InputError: what `read_inputs` and `split_options` refuse; splits of different inputs, or
            an `out` without `{split}` for several.
    """
    if options.takes_splits:
        splits, about = _each_split(
            fuse_files, options, progress, out=out,
            inputs_of=lambda result: [row["stream"] for row in result["inputs"]],
        )  # fmt: skip
        first = splits[0]
        return {
            "splits": splits,
            "strategy": first["strategy"],
            "segments": first["segments"],
            "inputs": [
                {"stream": row["stream"]} | _mean_accuracy([of["inputs"][n] for of in splits])
                for n, row in enumerate(first["inputs"])
            ],
            "fused": _mean_accuracy([result["fused"] for result in splits]),
            "unfitted": first["unfitted"]
            and _mean_accuracy([result["unfitted"] for result in splits]),
            "fitted_on": first["fitted_on"],
            **about,
        }
    learns = options.learn != "none"
    if learns and options.calibrate != "none":
        raise InputError("--learn fits temperatures itself; leave out --calibrate")
    inputs = read_inputs(options)
    steps, held_out, calibrated = inputs.steps, None, None
    if learns and steps != Steps(epochs=steps.epochs):
        raise InputError(
            "--learn fuses the streams by what it learns from their mean logits; leave out "
            "--strategy, --segments, --crops and --combine"
        )
    if learns:
        held_out = read_held_out(inputs, options.learn_on)
    elif options.calibrate != "none":
        calibrated = calibrate_inputs(inputs, progress=progress)
    fusion = plain = fuse_videos(score_videos(inputs.joined, steps), steps)
    if held_out is not None:
        learner = LEARNERS[options.learn]
        fusion = fuse_by_learning(
            plain.streams, inputs.joined, learner, held_out, name=options.learn, progress=progress
        )
    elif calibrated:
        fusion = fuse_videos(calibrated.score_videos(steps), steps)
    if out:
        write_scores(out, fusion.table)
    unfitted = None if fusion is plain else plain.scores
    result = fusion_result(fusion, files=inputs.files, unfitted=unfitted)
    if calibrated:
        result["calibration"] = {key: calibrated.summary(key) for key in calibrated.joined.tables}
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

    Over several splits, the result has `splits`, the results of each; the mean of `held_out`,
    `equal` and `picked` in percent, that of the `weights`, `missing` and `warnings`.

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
    if options.takes_splits:
        splits, about = _each_split(
            partial(tune_files, choose=choose, cascade=cascade), options, progress,
            out=out, curve=curve, inputs_of=lambda result: list(result["weights"]),
        )  # fmt: skip
        first = splits[0]
        weights = {
            stream: float(np.mean([result["weights"][stream] for result in splits]))
            for stream in first["weights"]
        }
        means = {
            key: _mean([of[key]["percent"] for of in splits]) if first[key] else None
            for key in ("held_out", "equal", "picked")
        }
        return {
            "splits": splits,
            "chosen_on": choose,
            "weights": weights,
            **means,
            "fitted_on": first["fitted_on"],
            **about,
        }
    if cascade is not None and choose == "test":
        raise InputError("--cascade is chosen on val or in folds, not on test")
    inputs = read_inputs(options)
    if curve and len(inputs.files) != 2:
        raise InputError(f"--curve is for two streams; these are {len(inputs.files)}")
    folds = inputs.joined.folds(options.folds) if choose == "crossfit" else None
    others = read_validation_scores(inputs) if choose == "val" else {}
    streams = score_videos(inputs.joined, inputs.steps)
    if choose == "val":
        validation = score_videos(join(others), inputs.steps)
        result = tune.tune_on(streams, validation, progress=progress)
        if cascade is not None:
            result["cascade"] = tune.cascade_on(streams, validation, tolerance=cascade / 100)
    elif folds is not None:
        result = tune.tune_in_folds(streams, folds, progress=progress)
        if cascade is not None:
            result["cascade"] = tune.cascade_in_folds(streams, folds, tolerance=cascade / 100)
    else:
        result = tune.tune_on_test(streams, progress=progress)
    result["warnings"] = streams.warnings
    if out:
        write_scores(out, tune.fuse_by_tuned_weights(streams, result, folds))
    if curve:
        changes, counts = tune.curve_of_streams(streams).steps()
        heading = (f"weight of {next(iter(streams.scores))} from", "correct")
        write_csv(curve, [heading, *zip(changes.tolist(), counts, strict=True)])
    return result


def compare_files(
    options: FusionOptions,
    *,
    alone: bool = False,
    classes: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Compare the streams and their fusions by each strategy, pair by pair: see `compare`.

    Over several splits the pairs are compared within them: see `compare_over_splits`.

    Args:
        alone: compare the streams only.
        classes: also count the correct videos of each class.
    """

    def of_one_split(options: FusionOptions, *, progress: Progress) -> dict[str, Any]:
        inputs = read_inputs(options)
        calibrated = None
        if not alone and options.calibrate != "none":
            calibrated = calibrate_inputs(inputs, progress=part_of(progress, 0, 0.5))
        streams = score_videos(inputs.joined, inputs.steps)
        answers = {key: scores.argmax(axis=1) for key, scores in streams.scores.items()}
        if not alone:
            fused = _fusions(inputs, streams, calibrated, part_of(progress, 0.5, 1))
            answers |= {name: of_fusion.first for name, of_fusion in fused.items()}
        counts = class_accuracy(answers, streams.labels, streams.class_names) if classes else []
        return {
            "inputs": inputs,
            "streams": streams,
            "answers": answers,
            "classes": counts,
            "fitted_on": fitted_on(answers, streams, calibrated),
            "warnings": streams.warnings,
        }

    if not options.takes_splits:
        result = of_one_split(options, progress=progress)
        inputs, streams = result.pop("inputs"), result.pop("streams")
        answers, labels = result.pop("answers"), streams.labels
        return {
            **compare(answers, labels, rng=options.seed, groups=streams.groups),
            "complementarity": complementarity(streams),
            "segments": segments_accuracy(inputs.joined, inputs.steps.segments),
            **result,
        }
    splits, about = _each_split(
        of_one_split, options, part_of(progress, 0, 0.9),
        inputs_of=lambda result: list(result["answers"]),
    )  # fmt: skip
    answers_of_splits = []
    counts: dict[str, dict[str, Any]] = {}
    marks: dict[str, str] = {}
    for of_split in splits:
        streams, labels = of_split["streams"], of_split["streams"].labels
        right: dict[str, dict[Seed, np.ndarray]] = {
            name: {None: (first == labels)[labels >= 0]}
            for name, first in of_split["answers"].items()
        }
        answers_of_splits.append(split_answers(of_split["split"], streams, right))
        for row in of_split["classes"]:
            total = counts.setdefault(row["class"], row | {"videos": 0, "correct": {}})
            total["videos"] += row["videos"]
            for name, hits in row["correct"].items():
                total["correct"][name] = total["correct"].get(name, 0) + hits
        marks |= of_split["fitted_on"]
    if len(answers_of_splits[0].right) < 2:
        raise InputError("a comparison needs two results, and videos with a label")
    progress("the comparison", 0.9)
    compared = compare_over_splits(answers_of_splits, all_pairs=True, rng=options.seed)
    return compared | {"classes": list(counts.values()), "fitted_on": marks, **about}


def compare_forms(options: FusionOptions, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Compare the forms of using RGB and flow, pair by pair: see `compare`.

    These are the inputs alone, and the late fusions of the spatial and the motion stream among
    them. Without files those of `find_forms` are taken.

    Returns:
        As `compare`, with `parts`: of each form the inputs whose cost it has; `files`: of each
        input; and `warnings`.

    Raises:
        InputError: several splits, or streams that are not there once each.
    """
    if options.takes_splits:
        raise InputError("--forms compares runs of one split: give --split instead of --splits")
    options = replace(options, files=options.files or find_forms(options))
    tables, files, steps = read_tables(find_inputs(options), options)
    inputs = FusionInputs(files, join(tables, groups=options.groups), steps, options)
    streams = score_videos(inputs.joined, inputs.steps)
    late = [key for key, about in streams.metadata.items() if about.get("stream") in STREAMS]
    if sorted(str(streams.metadata[key]["stream"]) for key in late) != sorted(STREAMS):
        raise InputError(
            f"--forms fuses one input of the spatial and one of the motion stream, and has "
            f"{some_of(late) or 'none'}; give one of each"
        )
    fused = _fusions(inputs, streams.select_streams(late), None, progress)
    answers = {key: scores.argmax(axis=1) for key, scores in streams.scores.items()}
    answers |= {name: of_fusion.first for name, of_fusion in fused.items()}
    compared = compare(answers, streams.labels, rng=options.seed, groups=streams.groups)
    return compared | {
        "parts": {name: [name] if name in streams.scores else late for name in answers},
        "files": {key: str(paths[0]) for key, paths in files.items()},
        "protocols": {key: about.get("protocol_card") for key, about in streams.metadata.items()},
        "complementarity": complementarity(streams),
        "fitted_on": fitted_on(answers, streams, None),
        "warnings": streams.warnings,
    }


def report_files(
    options: FusionOptions,
    *,
    shown: str | None = None,
    title: str = "Two-stream report",
    command: str = "",
    facts: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
    forms: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> str:
    """The report on score files as one HTML page: see `report_content`.

    Over several splits, networks or seeds it begins with what `table_files` gives of all of them.
    Then the network with the best result is shown in each split, of several seeds the first one.

    Args:
        shown: the result that is shown in detail, by its name; by default the best fusion.
        command: what repeats the report. facts: what else is told at its end.
        pictures: of the videos, for some of those won and lost.
        forms: what `weigh_forms` returns, for a section of its own; of one split.
    """
    if not options.takes_splits and not any(has_field(path, "seed") for path in options.files):
        contents = [report_content(options, shown=shown, pictures=pictures, progress=progress)]
        return report_page(contents, title=title, command=command, facts=facts, forms=forms)
    by_split, searched = find_sources(options)
    if options.stream_weights and "weighted" not in options.strategies:
        raise InputError("--weights has no effect without --strategy weighted")
    few = min(
        len(set(join_systems(by_system, options)[0].groups or ()))
        for by_system in by_split.values()
    )
    table = table_files(
        _calibrated_if_grouped(options, few),
        strategies=[name for name in options.strategies if name != "weighted"],
        weightings=[options.stream_weights] if options.stream_weights else [],
        progress=part_of(progress, 0, 0.4),
    )
    fused = {row["system"] for row in table["rows"] if row["fusion"]}
    if not fused:
        raise InputError(
            "a report needs a network with two streams or more, in the same splits and seeds; "
            "`twostream table` shows single streams"
        )
    ranked = sorted(
        (row for row in table["rows"] if row["system"] in fused and row["percent"] is not None),
        key=lambda row: row["percent"],
    )
    best = ranked[-1] if ranked else next(row for row in table["rows"] if row["fusion"])
    in_split = best["fusion"]  # what the report of one split calls this row of the table
    if not in_split:
        alone = str(best["inputs"][0])
        in_split = alone if not searched or alone in STREAMS else ""  # others are not fused
    elif (plain := in_split.removesuffix(CALIBRATED)) not in options.strategies:
        in_split = in_split.replace(plain, "weighted", 1)
    contents = []
    for number, (split, by_system) in enumerate(by_split.items()):
        of_best = next(
            sources
            for (system, of_seed), sources in by_system.items()
            if system == best["system"] and (of_seed in best["seeds"] or not best["seeds"])
        )
        files = [source for source in of_best if not searched or source.stream in STREAMS]
        of_split = replace(options.of_split(split), files=files or of_best)
        share = 0.6 / len(by_split)
        part = part_of(progress, 0.4 + share * number, 0.4 + share * (number + 1))
        content = report_content(
            of_split, shown=shown or in_split or None, pictures=pictures, progress=part
        )
        contents.append(content)
    return report_page(
        contents,
        title=title,
        command=command,
        facts=facts,
        overview=overview_section(table),
        lead=overview_verdict(table),
    )


def _calibrated_if_grouped(options: FusionOptions, groups: int) -> FusionOptions:
    """With streams calibrated in folds, where there are several groups and nothing else is said."""
    if groups > 1 and options.calibrate == "none":
        return replace(options, calibrate="crossfit", folds=min(options.folds, groups))
    return options


def report_content(
    options: FusionOptions,
    *,
    shown: str | None = None,
    inputs: FusionInputs | None = None,
    pictures: Pictures | None = None,
    progress: Progress = no_progress,
) -> Content:
    """What a report shows of one split.

    Where the groups of the videos are known, streams are calibrated and weights chosen in grouped
    folds, in fewer where there are fewer groups.

    Args:
        shown: the name of a result; by default the fusion that gets most videos right, the first
            of equals.
        inputs: what the options would have read, where it is here already.

    Raises:
        InputError: no labels, fewer than two results, or a `shown` that is none of them.
    """
    inputs = inputs or read_inputs(options)
    joined, groups, labels = inputs.joined, inputs.joined.groups, inputs.joined.labels
    known = labels >= 0
    if not known.any():
        raise InputError("a report needs videos with labels; these scores have none")
    few = len(set(groups or ()))
    options = _calibrated_if_grouped(options, few)
    inputs = replace(inputs, options=options)
    calibrated = tuned = None
    if options.calibrate != "none":
        calibrated = calibrate_inputs(inputs, progress=part_of(progress, 0, 0.4))
    streams = score_videos(joined, inputs.steps)
    if groups and few > 1 and len(streams.scores) > 1:
        folds = grouped_folds(groups, labels, count=min(options.folds, few))
        tuned = tune.tune_in_folds(streams, folds, progress=part_of(progress, 0.4, 0.6))
    results = {key: stream_answers(scores, labels) for key, scores in streams.scores.items()}
    results |= _fusions(inputs, streams, calibrated, part_of(progress, 0.6, 0.9))
    progress("the page", 0.9)
    if shown is not None and shown not in results:
        raise InputError(f"--shown {shown!r} is none of the results: {', '.join(results)}")
    accuracies = {
        name: accuracy_of_ranks(answers.rank, labels, groups) for name, answers in results.items()
    }
    fusions = [name for name in results if name not in streams.scores]
    best = max(fusions or results, key=lambda name: accuracies[name]["top1"]["correct"])
    shown = shown or best
    answers = {name: of_result.first for name, of_result in results.items()}
    return Content(
        streams=streams,
        results=results,
        shown=shown,
        picked=shown == best and len(fusions) > 1,
        compared=compare(answers, labels, rng=options.seed, groups=groups),
        accuracies=accuracies,
        mean_class=mean_class_interval(
            results[shown].rank[known] == 0,
            labels[known],
            None if groups is None else np.array(groups)[known],
        ),
        tuned=tuned,
        calibrated=calibrated,
        fitted_on=fitted_on(results, streams, calibrated),
        segments=segments_accuracy(joined, inputs.steps.segments),
        warnings=[*streams.warnings, *diagnose(streams, answers[shown], strategy=shown)],
        runs=read_runs(inputs.files),
        files={key: list(map(str, paths)) for key, paths in inputs.files.items()},
        seed=options.seed,
        split=options.split,
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
        seed: of the intervals of differences.

    Raises:
        InputError: the inputs do not join, or no video has a label.
    """
    files = {
        key: [Path(value)] if isinstance(value, str | PathLike) else []
        for key, value in inputs.items()
    }
    options = FusionOptions(strategies=strategies, seed=seed)
    read = FusionInputs(files, join(inputs, labels=labels, groups=groups), Steps(), options)
    content = report_content(options, inputs=read)
    return report_page([content], title=title)


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
    return tune.tune_in_folds(streams, joined.folds(folds))


def _fusions(
    inputs: FusionInputs,
    streams: VideoScores,
    calibrated: CalibratedTables | None,
    progress: Progress,
) -> dict[str, Answers]:
    """The answers of each fusion, also of the calibrated streams.

    Of the scores no more is kept: those of all fusions would not fit into memory.
    """
    options = inputs.options
    if len(streams.scores) == 1:
        return {}
    if options.stream_weights and "weighted" not in options.strategies:
        raise InputError("--weights has no effect without --strategy weighted")
    if doubled := set(streams.scores) & set(options.strategies):
        raise InputError(f"{', '.join(doubled)} is an input and a strategy; rename the file")
    variants = {"": streams}
    if calibrated:
        variants[CALIBRATED] = calibrated.score_videos(inputs.steps)
    answers = {}
    for number, name in enumerate(options.strategies):
        progress(f"fusion by {name}", number / len(options.strategies))
        weights = options.stream_weights if name == "weighted" else None
        steps = find_steps(
            StepOptions(strategy=name, weights=weights),
            streams=list(streams.scores),
            class_names=streams.class_names,
        )
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


def _each_split(
    work: Callable[..., dict[str, Any]],
    options: FusionOptions,
    progress: Progress,
    *,
    inputs_of: Callable[[dict[str, Any]], list[str]],
    **paths: Path | None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The result of each split, and what splits are `missing` and the `warnings` of all.

    Args:
        work: from the options of one split to its result.
        inputs_of: the names of the inputs of a result, which must be the same in all splits.
        paths: files that `work` writes, each by its option; several splits need a `{split}` in it.
    """
    by_split, missing = split_options(options)
    for option, path in paths.items():
        if path and "{split}" not in str(path) and len(by_split) > 1:
            raise InputError(
                f"--{option} {path}: for {len(by_split)} splits, give a name with {{split}}, as "
                f"{path.with_name(f'{path.stem}-split{{split}}{path.suffix}')}"
            )
    results: dict[int, dict[str, Any]] = {}
    for number, (split, of_split) in enumerate(by_split.items()):
        part = part_of(progress, number / len(by_split), (number + 1) / len(by_split))
        results[split] = {"split": split} | work(
            of_split,
            progress=lambda what, share, part=part, split=split: part(
                f"split {split}: {what}", share
            ),
            **{
                option: path and Path(str(path).replace("{split}", str(split)))
                for option, path in paths.items()
            },
        )
    names = {split: inputs_of(result) for split, result in results.items()}
    first, *others = names
    for split in others:
        if names[split] != names[first]:
            raise InputError(
                f"the inputs differ: split {first} has {', '.join(names[first])}; split "
                f"{split} has {', '.join(names[split])}; name each input, as "
                "spatial=rgb-{split}.safetensors"
            )
    warnings = unlike_splits(by_split)
    by_line: dict[str, list[int]] = {}
    for split, result in results.items():
        for line in result["warnings"]:
            by_line.setdefault(line, []).append(split)
    for line, splits in by_line.items():
        of_some = f"split {', '.join(map(str, splits))}: "
        warnings.append(line if len(splits) == len(results) else of_some + line)
    return list(results.values()), {"missing": missing, "warnings": warnings}


def _mean_accuracy(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over splits of percents of `accuracy_summary`; None where a split has no labels."""
    return {
        measure: _mean([summary[measure]["percent"] for summary in summaries])
        for measure in MEASURES
    }


def _mean(percents: Sequence[float | None]) -> float | None:
    known = [percent for percent in percents if percent is not None]
    return round(float(np.mean(known)), 4) if len(known) == len(percents) else None
