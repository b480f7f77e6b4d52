"""What `twostream table` does: inputs and fusions over splits and seeds, with one paired test."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import fuse_videos, score_videos
from fusion.combining.inputs import (
    OFFICIAL_SPLITS,
    STREAMS,
    FusionInputs,
    FusionOptions,
    ScoreSource,
    choose_runs,
    read_tables,
    read_validation_scores,
    run_sources,
    score_files,
    single_run,
    typed_sources,
    with_split,
)
from fusion.combining.step import StepOptions, find_steps
from fusion.evaluation.metrics import accuracy_summary, percent
from fusion.evaluation.pooled import Seed, compare_over_splits, split_answers
from fusion.fitting import tune
from fusion.fitting.fitted_fusion import CALIBRATED, calibrate_inputs
from fusion.tables.join import JoinedTables, join
from fusion.tables.progress import Progress, no_progress
from fusion.tables.score_file import ScoreTable, add_fitted_on, shared_metadata
from twostream_base.errors import InputError, some_of
from twostream_base.plugins import read_pairs

Split = int | None
_FACTS = ("protocol", "selected_on", "model")


@dataclass(frozen=True)
class Result:
    """What a row of the table is: of which system, its inputs, and how they are fused."""

    system: str
    inputs: tuple[str, ...]
    fusion: str = ""

    @property
    def label(self) -> str:
        """The result in words, without its system."""
        return ", ".join(filter(None, (" + ".join(self.inputs), self.fusion)))

    @property
    def name(self) -> str:
        """The result in words, unlike those of all other rows."""
        return f"{self.system} {self.label}".strip()


@dataclass
class Row:
    """The answers of a result, as they come in."""

    right: dict[Split, dict[Seed, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))
    top5: dict[Split, dict[Seed, float]] = field(default_factory=lambda: defaultdict(dict))
    mean_class: dict[Split, dict[Seed, float]] = field(default_factory=lambda: defaultdict(dict))
    fitted_on: dict[str, None] = field(default_factory=dict)


def table_files(
    options: FusionOptions,
    *,
    strategies: Sequence[str] = ("mean",),
    weightings: Sequence[str] = (),
    tuned: str = "none",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """The table of all inputs and fusions, as JSON values.

    `rows` has a row for each, with the counts of each split and seed, the mean over the splits and,
    over seeds, the standard deviation (n - 1). `best` is the row with the highest mean; `bold` are
    it and those that do not differ significantly from it, by `compare_over_splits`. A row that
    lacks a split has neither mean nor test. `caption` says in sentences how it all was made.

    Args:
        strategies: fusions of the streams of each system (a model, say).
        weightings: `STREAM=W,...`, a fusion for each.
        tuned: also with weights found in grouped folds (`crossfit`) or on validation scores
            (`val`); `none`.

    Raises:
        InputError: no scores, several runs of one kind, or files that do not join.
    """
    by_split, searched = find_sources(options)
    rows: dict[Result, Row] = {}
    about: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    videos: dict[Split, JoinedTables] = {}
    warnings: dict[str, dict[Split, None]] = defaultdict(dict)
    datasets = {options.dataset} if options.dataset else set[str]()
    subsets = dict[str, None]()
    if options.val and len({system for of in by_split.values() for system, _ in of}) > 1:
        raise InputError(
            "--val names the validation scores of one network, and here are several; leave it out "
            "to take the val.safetensors beside each file"
        )
    systems_in_all, systems_done = sum(map(len, by_split.values())), 0
    for split, by_system in by_split.items():
        joined, systems = join_systems(by_system, options)
        videos[split] = replace(joined, tables={})
        for line in joined.warnings:
            warnings[line].setdefault(split)
        for (system, of_seed), inputs in systems.items():
            progress(f"split {split}" if split else "scores", 0.9 * systems_done / systems_in_all)
            systems_done += 1
            for stream, table in inputs.joined.tables.items():
                if "dataset" in table.metadata:
                    datasets.add(str(table.metadata["dataset"]))
                subsets[str(table.metadata.get("subset") or options.subset)] = None
                for fact in _FACTS:
                    about[fact][str(table.metadata.get(fact, "not known"))][stream] = None
            known = joined.labels >= 0
            for result, scores, mark in _results(
                system,
                replace(inputs, options=options.of_split(split)),
                strategies=strategies,
                weightings=weightings,
                tuned=tuned,
                only=STREAMS if searched else None,
                warn=lambda line, split=split: warnings[line].setdefault(split),  # type: ignore[misc]
            ):
                row = rows.setdefault(result, Row())
                if mark:
                    row.fitted_on[mark] = None
                summary = accuracy_summary(scores, joined.labels)
                row.right[split][of_seed] = (scores.argmax(axis=1) == joined.labels)[known]
                row.top5[split][of_seed] = summary["top5"]["percent"]
                row.mean_class[split][of_seed] = summary["mean_class"]["percent"]
    if unlabelled := [split for split in videos if not (videos[split].labels >= 0).any()]:
        where = f"split {unlabelled[0]}" if unlabelled[0] else "the scores"
        raise InputError(f"{where}: no video has a label; a table needs scores with labels")
    progress("tests", 0.9)
    dataset = next(iter(sorted(datasets)), None)
    first = next(iter(next(iter(by_split.values())).values()))
    return {
        "dataset": dataset,
        "subset": " and ".join(subsets),
        "num_classes": max(len(joined.class_names) for joined in videos.values()),
        "missing": _splits_not_there(by_split, dataset, options),
        **_tested_rows(rows, videos),
        **{fact: {value: list(of) for value, of in about[fact].items()} for fact in _FACTS},
        "segments": options.segments,
        "combine": options.combine,
        "files": [str(source.path) for source in first],
        "warnings": [
            line
            if len(splits) == len(by_split)
            else f"split {some_of([str(split) for split in splits])}: {line}"
            for line, splits in warnings.items()
        ]
        + ([] if searched else list(_never_together(rows))),
    }


def table(
    inputs: Mapping[str, str | PathLike[str]],
    *,
    strategies: Sequence[str] = ("mean",),
    weights: Sequence[Mapping[str, float]] = (),
    tune: str = "none",
    calibrate: str = "none",
    groups: str | None = None,
) -> dict[str, Any]:
    """The table of a paper: inputs and fusions over splits, networks and seeds, with their tests.

        result = table({"rgb": "rgb-{split}.safetensors", "flow": "flow-{split}.safetensors"})
        result["rows"][-1]["percent"]
        print(TABLE_FORMATS["latex"](result, decimals=2))

    Args:
        inputs: score files by stream; `{split}` and `{seed}` in a name stand for numbers, and a key
            `SYSTEM/STREAM` puts streams together that are fused.
        strategies: names of fusions. weights: of the streams, a fusion for each.
        tune: also with weights found in grouped folds (`crossfit`) or on validation scores beside
            the files (`val`); `none`.
        calibrate: also with calibrated streams, by `crossfit` or `val`; `none`.
        groups: how `video_groups` finds the groups of videos; by default those of the files.

    Returns:
        JSON values, as `twostream table --json` prints them: see `table_files`.

    Raises:
        InputError: no such file, or files that do not join.
    """
    options = FusionOptions(
        files=[Path(f"{key}={os.fspath(path)}") for key, path in inputs.items()],
        calibrate=calibrate,
        groups=groups,
    )
    weightings = [",".join(f"{key}={weight}" for key, weight in of.items()) for of in weights]
    return table_files(options, strategies=strategies, weightings=weightings, tuned=tune)


def find_sources(
    options: FusionOptions,
) -> tuple[dict[Split, dict[tuple[str, Seed], list[ScoreSource]]], bool]:
    """The inputs of each split, and in it of each system and seed; and whether runs were searched.

    Raises:
        InputError: none, runs of several data sets, or several of one kind.
    """
    searched = not options.files
    if searched:
        scores = "epoch-*" if options.epochs else options.subset
        all_runs = run_sources(options.runs, scores=scores, dataset=options.dataset)
        if not all_runs:
            raise InputError(
                f"no run below {options.runs} has {options.subset} scores; `twostream train` makes "
                "them; else go to the folder of twostream.toml, or name FILES"
            )
        sources = choose_runs(all_runs, model=options.model, name=options.name)
        if len(datasets := sorted({source.dataset for source in sources})) > 1:
            raise InputError(f"runs of several data sets; give --dataset {'|'.join(datasets)}")
    else:
        sources = [
            with_split(source, score_files(source.path, options)[0])
            for source in typed_sources(options.files, seeds=True)
        ]
        unknown = [source for source in sources if source.split is None]
        if unknown and len(unknown) < len(sources):
            raise InputError(
                f"{unknown[0].path}: its header does not tell the split, as those of others do; "
                "give its name with {split} in place of the number"
            )
    if options.splits not in (None, "all"):
        known = sorted({source.split for source in sources if source.split is not None})
        sources = [source for source in sources if source.split in (options.splits or ())]
        if not sources:
            raise InputError(
                f"no scores of the splits {', '.join(map(str, options.splits or ()))}; there are "
                f"{', '.join(map(str, known)) or 'none whose split is known'}"
            )
    paths = [source.path.resolve() for source in sources]
    if doubled := [path for number, path in enumerate(paths) if path in paths[:number]]:
        raise InputError(f"{doubled[0]} is given twice")
    by_split: dict[Split, dict[tuple[str, Seed], list[ScoreSource]]] = {}
    for source in sorted(sources, key=lambda source: source.split or 0):
        of_split = by_split.setdefault(source.split, {})
        of_split.setdefault((source.system, source.seed), []).append(source)
    for by_system in by_split.values():
        for of_system in by_system.values():
            for stream in {source.stream for source in of_system if source.model}:
                single_run(stream, [source for source in of_system if source.stream == stream])
            # Of runs spatial before motion, then others; files stay as they were typed.
            place = {stream: number for number, stream in enumerate(STREAMS)}
            of_system.sort(key=lambda run: place.get(run.stream if run.model else "", len(place)))
    return by_split, searched


def _never_together(rows: Mapping[Result, Row]) -> Iterable[str]:
    """Systems of several streams that have no fusion, as no seed has them all."""
    for system in dict.fromkeys(result.system for result in rows):
        alone = {
            result.inputs[0]: row
            for result, row in rows.items()
            if result.system == system and not result.fusion
        }
        fused = any(result.fusion for result in rows if result.system == system)
        if len(alone) > 1 and not fused:
            seeds = {
                stream: {str(seed).lower() for of in row.right.values() for seed in of}
                for stream, row in alone.items()
            }
            listed = "; ".join(f"{stream} {some_of(sorted(of))}" for stream, of in seeds.items())
            yield (
                f"{system + ': ' if system else ''}no seed has all streams, so nothing is fused "
                f"(seeds: {listed}); give each file its seed by {{seed}}, or leave the seeds out"
            )


def join_systems(
    by_system: Mapping[tuple[str, Seed], Sequence[ScoreSource]], options: FusionOptions
) -> tuple[JoinedTables, dict[tuple[str, Seed], FusionInputs]]:
    """Join all tables of a split, and give each system and seed its own."""
    tables: dict[str, ScoreTable] = {}
    parts = {}
    several = len({seed for _, seed in by_system}) > 1
    for (system, seed), sources in by_system.items():
        of_system, paths, steps = read_tables(sources, options)
        suffix = f"(seed {seed})" if several else ""
        keys = {stream: " ".join(filter(None, (system, stream, suffix))) for stream in of_system}
        tables |= {keys[stream]: table for stream, table in of_system.items()}
        parts[system, seed] = (keys, paths, steps)
    joined = join(tables, groups=options.groups)
    systems = {}
    for system_and_seed, (keys, paths, steps) in parts.items():
        of_system = {stream: joined.tables[key] for stream, key in keys.items()}
        part = replace(joined, tables=of_system, warnings=[])
        systems[system_and_seed] = FusionInputs(paths, part, steps, options)
    return joined, systems


def _results(
    system: str,
    inputs: FusionInputs,
    *,
    strategies: Sequence[str],
    weightings: Sequence[str],
    tuned: str,
    only: Sequence[str] | None,
    warn: Callable[[str], None],
) -> Iterable[tuple[Result, np.ndarray, str]]:
    """Each result of a system with its scores (V, C), and what was fitted on, if anything was.

    Args:
        only: the streams that are fused; by default all.
        warn: gets what is strange about the scores.
    """
    streams = score_videos(inputs.joined, inputs.steps)
    for line in streams.warnings:
        warn(f"{system}: {line}" if system else line)
    for stream, scores in streams.scores.items():
        mark = str(streams.metadata[stream].get("fitted_on", ""))
        yield Result(system, (stream,)), scores, mark
    fused = [stream for stream in streams.scores if only is None or stream in only]
    if len(fused) < 2:
        return
    of_fused = replace(inputs.joined, tables={s: inputs.joined.tables[s] for s in fused})
    inputs = replace(inputs, joined=of_fused, files={s: inputs.files[s] for s in fused})
    streams = streams.select_streams(fused)
    before = str(shared_metadata(streams.metadata).get("fitted_on", ""))
    variants = {"": (streams, before)}
    if inputs.options.calibrate != "none":
        calibrated = calibrate_inputs(inputs)
        mark = add_fitted_on({}, before or None, calibrated.fitted_on).get("fitted_on", "")
        variants[CALIBRATED] = (calibrated.score_videos(inputs.steps), mark)
    fusions = [(name, StepOptions(strategy=name)) for name in strategies]
    fusions += [
        (_ratio(weights, fused), StepOptions(strategy="weighted", weights=weights))
        for weights in weightings
    ]
    for name, typed in fusions:
        steps = find_steps(typed, streams=fused, class_names=streams.class_names)
        for suffix, (variant, mark) in variants.items():
            result = Result(system, tuple(fused), name + suffix)
            yield result, fuse_videos(variant, steps).scores, mark
    if tuned == "none":
        return
    if tuned == "crossfit":
        folds, how = inputs.joined.folds(inputs.options.folds), "weights tuned in folds"
        choice = tune.tune_in_folds(streams, folds)
    else:
        folds, how = None, "weights tuned on val"
        others = score_videos(join(read_validation_scores(inputs)), inputs.steps)
        choice = tune.tune_on(streams, others)
    scores = tune.fuse_by_tuned_weights(streams, choice, folds).scores[:, 0, 0]
    mark = add_fitted_on({}, before or None, choice["fitted_on"]).get("fitted_on", "")
    yield Result(system, tuple(fused), how), scores, mark


def _ratio(weights: str, streams: Sequence[str]) -> str:
    """`rgb=1,flow=1.5` as `1:1.5`, in the order of the streams."""
    pairs = read_pairs(weights.split(","), option="--weights")
    if set(pairs) != set(streams):
        return weights  # the step refuses it in words of its own
    return ":".join(pairs[stream] for stream in streams)


def _splits_not_there(
    by_split: Iterable[Split], dataset: str | None, options: FusionOptions
) -> list[int]:
    """The splits that were asked for, or are official, and are not there."""
    expected = options.splits
    if expected in (None, "all"):
        official = OFFICIAL_SPLITS.get(dataset or "", 0) if None not in by_split else 0
        expected = range(1, official + 1)
    return sorted(set(map(int, expected or ())) - set(by_split))


def _tested_rows(
    rows: Mapping[Result, Row], videos: Mapping[Split, JoinedTables]
) -> dict[str, Any]:
    """The rows as JSON values, with the means over the splits and seeds, and their test."""
    splits = list(videos)
    seeds: dict[Result, list[Seed]] = {}  # of each row those that all splits have
    for result, row in rows.items():
        by_seed = [row.right.get(split, {}) for split in splits]
        seeds[result] = [seed for seed in by_seed[0] if all(seed in answers for answers in by_seed)]
    complete = [result for result in rows if seeds[result]]
    if not complete:
        raise InputError(
            f"no result has scores of all the splits {', '.join(map(str, splits))}; choose those "
            "of one with --splits"
        )
    answers = [
        split_answers(
            split or "all",
            joined,
            {
                result.name: {seed: rows[result].right[split][seed] for seed in seeds[result]}
                for result in complete
            },
        )
        for split, joined in videos.items()
    ]
    compared = compare_over_splits(answers)
    systems = {system["name"]: system for system in compared["systems"]}
    pairs = {pair["second"]: pair for pair in compared["pairs"]}
    listed = []
    for result, row in rows.items():
        system = systems.get(result.name, {})
        cells = []
        for split, joined in videos.items():
            of_row = row.right.get(split, {})
            used = [seed for seed in of_row if seed in seeds[result]] or list(of_row)
            shares = [float(of_row[seed].mean()) for seed in used]
            cells.append(
                {
                    "split": split,
                    "correct": [int(of_row[seed].sum()) for seed in used],
                    "of": int((joined.labels >= 0).sum()),
                    "percent": percent(np.mean(shares)) if shares else None,
                    "sd": percent(np.std(shares, ddof=1)) if len(shares) > 1 else None,
                }
            )
        pair = pairs.get(result.name)
        used = seeds[result]
        listed.append(
            {
                "name": result.name,
                "system": result.system,
                "inputs": list(result.inputs),
                "fusion": result.fusion,
                "label": result.label,
                "seeds": [seed for seed in used if seed is not None],
                "splits": cells,
                "percent": system.get("percent"),
                "sd": system.get("sd"),
                "interval": system.get("interval"),
                "top5": _mean(row.top5, splits, used),
                "mean_class": _mean(row.mean_class, splits, used),
                "bold": bool(system) and not (pair and pair["significant"]),
                "below_best": pair,
                "fitted_on": "; ".join(row.fitted_on) or None,
            }
        )
    return {
        "splits": splits,
        "rows": listed,
        "best": compared["best"],
        "test": {key: compared[key] for key in ("splits", "videos", "answers", "groups", "tested")},
    }


def _mean(
    percents: Mapping[Split, Mapping[Seed, float]], splits: Sequence[Split], seeds: Sequence[Seed]
) -> float | None:
    """The mean over splits and seeds; None of a row that lacks any."""
    if not seeds:
        return None
    return round(float(np.mean([[percents[split][seed] for seed in seeds] for split in splits])), 4)
