"""Score files: from the options of a command, or run folders, to joined tables.

First which files there are, of which stream, split and seed (`ScoreSource`); then what is read of
them (`FusionInputs`).
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape, glob
from pathlib import Path
from typing import Any

import numpy as np

from fusion.combining.fuse import fuse_epochs
from fusion.combining.step import StepOptions, Steps, find_steps
from fusion.combining.strategies import COMPARED
from fusion.tables.join import JoinedTables, join
from fusion.tables.score_file import ScoreTable, read_head, read_scores
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading

STREAMS = ("spatial", "motion")
FURTHER_FORMS = ("joint", "distilled")  # streams that `compare --forms` looks for besides
# What scores of several splits should have in common.
ALIKE_IN_SPLITS = ("dataset", "subset", "protocol", "model", "selected_on")
# How many official splits a data set has: `--splits all` tells which of them are not there.
OFFICIAL_SPLITS = {"ucf101": 3, "hmdb51": 3}
_SEED = re.compile(r"[-_.]?seed[-_.]?(\d+)")
_FIELD = re.compile(r"\{(split|seed)\}")
_EPOCH = re.compile(r"epoch-(\d+)(-test)?\.safetensors")


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


@dataclass(frozen=True, kw_only=True)
class FusionOptions(StepOptions):
    """All options that `fuse`, `tune`, `compare` and `report` share, as typed.

    Attributes:
        files: score files or run folders, see `typed_sources`; without them the runs below `runs`
            are searched.
        dataset, split, subset: of the runs. epochs: `all`, `last:N` or `N,...`.
        splits: several at a time, each by itself, or `all` that there are: see `split_options`.
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

    @property
    def takes_splits(self) -> bool:
        """Whether several splits are asked for, each by itself."""
        return self.splits is not None or any(has_field(path, "split") for path in self.files)

    def of_split(self, split: int | None) -> FusionOptions:
        """The same of one split, whose number stands for `{split}` in `val`."""
        val = [Path(str(path).replace("{split}", str(split))) for path in self.val]
        return replace(self, split=split, splits=None, val=val)


# For each stream its score file, or one for each epoch, oldest first.
ScoreFiles = Mapping[str, Sequence[Path]]
# What is fitted for some videos never sees their own labels: it is fitted on other folds of them,
# int64 (V,), or on the scores of other videos by each stream.
HeldOut = np.ndarray | Mapping[str, ScoreTable]


@dataclass(frozen=True, eq=False)
class FusionInputs:
    """What is fused, and how: the start of `fuse`, `tune`, `compare` and `report`.

    Attributes:
        files: the score files of each stream.
        joined: a table for each stream; where it has several epochs, they are fused.
        steps: of the options.
        options: with which they were read.
    """

    files: ScoreFiles
    joined: JoinedTables
    steps: Steps
    options: FusionOptions


def split_options(options: FusionOptions) -> tuple[dict[int, FusionOptions], list[str]]:
    """The options of each split, as if it were alone; and a line for each that is not there.

    `--val` may have a `{split}` too.

    Raises:
        InputError: no split is there, a file of which the split is not known, or what
            `typed_sources` refuses.
    """
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
            dataset = dataset or metadata_of(file).get("dataset")
    else:
        for source in _searched_runs(replace(options, split=None)):
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
            there = {run.stream for run in sources}
            if absent := [stream for stream in STREAMS if stream not in there]:
                missing.append(f"split {split}: no scores of the {absent[0]} stream")
                continue
            sources = run_of_each_stream(sources)
        if sources:
            of_split = options.of_split(split)
            options_by_split[split] = replace(of_split, files=sources, model=None, name=None)
    if not options_by_split:
        raise InputError(f"no scores of the splits: {'; '.join(missing)}")
    return options_by_split, missing


def unlike_splits(by_split: Mapping[int, FusionOptions]) -> list[str]:
    """A line for each fact about an input that should be the same in all splits and is not."""
    lines = []
    by_input = zip(*(find_inputs(options) for options in by_split.values()), strict=True)
    for number, sources in enumerate(by_input):
        heads = [
            metadata_of(score_files(source.path, options)[-1])
            for source, options in zip(sources, by_split.values(), strict=True)
        ]
        for fact in ALIKE_IN_SPLITS:
            facts = [str(about.get(fact, "not known")) for about in heads]
            if len(set(facts)) > 1:
                name = heads[0].get("stream", f"input {number + 1}")
                listed = ", ".join(map(" ".join, zip(map(str, by_split), facts, strict=True)))
                lines.append(f"{name}: {fact} differs between the splits: {listed}")
    return lines


def find_inputs(options: FusionOptions) -> list[ScoreSource]:
    """The inputs, files or run folders.

    Raises:
        InputError: a file that is missing or given twice; no run, or several; or a `{seed}`.
    """
    sources = typed_sources(options.files)
    if not sources:
        sources = run_of_each_stream(_searched_runs(options))
    paths = [source.path for source in sources]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a file is given twice: {' '.join(map(str, paths))}")
    return sources


def find_forms(options: FusionOptions) -> list[ScoreSource]:
    """The runs of one split that use RGB and flow in different forms: one of each stream, and all
    joint and distilled ones.

    Raises:
        InputError: there are none, of several splits, or several of a stream.
    """
    runs = _searched_runs(options, further=FURTHER_FORMS)
    splits = sorted({run.split for run in runs if run.split is not None})
    if len(splits) > 1:
        raise InputError(f"--forms compares runs of one split; give --split {splits[0]}")
    return [*run_of_each_stream(runs), *(run for run in runs if run.stream in FURTHER_FORMS)]


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
    matches = {path: _EPOCH.fullmatch(path.name) for path in run_scores.glob("epoch-*")}
    named = {path: match for path, match in matches.items() if match}
    test_files = subset == "test" and any(match[2] for match in named.values())
    files = {int(match[1]): path for path, match in named.items() if bool(match[2]) == test_files}
    epochs = sorted(files)
    if last := re.fullmatch(r"last:([1-9]\d*)", selection):
        selected = epochs[-int(last[1]) :]
        complete = len(selected) == int(last[1])
    elif selection == "all":
        selected, complete = epochs, bool(epochs)
    elif re.fullmatch(r"\d+(,\d+)*", selection):
        selected = sorted({int(text) for text in selection.split(",")})
        complete = set(selected) <= set(epochs)
    else:
        raise InputError(f"--epochs {selection!r}: expected all, last:N, or numbers as 3,5,8")
    if not complete:
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
        subset = metadata_of(files[-1]).get("subset", options.subset)
        if subset != options.subset:
            raise InputError(f"{files[-1]} is of the {subset} videos; give --subset {subset}")
        return files
    file = path / "scores" / f"{options.subset}.safetensors" if path.is_dir() else path
    if not file.exists():
        raise InputError(
            f"{file} is not there; is {path} a run folder with {options.subset} scores?"
        )
    return [file]


def _searched_runs(options: FusionOptions, *, further: Sequence[str] = ()) -> list[ScoreSource]:
    """The runs of both STREAMS below `runs` that have the scores that the options ask for.

    Args:
        further: other streams that may have some.

    Raises:
        InputError: one of STREAMS has none.
    """
    scores = "epoch-*" if options.epochs else options.subset
    all_runs = run_sources(
        options.runs, scores=scores, dataset=options.dataset, streams=(*STREAMS, *further)
    )
    runs = [run for run in all_runs if options.split is None or run.split == options.split]
    for stream in STREAMS:
        if not any(run.stream == stream for run in runs):
            data = escape(options.dataset) if options.dataset else "*"
            pattern = f"{data}-split{options.split or '*'}/{stream}-*/scores/{scores}.safetensors"
            raise InputError(
                f"no scores of the {stream} stream: {options.runs / pattern} is not there. "
                f"`twostream train --stream {stream}` makes them; else go to the folder of "
                "twostream.toml, or name FILES"
            )
    return choose_runs(runs, model=options.model, name=options.name)


def has_field(path: Path | ScoreSource, field: str) -> bool:
    """Whether an input that is not there as it is spelt has a `{split}` or `{seed}` in its name."""
    return isinstance(path, Path) and f"{{{field}}}" in str(path) and not path.exists()


def typed_sources(typed: Iterable[Path | ScoreSource], *, seeds: bool = False) -> list[ScoreSource]:
    """The inputs that a command was given: `FILE`, `STREAM=FILE` or `SYSTEM/STREAM=FILE`.

    A FILE in which `{split}` or `{seed}` stands for a number gives a source for each file there is.

    Args:
        seeds: whether several seeds are taken.

    Raises:
        InputError: no file of that name, or a `{seed}` where they are not.
    """
    sources: list[ScoreSource] = []
    for path in typed:
        if isinstance(path, ScoreSource):
            sources.append(path)
            continue
        if has_field(path, "seed") and not seeds:
            raise InputError("{seed} is for `twostream table`, which takes several seeds; name one")
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
            model = str(metadata_of(file).get("model", ""))
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


def metadata_of(file: Path) -> dict[str, Any]:
    """What the header of a score file tells of its scores."""
    return dict(read_head(file)["about"])


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


def run_of_each_stream(runs: Sequence[ScoreSource]) -> list[ScoreSource]:
    """The one run of each of STREAMS; see `single_run`."""
    return [single_run(stream, [run for run in runs if run.stream == stream]) for stream in STREAMS]


def single_run(stream: str, sources: Sequence[ScoreSource]) -> ScoreSource:
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
    split = metadata_of(file).get("split")
    if not isinstance(split, int):
        return source
    if source.split not in (None, split):
        raise InputError(f"{file}: its name says split {source.split}, its header split {split}")
    return replace(source, split=split)


def read_inputs(options: FusionOptions) -> FusionInputs:
    """Find, read and join the score files that the options name.

    Raises:
        InputError: a file that is missing, damaged or given twice; files that do not join; or an
            option that is malformed or has no effect.
    """
    tables, files, steps = read_tables(find_inputs(options), options)
    joined = join(tables, groups=options.groups)
    by_kind = Counter(str(table.metadata.get("stream", "")) for table in tables.values())
    for kind, count in by_kind.items():
        if kind and count > 1:
            joined.warnings.append(
                f"{count} of the inputs are scores of the stream {kind}: fused, they are an "
                "ensemble of that stream; if that is not meant, give one file of each"
            )
    return FusionInputs(files, joined, steps, options)


def read_tables(
    sources: Sequence[ScoreSource], options: FusionOptions
) -> tuple[dict[str, ScoreTable], ScoreFiles, Steps]:
    """The table of each input, by its name; its files; and the steps of the options.

    Several files of an input are those of epochs, which are fused.
    """
    files = [score_files(source.path, options) for source in sources]
    by_epoch = [[read_scores(file, in_memory=False) for file in of_input] for of_input in files]
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


def read_held_out(inputs: FusionInputs, on: str) -> HeldOut:
    """What the inputs are fitted on: `crossfit`, grouped folds of them; `val`, validation scores.

    Raises:
        InputError: what `JoinedTables.folds` and `read_validation_scores` refuse.
    """
    if on == "val":
        return read_validation_scores(inputs)
    return inputs.joined.folds(inputs.options.folds)


def read_validation_scores(inputs: FusionInputs) -> dict[str, ScoreTable]:
    """The validation scores of each stream: the files of --val in order, or those next to its own.

    Raises:
        InputError: another number of files, one that is missing, or of another stream.
    """
    val = inputs.options.val
    if val and len(val) != len(inputs.files):
        raise InputError(
            f"--val was given {len(val)} times for {len(inputs.files)} inputs; give it once for "
            "each input"
        )
    paths = {key: files[0].with_name("val.safetensors") for key, files in inputs.files.items()}
    if val:
        paths = dict(zip(inputs.files, val, strict=True))
    tables = {}
    for key, path in paths.items():
        if not path.exists():
            raise InputError(
                f"no validation scores of {key} at {path}; name them with --val FILE, or choose "
                "crossfit, which needs none, instead of val"
            )
        tables[key] = read_scores(path)
        expected = inputs.joined.tables[key].metadata
        for fact in ("stream", "dataset", "split"):
            here, there = expected.get(fact), tables[key].metadata.get(fact)
            if here is not None and there is not None and here != there:
                raise InputError(f"{path}: {fact} {there}, but the scores of {key} are of {here}")
    return tables
