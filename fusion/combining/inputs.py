"""Finding the score files to fuse: those of run folders, or those that the user names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from fusion.combining.fuse import fuse_epochs
from fusion.combining.sources import (
    FORMS,
    OFFICIAL_SPLITS,
    STREAMS,
    ScoreSource,
    choose_runs,
    has_field,
    one_of,
    run_sources,
    typed_sources,
    with_split,
)
from fusion.combining.step import StepOptions, Steps, find_steps
from fusion.combining.strategies import COMPARED
from fusion.tables.join import JoinedTables, join
from fusion.tables.score_file import ScoreTable, open_scores, read_head
from twostream_base.errors import InputError

_EPOCH = re.compile(r"epoch-(\d+)(-test)?\.safetensors")


@dataclass(frozen=True, kw_only=True)
class FusionOptions(StepOptions):
    """All options that `fuse`, `tune`, `compare` and `report` share, as typed.

    Attributes:
        files: score files or run folders, see `typed_sources`; without them the runs below `runs`
            are searched.
        dataset, split, subset: of the runs. epochs: `all`, `last:N` or `N,...`.
        splits: several at a time, each by itself, or `all` that there are: see `read_splits`.
        model, name: of the runs, see `choose_runs`.
        calibrate: `none`, `val` or `crossfit`. calibration: a name of CALIBRATIONS.
        learn: `none` or a name of LEARNERS. learn_on: `val` or `crossfit`.
        val: validation score files, one for each input. folds: see `grouped_folds`.
        groups: see `video_groups`; by default those of the files.
        strategies: the fusions that `compare` and `report` show side by side. stream_weights:
            `STREAM=W,...`, for `weighted` among them. seed: of the intervals of differences.
    """

    files: Sequence[Path | ScoreSource] = ()
    runs: Path = Path("runs")
    dataset: str | None = None
    split: int | None = None
    splits: Sequence[int] | str | None = None
    model: str | None = None
    name: str | None = None
    subset: str = "test"
    epochs: str | None = None
    calibrate: str = "none"
    calibration: str = "temperature"
    learn: str = "none"
    learn_on: str = "crossfit"
    val: Sequence[Path] = ()
    groups: str | None = None
    folds: int = 5
    strategies: Sequence[str] = COMPARED
    stream_weights: str | None = None
    seed: int = 0


# For each stream its score file, or one for each epoch, oldest first.
ScoreFiles = Mapping[str, Sequence[Path]]


@dataclass(frozen=True, eq=False)
class FusionInputs:
    """What is fused, and how: the start of `fuse`, `tune`, `compare` and `report`.

    Attributes:
        files: the score files of each stream.
        joined: a table for each stream; where it has several epochs, they are fused.
        steps: of the options.
    """

    files: ScoreFiles
    joined: JoinedTables
    steps: Steps


def read_inputs(options: FusionOptions) -> FusionInputs:
    """Find, read and join the score files that the options name.

    Raises:
        InputError: a file that is missing, damaged or given twice; files that do not join; or an
            option that is malformed or has no effect.
    """
    tables, files, steps = read_tables(*find_files(options), options)
    joined = join(tables, groups=options.groups)
    by_kind = Counter(str(table.metadata.get("stream", "")) for table in tables.values())
    for kind, count in by_kind.items():
        if kind and count > 1:
            joined.warnings.append(
                f"{count} of the inputs are scores of the stream {kind}: fused, they are an "
                "ensemble of that stream; if that is not meant, give one file of each"
            )
    return FusionInputs(files, joined, steps)


def read_tables(
    sources: Sequence[ScoreSource], files: Sequence[Sequence[Path]], options: FusionOptions
) -> tuple[dict[str, ScoreTable], ScoreFiles, Steps]:
    """The table of each input, by its name, its files, and the steps of the options.

    Args:
        files: of each source, see `score_files`; several are those of epochs, which are fused.
    """
    by_epoch = [[open_scores(file) for file in of_input] for of_input in files]
    streams = stream_names(sources, [tables[0].metadata for tables in by_epoch])
    class_names = by_epoch[0][0].class_names
    steps = find_steps(options, streams=streams, class_names=class_names)
    tables = {}
    for stream, of_input, epochs in zip(streams, files, by_epoch, strict=True):
        tables[stream] = epochs[0]
        if len(epochs) > 1:
            named = {file.stem: table for file, table in zip(of_input, epochs, strict=True)}
            tables[stream] = fuse_epochs(named, steps.epochs, groups=options.groups)
    return tables, dict(zip(streams, files, strict=True)), steps


def takes_splits(options: FusionOptions) -> bool:
    """Whether the options ask for several splits, each by itself."""
    return options.splits is not None or any(has_field(path, "split") for path in options.files)


def split_options(options: FusionOptions) -> tuple[dict[int, FusionOptions], list[str]]:
    """The options of each split, as if it were alone; and a line for each that is not there.

    `--val` may have a `{split}` too.

    Raises:
        InputError: no split is there, a file of which the split is not known, or what
            `typed_sources` refuses.
    """
    _refuse_seeds(options)
    by_split: dict[int, list[ScoreSource]] = defaultdict(list)
    dataset = options.dataset
    if options.files:
        for source in typed_sources(options.files):
            file = score_files(source.path, options)[0]
            known = with_split(source, file)
            if known.split is None:
                raise InputError(
                    f"{file}: its header does not tell the split; give its name with {{split}} in "
                    "place of the number"
                )
            by_split[known.split].append(known)
            dataset = dataset or read_head(file)["about"].get("dataset")
    else:
        for source in _searched_runs(STREAMS, replace(options, split=None)):
            assert source.split is not None
            by_split[source.split].append(source)
            dataset = dataset or source.dataset
    numbers = options.splits if options.splits not in (None, "all") else sorted(by_split)
    assert numbers is not None
    official = OFFICIAL_SPLITS.get(str(dataset), 0) if options.splits in (None, "all") else 0
    missing = [
        f"split {split} is not there"
        for split in sorted({*map(int, numbers), *range(1, official + 1)} - set(by_split))
    ]
    options_by_split: dict[int, FusionOptions] = {}
    for split in map(int, numbers):
        sources = by_split.get(split, [])
        if sources and not options.files:
            by_stream = {s: [run for run in sources if run.stream == s] for s in STREAMS}
            if absent := [stream for stream, runs in by_stream.items() if not runs]:
                missing.append(f"split {split}: no scores of the {absent[0]} stream")
                continue
            sources = [one_of(stream, runs) for stream, runs in by_stream.items()]
        if sources:
            val = [Path(str(path).replace("{split}", str(split))) for path in options.val]
            options_by_split[split] = replace(
                options, files=sources, split=split, splits=None, model=None, name=None, val=val
            )
    if not options_by_split:
        raise InputError(f"no scores of the splits: {'; '.join(missing)}")
    return options_by_split, missing


def find_files(options: FusionOptions) -> tuple[list[ScoreSource], list[list[Path]]]:
    """The inputs, files or run folders; and the score files of each, one or one for each epoch.

    Raises:
        InputError: a file that is missing or given twice; no run, or several; or a `{seed}`.
    """
    _refuse_seeds(options)
    sources = typed_sources(options.files)
    if not sources:
        runs = _searched_runs(STREAMS, options)
        sources = [
            one_of(stream, [run for run in runs if run.stream == stream]) for stream in STREAMS
        ]
    paths = [source.path for source in sources]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a file is given twice: {' '.join(map(str, paths))}")
    return sources, [score_files(path, options) for path in paths]


def find_forms(options: FusionOptions) -> list[ScoreSource]:
    """The runs of one split that use RGB and flow in different forms: one of each stream, and all
    joint and distilled ones.

    Raises:
        InputError: there are none, of several splits, or several of a stream.
    """
    runs = [
        run
        for run in _searched_runs(STREAMS, options, further=FORMS[len(STREAMS) :])
        if options.split in (None, run.split)
    ]
    splits = sorted({run.split for run in runs if run.split is not None})
    if len(splits) > 1:
        raise InputError(f"--forms compares runs of one split; give --split {splits[0]}")
    alone = [one_of(stream, [run for run in runs if run.stream == stream]) for stream in STREAMS]
    return [*alone, *(run for run in runs if run.stream not in STREAMS)]


def _refuse_seeds(options: FusionOptions) -> None:
    if any(has_field(path, "seed") for path in options.files):
        raise InputError("{seed} is for `twostream table`, which takes several seeds; name one")


def stream_names(
    sources: Sequence[ScoreSource], metadata: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What each input is called: as it was named, else its stream, as its metadata tells it.

    Inputs of the same stream, or of none, go by their file name without suffix; where this does not
    tell the inputs apart, all go by their paths.
    """
    typed = [source.stream if not source.model else "" for source in sources]
    streams = [
        name or str(facts.get("stream", "")) for name, facts in zip(typed, metadata, strict=True)
    ]
    names = [
        stream if stream and streams.count(stream) == 1 else source.path.stem
        for stream, source in zip(streams, sources, strict=True)
    ]
    if len(set(names)) == len(names):
        return names
    return [str(source.path) for source in sources]


def find_epochs(run_scores: Path, selection: str, *, subset: str) -> list[Path]:
    """The score files of some epochs in a folder, oldest first.

    `epoch-017.safetensors` is of the videos that select the epoch, `epoch-017-test.safetensors` of
    the test videos where these are others.

    Args:
        selection: `all`, `last:5`, or numbers as `3,5,8`.
        subset: of the videos, `val` or `test`.

    Raises:
        InputError: there are none, or not those that are asked for.
    """
    matches = [
        (match, path)
        for path in sorted(run_scores.glob("epoch-*"))
        if (match := _EPOCH.fullmatch(path.name))
    ]
    test_files = subset == "test" and any(match[2] for match, _ in matches)
    files = {int(match[1]): path for match, path in matches if bool(match[2]) == test_files}
    epochs = sorted(files)
    if selection != "all" and (last := re.fullmatch(r"last:([1-9]\d*)", selection)):
        selected = epochs[-int(last[1]) :]
        missing = int(last[1]) - len(selected)
    elif selection == "all" or re.fullmatch(r"\d+(,\d+)*", selection):
        selected = (
            epochs if selection == "all" else sorted({int(text) for text in selection.split(",")})
        )
        missing = len(set(selected) - set(epochs)) + (not selected)
    else:
        raise InputError(f"--epochs {selection!r}: expected all, last:N, or numbers as 3,5,8")
    if missing:
        listed = ", ".join(map(str, epochs)) or "none"
        raise InputError(
            f"--epochs {selection}: {run_scores} holds the scores of epochs {listed}; "
            "`twostream train --dump-scores last:N` keeps them"
        )
    return [files[epoch] for epoch in selected]


def score_files(path: Path, options: FusionOptions) -> list[Path]:
    """The score files of an input: a score file itself, or those of a run folder."""
    if options.epochs:
        if not path.is_dir():
            raise InputError(f"--epochs needs run folders; {path} is a file")
        files = find_epochs(path / "scores", options.epochs, subset=options.subset)
        subset = read_head(files[-1])["about"].get("subset", options.subset)
        if subset != options.subset:
            raise InputError(f"{files[-1]} is of the {subset} videos; give --subset {subset}")
        return files
    file = path / "scores" / f"{options.subset}.safetensors" if path.is_dir() else path
    if not file.exists():
        raise InputError(
            f"{file} is not there; is {path} a run folder with {options.subset} scores?"
        )
    return [file]


def _searched_runs(
    streams: Sequence[str], options: FusionOptions, *, further: Sequence[str] = ()
) -> list[ScoreSource]:
    """The runs of some streams below `runs` that have the scores that the options ask for.

    Args:
        further: streams that may have none.

    Raises:
        InputError: a stream has none.
    """
    scores = "epoch-*" if options.epochs else options.subset
    all_runs = run_sources(
        options.runs, scores=scores, dataset=options.dataset, streams=(*streams, *further)
    )
    runs = [run for run in all_runs if options.split is None or run.split == options.split]
    for stream in streams:
        if not any(run.stream == stream for run in runs):
            data = escape(options.dataset) if options.dataset else "*"
            pattern = f"{data}-split{options.split or '*'}/{stream}-*/scores/{scores}.safetensors"
            raise InputError(
                f"no scores of the {stream} stream: {options.runs / pattern} is not there. "
                f"`twostream train --stream {stream}` makes them; else go to the folder of "
                "twostream.toml, or name FILES"
            )
    return choose_runs(runs, model=options.model, name=options.name)
