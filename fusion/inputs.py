"""Which score files are fused: those of the run folders, or those that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from glob import escape
from pathlib import Path

from fusion.score_file import ScoreTable, read_scores
from twostream.errors import InputError

STREAMS = ("spatial", "motion")


def find_scores(runs: Path, *, dataset: str | None, split: int | None, subset: str) -> list[Path]:
    """The score file of the one spatial and the one motion run below `runs`.

    Where data set or split is None, any will do.

    Raises:
        InputError: a stream without a score file (and the command that makes it), or with several.
    """
    folder = f"{escape(dataset) if dataset else '*'}-split{split or '*'}"
    return [_only_one(runs, folder, stream, subset) for stream in STREAMS]


def _only_one(runs: Path, folder: str, stream: str, subset: str) -> Path:
    pattern = f"{folder}/{stream}-*/scores/{subset}.safetensors"
    found = sorted(runs.glob(pattern))
    if not found:
        raise InputError(
            f"no scores of the {stream} stream: {runs / pattern} is not there. `twostream train "
            f"--stream {stream}` makes them; else go to the folder of twostream.toml, or name FILES"
        )
    if len(found) > 1:
        listed = " ".join(map(str, found))
        raise InputError(
            f"{len(found)} {stream} runs have scores; name the files to fuse: {listed}"
        )
    return found[0]


def read_inputs(paths: Sequence[Path]) -> dict[str, ScoreTable]:
    """Read score files; the key of each is its stream name.

    Files of the same stream, or of none, go by their file name without suffix, and where this does
    not tell the inputs apart, all go by their paths.

    Raises:
        InputError: a file that is not sound, or given twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a file is given twice: {' '.join(map(str, paths))}")
    tables = [read_scores(path) for path in paths]
    streams = [str(table.about.get("stream", "")) for table in tables]
    keys = [
        stream if stream and streams.count(stream) == 1 else path.stem
        for stream, path in zip(streams, paths, strict=True)
    ]
    if len(set(keys)) < len(keys):
        keys = [str(path) for path in paths]
    return dict(zip(keys, tables, strict=True))
