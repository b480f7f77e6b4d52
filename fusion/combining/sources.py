"""Score files of several splits, models and seeds: run folders, and names with {split}, {seed}."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape, glob
from pathlib import Path

from fusion.tables.score_file import read_head
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading

STREAMS = ("spatial", "motion")
FORMS = (*STREAMS, "joint", "distilled")  # streams that `compare --forms` looks for
# How many official splits a data set has: `--splits all` tells which of them are not there.
OFFICIAL_SPLITS = {"ucf101": 3, "hmdb51": 3}
_SEED = re.compile(r"[-_.]?seed[-_.]?(\d+)")
_FIELD = re.compile(r"\{(split|seed)\}")


@dataclass(frozen=True)
class ScoreSource:
    """A score file or run folder, and what its scores are of.

    Attributes:
        path: the file, or the run folder.
        stream: what the input is called; empty where the header of the file says it.
        system: what tells several networks of a stream apart: model, and name of the run without
            its seed. Streams of one system are fused.
        dataset, model, name: of a run folder.
        split, seed: None where they are not known.
    """

    path: Path
    stream: str = ""
    system: str = ""
    dataset: str = ""
    model: str = ""
    name: str = ""
    split: int | None = None
    seed: int | None = None


def has_field(path: Path | ScoreSource, field: str) -> bool:
    """Whether an input that is not there as it is spelt has a `{split}` or `{seed}` in its name."""
    return isinstance(path, Path) and f"{{{field}}}" in str(path) and not path.exists()


def typed_sources(typed: Iterable[Path | ScoreSource]) -> list[ScoreSource]:
    """The inputs that a command was given: `FILE`, `STREAM=FILE` or `SYSTEM/STREAM=FILE`.

    A FILE in which `{split}` or `{seed}` stands for a number gives a source for each file there is.

    Raises:
        InputError: no file of that name.
    """
    sources: list[ScoreSource] = []
    for path in typed:
        if isinstance(path, ScoreSource):
            sources.append(path)
            continue
        text, system, stream = str(path), "", ""
        if not path.exists() and "=" in text and not _matching(text):
            key, _, text = text.partition("=")
            system, _, stream = key.rpartition("/")
        run = run_source(path) if path.is_dir() else None
        if run is not None:
            sources.append(run)
            continue
        files = [(Path(text), None, None)] if Path(text).exists() else _matching(text)
        if not files:
            raise InputError(
                f"{text} does not exist; an input is FILE, a run folder, STREAM=FILE or "
                "SYSTEM/STREAM=FILE, where {split} and {seed} in FILE stand for numbers"
            )
        sources += [
            ScoreSource(file, stream, system, split=split, seed=seed) for file, split, seed in files
        ]
    return sources


def _matching(pattern: str) -> list[tuple[Path, int | None, int | None]]:
    """The files whose name has numbers for the fields of a pattern, with split and seed."""
    if not _FIELD.search(pattern):
        return []
    parts = _FIELD.split(pattern)  # text, field, text, ...
    expression, seen = "", set[str]()
    for number, part in enumerate(parts):
        if number % 2 == 0:
            expression += re.escape(part)
        else:
            expression += f"(?P={part})" if part in seen else f"(?P<{part}>[0-9]+)"
            seen.add(part)
    files = []
    for path in sorted(glob("*".join(map(escape, parts[::2])))):
        if match := re.fullmatch(expression, path):
            numbers = {field: int(text) for field, text in match.groupdict().items()}
            files.append((Path(path), numbers.get("split"), numbers.get("seed")))
    return sorted(files, key=lambda file: (file[1] or 0, file[2] or 0))


def run_sources(
    runs: Path, *, scores: str, dataset: str | None = None, streams: Sequence[str] = ("*",)
) -> list[ScoreSource]:
    """All runs of some streams below a folder that have scores.

    Model and name are told by the header of the score file, or `config.toml`, beside the name of
    the folder, `<stream>-<model>-<name>`; the seed by `config.toml`, or by a name such as `seed1`.

    Args:
        scores: pattern of the score files, without suffix.
    """
    data = escape(dataset) if dataset else "*"
    by_folder = {
        path.parents[1]: path
        for stream in streams
        for path in sorted(runs.glob(f"{data}-split*/{stream}-*/scores/{scores}.safetensors"))
    }
    sources = [run_source(folder, file) for folder, file in by_folder.items()]
    return [source for source in sources if source is not None]


def run_source(folder: Path, file: Path | None = None) -> ScoreSource | None:
    """A run folder by its name and its `config.toml`; None where it has no such name.

    Args:
        file: one of its score files, whose header tells the model if `config.toml` is not there.
    """
    of_data = re.fullmatch(r"(.+)-split(\d+)", folder.absolute().parent.name)
    stream, dash, rest = folder.absolute().name.partition("-")
    if of_data is None or not dash:
        return None
    config = {}
    if (folder / "config.toml").is_file():
        with reading(folder / "config.toml", "TOML"):
            config = tomllib.loads(read_text(folder / "config.toml"))
    model = str(config.get("model", ""))
    if file and not model:
        with suppress(InputError):  # a broken file is told where its scores are read
            model = str(read_head(file)["about"].get("model", ""))
    model = model.replace(":", ".")
    if not model or (rest != model and not rest.startswith(f"{model}-")):
        model = rest  # as where the folder was renamed
    name = rest[len(model) + 1 :]
    in_name = _SEED.search(name)
    seed = config.get("seed", int(in_name[1]) if in_name else None)
    variant = _SEED.sub("", name).strip("-_.")
    return ScoreSource(
        folder,
        stream=stream,
        system=f"{model}-{variant}" if variant else model,
        dataset=of_data[1],
        model=model,
        name=name,
        split=int(of_data[2]),
        seed=seed if isinstance(seed, int) else None,
    )


def choose_runs(
    sources: Sequence[ScoreSource], *, model: str | None = None, name: str | None = None
) -> list[ScoreSource]:
    """The runs of some models, and of some names.

    Args:
        model: patterns such as `resnet*`, with commas between them.
        name: a pattern of the name that `train --name` gave, empty for none.

    Raises:
        InputError: there are runs, but none of that model or name.
    """
    for option, pattern, field in (("model", model, "model"), ("name", name, "name")):
        if pattern is None or not sources:
            continue
        patterns = [part.strip() for part in pattern.split(",")] if option == "model" else [pattern]
        matching = [
            source
            for source in sources
            if any(fnmatchcase(getattr(source, field), part) for part in patterns)
        ]
        if not matching:
            known = sorted({getattr(source, field) or "''" for source in sources})
            raise InputError(
                f"--{option} {pattern!r}: no run with scores has such a {option}; there are "
                f"{some_of(known)}"
            )
        sources = matching
    return list(sources)


def one_of(stream: str, sources: Sequence[ScoreSource]) -> ScoreSource:
    """The one run of a stream.

    Raises:
        InputError: there is none left, or several; the options that tell them apart are named.
    """
    if len(sources) == 1:
        return sources[0]
    if not sources:
        raise InputError(f"no {stream} run is of that --model and --name; name FILES")
    options = []
    for fact, option in (
        ("dataset", "--dataset"), ("split", "--split"), ("model", "--model"), ("name", "--name"),
    ):  # fmt: skip
        values = sorted({str(getattr(source, fact)) or "''" for source in sources})
        if len(values) > 1:
            options.append(f"{option} {'|'.join(values)}")
            if fact == "split":
                options[-1] += " (or --splits all, to have each)"
    listed = " ".join(str(source.path) for source in sources)
    choices = f"choose by {', '.join(options)}, or name FILES" if options else "name FILES"
    raise InputError(f"{len(sources)} {stream} runs have scores: {listed}; {choices}")


def with_split(source: ScoreSource, file: Path) -> ScoreSource:
    """The source with the split that the header of its score file tells, if it does.

    Raises:
        InputError: the header tells another split than the file's name.
    """
    split = read_head(file)["about"].get("split")
    if not isinstance(split, int):
        return source
    if source.split not in (None, split):
        raise InputError(f"{file}: its name says split {source.split}, its header split {split}")
    return replace(source, split=split)
