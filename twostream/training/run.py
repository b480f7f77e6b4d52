"""A run in its folder: configuration, log and checkpoints, and how it is resumed.

config.toml         all options, by which the run is recognised and repeated
log.csv             a row for every pass over the training or validation videos
videos.csv.gz       the videos it learns from, is validated and tested on
last/, best/        checkpoints: weights, training state and their SHA256SUMS
epochs/epoch-NNN/   checkpoints of other epochs that are still needed
tensorboard/        the log as curves, on request
"""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from twostream.compute.distributed import REMOVED, broadcast_from_rank_0, note, rank, world_size
from twostream.data.training_videos import (
    VIDEOS,
    RunVideo,
    Seen,
    card_of,
    describe_changes,
    digest_of,
    find_seen,
    read_videos,
    write_videos,
)
from twostream.models.checkpoint import (
    STATE,
    WEIGHTS,
    WEIGHTS_FILE,
    has_checkpoint,
    load_state,
    load_weights,
    read_training_videos,
    save_checkpoint,
)
from twostream_base.errors import InputError, some_of
from twostream_base.files import read_text, reading, restore_folder, write_text, write_toml
from twostream_base.tensor_file import TensorFile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = dict[str, Any]
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


class BaseLearner:
    """A network and what changes while it learns.

    `eval_network` is saved as weights; `state` is everything else that a resumed run needs.
    """

    network: nn.Module
    average: AveragedModel | None
    optimizer: Optimizer
    scaler: torch.amp.GradScaler

    @property
    def eval_network(self) -> nn.Module:
        """The network that is validated, scored and saved: the average, where there is one."""
        return self.average.module if self.average else self.network

    def state(self) -> dict[str, Any]:
        """The training state as plain values and tensors: for a checkpoint's `state.pt`."""
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.average:
            state["averaged"] = int(self.average.n_averaged)
            state["network"] = dict(self.network.state_dict())
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `eval_network` are loaded already."""
        restore_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.n_averaged.fill_(state["averaged"])
            self.network.load_state_dict(state["network"])


# What each keeps of a parameter once it has had a gradient.
OPTIMIZER_STATES = ({"momentum_buffer"}, {"step", "exp_avg", "exp_avg_sq"})


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Take up a `state_dict` of an optimiser, on whatever device.

    Raises:
        ValueError: it is not one of these parameters.
    """
    fused = optimizer.defaults["fused"]
    for group in state["param_groups"]:
        # Of this device, not of the one that the state was saved on. First: by it torch decides
        # where the step numbers of Adam go.
        group["fused"] = fused
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        if values and values.keys() not in OPTIMIZER_STATES:
            raise ValueError(f"the optimiser has {', '.join(map(str, values))} of a parameter")
        for name, value in values.items():
            # The memory order, too, is the device's. A fused step goes through memory in a row:
            # in another order than the weights', it adds momentum to the wrong ones in silence.
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)
            elif value is not None and not (isinstance(value, Tensor) and value.ndim == 0):
                raise ValueError(f"the optimiser has another kind of {name} of a parameter")


class Run:
    """One run, and the folder that belongs to it alone.

        run = Run(options, command="train", free=FREE_ON_RESUME)
        learner = ...  # weights of its own are needed only if not run.resumes
        run.start(learner, spec)
        for epoch in range(run.next_epoch, options.epochs):
            rows = ...  # train and validate, with run.save_within_epoch(...) now and then
            run.end_epoch(rows, is_best=...)

    Of several processes (see `distributed`) rank 0 alone writes.

    Args:
        options: with a `folder`; `config.toml` holds them.
        command: of twostream, for `config.toml`.
        free: names of the options that may differ when the run is resumed.
        videos: of the run's lists; they may not change while it is resumed.
        restart: begin anew; what the folder holds is removed when the run starts.

    Attributes:
        resumes: whether there is a checkpoint to resume from.
        rows: of the log, those of earlier epochs too.
        next_epoch: the number of epochs that are complete.
        card: of the videos, for the weights; see `describe_videos`.
        progress: how far `next_epoch` has come, as given to `save_within_epoch`.

    Raises:
        InputError: the folder holds a run with other options or lists, of another version, or one
            that cannot go on.
    """

    def __init__(
        self,
        options: Any,
        *,
        command: str,
        free: Collection[str],
        videos: Sequence[RunVideo] = (),
        restart: bool = False,
    ) -> None:
        self.options, self.command, self.restart = options, command, restart
        self.videos, self.card = list(videos), dict[str, Any]()
        self.folder: Path = options.folder
        self.resumes = not restart and broadcast_from_rank_0(
            lambda: has_checkpoint(self.folder / "last")
        )
        if self.resumes:
            check_same_run(self.folder, options, free=free)
            check_same_videos(self.folder, videos)
        elif not restart:
            broadcast_from_rank_0(
                lambda: check_nothing_is_lost(self.folder, options, free=free, videos=videos)
            )
        self.run_id, self.restarts = secrets.token_hex(4), 0
        self.rows: list[Row] = []
        self.next_epoch, self.progress = 0, dict[str, Any]()
        self.saved_at = time.monotonic()
        self._is_described = False

    def describe_videos(
        self,
        *,
        dataset: str,
        split: int | None,
        selected_on: str,
        initial: Sequence[Path],
        on_training_videos: bool,
        tell: Callable[[str], None],
    ) -> None:
        """Make `card`, what the weights are to say of the videos that they have seen.

        Args:
            dataset, split, selected_on: as `card_of` takes them.
            initial: files or checkpoints of the initial weights: what they have seen counts too.
            on_training_videos: go on where they have seen test videos.
            tell: is told of test videos that were seen.

        Raises:
            InputError: they have, and may not.
        """
        if self.resumes:
            self.card, recorded = read_training_videos(self.folder / "last")
            self.videos += [video for video in recorded if video.part == "initial"]
        before, rows = [], dict[RunVideo, None]()  # each once: two runs may have learnt from it
        for path in initial if not self.resumes else ():
            if not path.exists():
                continue
            card, recorded = read_training_videos(path)
            seen = find_seen(self._listed("test"), card=card, recorded=recorded, chosen=False)
            if seen and not on_training_videos:
                what = f"the test list of {dataset}" + (f" split {split}" if split else "")
                raise seen.refusal(run=path, what=what)
            before.append(card)
            learnt = (video for video in recorded if video.part in ("train", "initial"))
            rows |= {video._replace(part="initial"): None for video in learnt}
        self.videos += rows
        self.card = self.card or card_of(
            self.videos, dataset=dataset, split=split, selected_on=selected_on, initial=before
        )
        if seen := self.seen("test"):
            tell(f"Test videos: {seen.text}; every result will say so.")

    def seen(self, subset: str) -> Seen:
        """Which videos of `val` or `test` the network has seen but for choosing its epoch.

        By the initial weights, or as the same file under another name.
        """
        listed = self._listed(subset)
        return find_seen(listed, card=self.card, recorded=self.videos, chosen=False)

    def _listed(self, subset: str) -> list[tuple[str, str]]:
        return [(video.name, video.source) for video in self.videos if video.part == subset]

    def start(
        self,
        learner: BaseLearner,
        spec: Callable[[int], DataclassInstance],
        *,
        tell: Callable[[str], None],
        curves: Callable[[Row], Mapping[str, float]] | None = None,
    ) -> None:
        """Resume, if there is something to resume; with `restart`, remove what the folder holds.

        A new run is described at its first save.

        Args:
            spec: what the checkpoint of an epoch says of its network.
            tell: gets messages for the user, one sentence each.
            curves: the points that a row of the log adds to TensorBoard; None for no TensorBoard.

        Raises:
            InputError: the checkpoint is damaged, or TensorBoard is not installed.
        """
        self.learner, self.spec = learner, spec
        if self.restart and rank() == 0:
            if self.folder.exists():
                tell(f"--restart removes {describe_folder(self.folder)}")
                shutil.rmtree(self.folder)
            note(REMOVED)
        if self.resumes:
            last = self.folder / "last"
            state = load_state(last)
            load_weights(last, learner.eval_network)
            with reading_state(self.folder):
                check_state(state)
                check_like(state["learner"], learner.state(), place="learner")
                learner.restore(state["learner"])
            self.run_id, self.restarts = state["run_id"], state["restarts"] + 1
            self.rows, self.next_epoch = state["rows"], state["next_epoch"]
            self.progress = state["progress"]
            if state["processes"] != world_size():
                tell(
                    f"This run had {state['processes']} process(es) so far, and has {world_size()} "
                    "now: the result is as good, but not bit-identical to that of one number of "
                    "processes."
                )
        self._show: Callable[[Sequence[Row]], None] = lambda rows: None
        if rank() == 0:
            if self.rows:
                write_log(self.folder / "log.csv", self.rows)
            if self.resumes:
                self._describe()
            if curves:
                self._show = open_tensorboard(self.folder / "tensorboard", curves)
                self._show(self.rows)

    def save_within_epoch(self, progress: dict[str, Any], *, every: float) -> None:
        """Save `last` if `every` seconds have passed since it was saved.

        Args:
            progress: plain values that tell how far the epoch has come.
        """
        if time.monotonic() - self.saved_at >= every:
            self.progress = progress
            self._save("last", epoch=self.next_epoch)

    def end_epoch(self, rows: Sequence[Row], *, is_best: bool, keep: Collection[int] = ()) -> None:
        """Save an epoch and its rows of the log.

        Args:
            rows: all with the same keys, in the order of the columns.
            is_best: save it as `best` too.
            keep: the epochs of which `epochs/` is to hold the weights; others are removed from it.
        """
        epoch = self.next_epoch
        mark = {"run_id": self.run_id, "restarts": self.restarts}
        self.rows += [mark | row for row in rows]
        self.next_epoch, self.progress = epoch + 1, {}
        # `last` at the end: after a kill before, the epoch is ended again, with the same result.
        if is_best:
            self._save("best", epoch=epoch)
        if rank() == 0:
            if epoch in keep:
                network, spec = self.learner.eval_network, self.spec(epoch)
                save_checkpoint(epoch_folder(self.folder, epoch), network, spec, {})
            drop_epochs(self.folder, keep=keep)
        self._save("last", epoch=epoch)
        if rank() == 0:
            write_log(self.folder / "log.csv", self.rows)
        self._show(self.rows[-len(rows) :])

    def _describe(self) -> None:
        """Write what the run is, its options and its videos."""
        write_config(self.folder, self.options, command=self.command)
        path = self.folder / VIDEOS
        if self.videos and not (
            self.resumes and path.exists() and read_videos(path) == self.videos
        ):
            write_videos(path, self.videos)
        self._is_described = True

    def _save(self, name: str, *, epoch: int) -> None:
        if rank() > 0:
            return
        if not self._is_described:  # not before: a run that saved nothing is in nobody's way
            self._describe()
        state = {
            "run_id": self.run_id,
            "restarts": self.restarts,
            "processes": world_size(),
            "next_epoch": self.next_epoch,
            "progress": self.progress,
            "rows": self.rows,
            "learner": self.learner.state(),
        }
        save_checkpoint(self.folder / name, self.learner.eval_network, self.spec(epoch), state)
        self.saved_at = time.monotonic()


def run_begun_with(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `config.toml` says of the network of a run that can go on and has begun the same way.

    Args:
        options: `weights`, `start_from` and what tells a run but for its network: `runs`,
            `dataset`, `split`, `stream`, `name`, and how two streams are joined.

    Returns:
        The options of `OF_THE_NETWORK`; None where there is no such run.

    Raises:
        InputError: a configuration is damaged.
    """
    dataset = f"{options['dataset']}-split{options['split']}".replace(":", ".")
    same = ("stream", "name", "weights", "fuse_at", "fuse", "keep_both")
    starts = [os.path.abspath(path) for path in options["start_from"]]
    for path in sorted((Path(options["runs"]) / dataset).glob(f"*/{CONFIG}")):
        with reading(path, "TOML"):
            config = {k.replace("-", "_"): v for k, v in tomllib.loads(read_text(path)).items()}
        began = config.get("start_from")
        is_same = (
            isinstance(began, list)
            and [os.path.abspath(path.parent / str(text)) for text in began] == starts
            and all(config.get(key) == options[key] for key in same)
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
        return {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
    return None


@contextmanager
def reading_state(run: Path) -> Iterator[None]:
    """What the block stumbles over in the state of a run is the fault of its file.

    Raises:
        InputError: it stumbles.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        reason = f"{e} is missing" if isinstance(e, KeyError) else str(e).partition("\n")[0]
        raise InputError(
            f"{run / 'last' / STATE}: not the state of this run ({reason}). Copy last/ again, give "
            "another --name, or --restart"
        ) from e


# Columns of the log that do not hold a number.
TEXT_COLUMNS, LIST_COLUMNS = {"run_id", "subset", "note"}, {"segments"}


def check_state(state: Mapping[str, Any]) -> None:
    """Refuse a state whose values, but for the learner's, are not of the kind that `Run` keeps.

    Raises:
        ValueError, TypeError, LookupError: they are not.
    """
    template = {"run_id": "", "restarts": 0, "processes": 1, "next_epoch": 0}
    check_like({key: state[key] for key in template}, template, place="state", texts=False)
    rows, columns = state["rows"], list(state["rows"][0]) if state["rows"] else []
    for row in rows:
        if list(row) != columns:
            raise ValueError(f"a row of its log has the columns {some_of(list(row))}")
        for key, value in row.items():
            numbers = value if key in LIST_COLUMNS else [] if key in TEXT_COLUMNS else [value]
            is_right = isinstance(value, str) if key in TEXT_COLUMNS else isinstance(numbers, list)
            if not is_right or not all(type(number) in (int, float) for number in numbers):
                raise ValueError(f"its log has {value!r} as {key}")
    epochs = {row["epoch"] for row in rows}
    if len(epochs) != state["next_epoch"] or epochs != set(range(len(epochs))):
        raise ValueError(f"its log is not of {state['next_epoch']} epochs")
    check_like(state["progress"], {}, place="progress")


def check_like(value: Any, template: Any, *, place: str, texts: bool = True) -> None:
    """Refuse a value of another kind than `template`: other types, shapes, lengths or texts.

    Keys that only one of the two has are left to whoever takes the value: those of torch's own
    dicts differ between its versions.

    Args:
        place: of the value, for the message.
        texts: whether texts have to be equal.

    Raises:
        ValueError: it is.
    """
    if isinstance(template, Tensor):
        alike = isinstance(value, Tensor) and value.shape == template.shape
    elif isinstance(template, dict):
        alike = isinstance(value, dict)
    elif isinstance(template, list | tuple):
        alike = isinstance(value, list | tuple) and len(value) == len(template)
    elif isinstance(template, str):
        alike = isinstance(value, str) and (value == template or not texts)
    elif template is None or isinstance(template, bool):  # a flag of torch, or its default
        alike = value is None or isinstance(value, bool)
    else:
        alike = type(value) in (int, type(template))
    if not alike:
        shown = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise ValueError(f"{place} is {shown[:80]}")
    if isinstance(template, dict):
        for key in template.keys() & value.keys():
            check_like(value[key], template[key], place=f"{place}.{key}", texts=texts)
    elif isinstance(template, list | tuple):
        for number, (item, expected) in enumerate(zip(value, template, strict=True)):
            check_like(item, expected, place=f"{place}[{number}]", texts=texts)


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


def write_log(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows of a run as CSV; lists with spaces between their values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: " ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in row.items()
            }
        )
    write_text(path, text.getvalue())


def open_tensorboard(
    folder: Path, curves: Callable[[Row], Mapping[str, float]]
) -> Callable[[Sequence[Row]], None]:
    """Empty `folder`; return a function that adds rows of the log to it.

    A resumed run adds its earlier rows first: the folder then holds the rows of log.csv, each once.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "--tensorboard needs a package that is not installed: pip install tensorboard"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(str(folder))

    def add(rows: Sequence[Row]) -> None:
        for row in rows:
            for name, value in curves(row).items():
                writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    return add
