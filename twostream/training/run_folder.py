"""The folder of a run: what is in it, and whether it is of the same run.

config.toml         all options, by which the run is recognised and repeated
log.csv             a row for every pass over the training or validation videos
videos.csv.gz       the videos it learns from, is validated and tested on
last/, best/        checkpoints: weights, training state and their SHA256SUMS
epochs/epoch-NNN/   checkpoints of other epochs that are still needed
tensorboard/        the log as curves, on request
"""

from __future__ import annotations

import csv
import os
import shutil
import tomllib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twostream.data.training_videos import (
    VIDEOS,
    RunVideo,
    describe_changes,
    digest_of,
    read_videos,
)
from twostream.models.checkpoint import WEIGHTS, WEIGHTS_FILE, has_checkpoint, read_training_videos
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading, restore_folder, write_toml
from twostream_base.tensor_file import TensorFile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG = "config.toml"
OF_THE_NETWORK = {
    "model": str,
    "model_option": list,
    "clip_length": int,
    "frame_interval": int,
    "flow_stack": int,
    "input_size": int,
    "resize": list,
}
PATHS = (
    "annotations",
    "store",
    "runs",
    "videos",
    "vocabulary",
    "load",
    "start-from",
    "teacher",
)  # options that are paths


def run_begun_with(options: Mapping[str, Any], *, model: str | None) -> dict[str, Any] | None:
    """What `config.toml` says of the network of a run that can go on and has begun the same way.

    Args:
        options: `weights`, `start_from` and what tells a run but for its network: `runs`,
            `dataset`, `split`, `stream`, `name`, and how two streams are joined.
        model: of the run; None where what it starts from decides that.

    Returns:
        The options of `OF_THE_NETWORK`; None where there is no such run, or several of other
        networks.

    Raises:
        InputError: a configuration is damaged.
    """
    dataset = f"{options['dataset']}-split{options['split']}".replace(":", ".")
    same = ("stream", "name", "weights", "fuse_at", "fuse", "keep_both")
    starts = [os.path.abspath(path) for path in options["start_from"]]
    runs: list[dict[str, Any]] = []
    for path in sorted((Path(options["runs"]) / dataset).glob(f"*/{CONFIG}")):
        with reading(path, "TOML"):
            config = {k.replace("-", "_"): v for k, v in tomllib.loads(read_text(path)).items()}
        began = config.get("start_from")
        is_same = (
            isinstance(began, list)
            and [os.path.abspath(path.parent / str(text)) for text in began] == starts
            and all(config.get(key) == options[key] for key in same)
            and model in (None, config.get("model"))
        )
        if not is_same or not has_checkpoint(path.parent / "last"):
            continue
        for key, kind in OF_THE_NETWORK.items():
            if not isinstance(config.get(key), kind):
                raise InputError(
                    f"{path}: {key.replace('_', '-')} = {config.get(key)!r} is not what a run "
                    "writes; copy the run again, or --restart"
                )
        known = {key: config[key] for key in OF_THE_NETWORK}
        runs.append({k: tuple(v) if isinstance(v, list) else v for k, v in known.items()})
    return runs[0] if len(runs) == 1 else None


def epoch_folder(run: Path, epoch: int) -> Path:
    """Where a run keeps the checkpoint of an epoch that is neither its last nor its best."""
    return run / "epochs" / f"epoch-{epoch:03d}"


def drop_epochs(run: Path, *, keep: Collection[int] = ()) -> None:
    """Remove the checkpoints of single epochs, but for those to keep."""
    folders_to_keep = {epoch_folder(run, epoch) for epoch in keep}
    for folder in set((run / "epochs").glob("*")) - folders_to_keep:
        (folder / WEIGHTS).unlink(missing_ok=True)  # first: a kill then leaves no half checkpoint
        shutil.rmtree(folder)


def check_same_run(folder: Path, options: DataclassInstance, *, free: Collection[str]) -> None:
    """Compare the options with those of the run that has begun in this folder.

    Args:
        free: names of those that may differ.

    Raises:
        InputError: they differ in what changes the result, or the run is of another version.
    """
    with reading(folder / CONFIG, "TOML"):
        before = tomllib.loads(read_text(folder / CONFIG))
    now = _settings(options)
    bound = {key for key in before.keys() | now.keys() if key.replace("-", "_") not in free}
    if strange := sorted(bound & (before.keys() ^ now.keys())):
        raise InputError(
            f"{folder} holds a run of another version of twostream, whose options differ in "
            f"{some_of(strange)}; resume it with that version, or give another --name, or --restart"
        )
    changed = [
        f"{key} was {before[key]!r}, now {value!r}"
        for key, value in now.items()
        if key in bound and before[key] != value
    ]
    if changed:
        raise InputError(
            f"{folder} holds a run with other options ({'; '.join(changed)}); give the old "
            "ones, another --name, or --restart"
        )


def check_same_videos(folder: Path, videos: Sequence[RunVideo]) -> None:
    """Compare the lists with those of the run that has begun in this folder.

    Nothing is compared where the run does not know its own: its version kept no record.

    Raises:
        InputError: they differ; the videos are named.
    """
    card, recorded = read_training_videos(folder / "last")
    if card.get("sha256") == digest_of(videos) or not (card or recorded):
        return
    if not recorded:
        changes = f"which videos is not known, as {VIDEOS} is missing"
    elif not (changes := describe_changes(recorded, videos)) and card:
        changes = "the same videos are in another order, or were extracted again"
    if changes:
        raise InputError(
            f"{folder}: the lists have changed since this run began: {changes}. Bring the old "
            "lists back, give another --name, or --restart"
        )


# What a run leaves in its folder. TensorBoard's curves are not among it: they are made of the log.
OF_A_RUN = (CONFIG, VIDEOS, "log.csv", "last", "best", "average", "epochs", "scores")
# All that a run can have that was stopped before its first `last`: its first epoch can be repeated.
OF_A_FIRST_EPOCH = {CONFIG, VIDEOS, "best", "epochs"}


def check_nothing_is_lost(
    folder: Path,
    options: DataclassInstance,
    *,
    free: Collection[str],
    videos: Sequence[RunVideo] = (),
) -> None:
    """Refuse to begin a run in a folder that holds one, with nothing to resume it from.

    Raises:
        InputError: it does.
    """
    restore_folder(folder / "best")
    held = {name for name in OF_A_RUN if (folder / name).exists()}
    if not held:
        return
    is_first_epoch = CONFIG in held and held <= OF_A_FIRST_EPOCH
    if is_first_epoch and "best" in held:
        with TensorFile(folder / "best" / WEIGHTS, WEIGHTS_FILE) as weights:
            is_first_epoch = weights.header.get("epoch") == 0
    if not is_first_epoch:
        raise InputError(
            f"{folder} holds a run, but no last/ to resume it from: {describe_folder(folder)}. "
            "Bring last/ back, give another --name, or --restart, which removes it all"
        )
    check_same_run(folder, options, free=free)
    if VIDEOS in held and (changes := describe_changes(read_videos(folder / VIDEOS), videos)):
        raise InputError(
            f"{folder}: the lists have changed since this run began: {changes}. Bring the old "
            "lists back, give another --name, or --restart"
        )


def describe_folder(folder: Path) -> str:
    """A run folder and what is in it: `runs/x (best/, config.toml, log.csv of 12 epochs)`."""
    texts = []
    for path in sorted(folder.iterdir()):
        text = f"{path.name}/" if path.is_dir() else path.name
        if path.name == "log.csv":
            with suppress(InputError, csv.Error, UnicodeError):
                epochs = {row.get("epoch") for row in csv.DictReader(read_text(path).splitlines())}
                text += f" of {len(epochs):,} {'epoch' if len(epochs) == 1 else 'epochs'}"
        elif path.name in ("scores", "epochs"):
            text += f" with {sum(1 for _ in path.iterdir()):,}"
        texts.append(text)
    return f"{folder} ({some_of(texts, limit=len(OF_A_RUN) + 2) or 'empty'})"


def write_config(folder: Path, options: DataclassInstance, *, command: str) -> None:
    """Write `config.toml`, from which `twostream COMMAND --config` repeats the run."""
    title = f"The options of this run, as `twostream {command}` resolved them."
    write_toml(folder / CONFIG, _settings(options), title=title)


def _settings(options: Any) -> dict[str, Any]:
    """What `config.toml` holds. Paths beside `runs` or below are relative to the run folder.

    So a project may be moved: what was relative goes with it, other paths are absolute.
    """
    settings: dict[str, Any] = {
        key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
        for key, value in asdict(options).items()
    }
    project = Path(os.path.abspath(options.runs)).parent

    def moved(value: str) -> str:
        path = Path(os.path.abspath(value))
        inside = path.is_relative_to(project)
        return (Path(os.path.relpath(path, options.folder)) if inside else path).as_posix()

    for key in PATHS:
        if value := settings.get(key):
            settings[key] = [*map(moved, value)] if isinstance(value, list) else moved(value)
    return settings
