"""Which score files are fused: those of run folders, or those that the user names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from fusion.combining.fuse import fuse_epochs
from fusion.combining.step import StepOptions, Steps, find_steps
from fusion.tables.join import JoinedTables, join
from fusion.tables.score_file import open_scores, read_head
from twostream_base.errors import InputError

STREAMS = ("spatial", "motion")
_EPOCH = re.compile(r"epoch-(\d+)(-test)?\.safetensors")


@dataclass(frozen=True, kw_only=True)
class FusionOptions(StepOptions):
    """All options that `fuse`, `tune`, `compare` and `report` share, as typed.

    Attributes:
        files: score files or run folders; without them the runs below `runs` are searched.
        dataset, split, subset: of the runs. epochs: `all`, `last:N` or `N,...`.
        calibrate: `none`, `val` or `crossfit`. calibration: a name of CALIBRATIONS.
        learn: `none` or a name of LEARNERS. learn_on: `val` or `crossfit`.
        val: validation score files, one for each input. folds: see `grouped_folds`.
        groups: see `video_groups`; by default those of the files.
    """

    files: Sequence[Path] = ()
    runs: Path = Path("runs")
    dataset: str | None = None
    split: int | None = None
    subset: str = "test"
    epochs: str | None = None
    calibrate: str = "none"
    calibration: str = "temperature"
    learn: str = "none"
    learn_on: str = "crossfit"
    val: Sequence[Path] = ()
    groups: str | None = None
    folds: int = 5


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
    paths, files = find_files(options)
    by_epoch = [[open_scores(file) for file in of_input] for of_input in files]
    streams = stream_names(paths, [tables[0].metadata for tables in by_epoch])
    class_names = by_epoch[0][0].class_names
    steps = find_steps(options, streams=streams, class_names=class_names)
    tables = {}
    for stream, of_input, epochs in zip(streams, files, by_epoch, strict=True):
        tables[stream] = epochs[0]
        if len(epochs) > 1:
            named = {file.stem: table for file, table in zip(of_input, epochs, strict=True)}
            tables[stream] = fuse_epochs(named, steps.epochs, groups=options.groups)
    joined = join(tables, groups=options.groups)
    by_kind = Counter(str(table.metadata.get("stream", "")) for table in tables.values())
    for kind, count in by_kind.items():
        if kind and count > 1:
            joined.warnings.append(
                f"{count} of the inputs are scores of the stream {kind}: fused, they are an "
                "ensemble of that stream; if that is not meant, give one file of each"
            )
    return FusionInputs(dict(zip(streams, files, strict=True)), joined, steps)


def find_files(options: FusionOptions) -> tuple[list[Path], list[list[Path]]]:
    """The inputs, files or run folders; and the score files of each, one or one for each epoch.

    Raises:
        InputError: a file that is missing or given twice.
    """
    paths = list(options.files) or [_find_run(stream, options) for stream in STREAMS]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a file is given twice: {' '.join(map(str, paths))}")
    return paths, [_score_files(path, options) for path in paths]


def stream_names(paths: Sequence[Path], metadata: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each input is called: its stream, as its metadata tells it.

    Inputs of the same stream, or of none, go by their file name without suffix; where this does not
    tell the inputs apart, all go by their paths.
    """
    streams = [str(facts.get("stream", "")) for facts in metadata]
    names = [
        stream if stream and streams.count(stream) == 1 else path.stem
        for stream, path in zip(streams, paths, strict=True)
    ]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


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
        there = ", ".join(map(str, epochs)) or "none"
        raise InputError(
            f"--epochs {selection}: {run_scores} holds the scores of epochs {there}; "
            "`twostream train --dump-scores last:N` keeps them"
        )
    return [files[epoch] for epoch in selected]


def _score_files(path: Path, options: FusionOptions) -> list[Path]:
    """The score files of an input: a score file itself, or those of a run folder."""
    if options.epochs:
        if not path.is_dir():
            raise InputError(f"--epochs needs run folders; {path} is a file")
        files = find_epochs(path / "scores", options.epochs, subset=options.subset)
        there = read_head(files[-1])["about"].get("subset", options.subset)
        if there != options.subset:
            raise InputError(f"{files[-1]} is of the {there} videos; give --subset {there}")
        return files
    file = path / "scores" / f"{options.subset}.safetensors" if path.is_dir() else path
    if not file.exists():
        raise InputError(
            f"{file} is not there; is {path} a run folder with {options.subset} scores?"
        )
    return [file]


def _find_run(stream: str, options: FusionOptions) -> Path:
    """The one run of a stream below `runs` that has the scores that the options ask for."""
    data = escape(options.dataset) if options.dataset else "*"
    scores = "epoch-*" if options.epochs else options.subset
    pattern = f"{data}-split{options.split or '*'}/{stream}-*/scores/{scores}.safetensors"
    runs = sorted({path.parents[1] for path in options.runs.glob(pattern)})
    if not runs:
        raise InputError(
            f"no scores of the {stream} stream: {options.runs / pattern} is not there. `twostream "
            f"train --stream {stream}` makes them; else go to the folder of twostream.toml, or "
            "name FILES"
        )
    if len(runs) > 1:
        listed = " ".join(map(str, runs))
        raise InputError(f"{len(runs)} {stream} runs have scores; name those to fuse: {listed}")
    return runs[0]
