"""Which score files are fused: those of the run folders, or those that the user names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from fusion.combining.fuse import find_epochs, fuse_epochs
from fusion.combining.step import Step
from fusion.tables.score_file import ScoreTable, read_head, read_scores
from twostream_base.errors import InputError

STREAMS = ("spatial", "motion")


@dataclass(frozen=True)
class InputOptions:
    """The options of the command line that choose the score files, as typed."""

    files: Sequence[Path] = ()
    runs: Path = Path("runs")
    dataset: str | None = None
    split: int | None = None
    subset: str = "test"
    epochs: str | None = None


@dataclass(frozen=True, eq=False)
class Input:
    """The score files of one stream: one, or one for each epoch, oldest first."""

    tables: dict[Path, ScoreTable]

    @property
    def files(self) -> str:
        """The paths, for a reader."""
        return ", ".join(map(str, self.tables))


def read_inputs(
    options: InputOptions, *, read: Callable[[Path], ScoreTable] = read_scores
) -> dict[str, Input]:
    """Find and read the score files; the key of each input is its stream name.

    Files of the same stream, or of none, go by their file name without suffix, and where this does
    not tell the inputs apart, all go by their paths.

    Raises:
        InputError: a file that is not there, not sound, or given twice.
    """
    paths = options.files or _find_runs(options)
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a file is given twice: {' '.join(map(str, paths))}")
    inputs = [Input({file: read(file) for file in _files(p, options)}) for p in paths]
    return dict(zip(_keys(paths, inputs), inputs, strict=True))


def input_paths(options: InputOptions) -> list[Path]:
    """The score files that `read_inputs` would read.

    Raises:
        InputError: a file that is not there.
    """
    paths = options.files or _find_runs(options)
    return [file for path in paths for file in _files(path, options)]


def input_tables(inputs: Mapping[str, Input], over_epochs: Step) -> dict[str, ScoreTable]:
    """One table an input; where it has several epochs, they are fused."""
    return {
        key: fuse_epochs({path.stem: table for path, table in given.tables.items()}, over_epochs)
        for key, given in inputs.items()
    }


def _keys(paths: Sequence[Path], inputs: Sequence[Input]) -> list[str]:
    streams = [str(next(iter(one.tables.values())).about.get("stream", "")) for one in inputs]
    keys = [
        stream if stream and streams.count(stream) == 1 else path.stem
        for stream, path in zip(streams, paths, strict=True)
    ]
    return keys if len(set(keys)) == len(keys) else [str(path) for path in paths]


def _files(path: Path, options: InputOptions) -> list[Path]:
    """The score files of an input: a score file itself, or a run folder."""
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


def _find_runs(options: InputOptions) -> list[Path]:
    """The one spatial and the one motion run below `runs` that have such scores."""
    data = escape(options.dataset) if options.dataset else "*"
    folder = f"{data}-split{options.split or '*'}"
    scores = "epoch-*" if options.epochs else options.subset
    return [
        _only_run(options.runs, stream, f"{folder}/{stream}-*/scores/{scores}.safetensors")
        for stream in STREAMS
    ]


def _only_run(runs: Path, stream: str, pattern: str) -> Path:
    found = sorted({path.parents[1] for path in runs.glob(pattern)})
    if not found:
        raise InputError(
            f"no scores of the {stream} stream: {runs / pattern} is not there. `twostream train "
            f"--stream {stream}` makes them; else go to the folder of twostream.toml, or name FILES"
        )
    if len(found) > 1:
        listed = " ".join(map(str, found))
        raise InputError(f"{len(found)} {stream} runs have scores; name those to fuse: {listed}")
    return found[0]
