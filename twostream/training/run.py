"""A run in its folder: saved, logged, and resumed where it was stopped."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from twostream.compute.distributed import REMOVED, broadcast_from_rank_0, note, rank, world_size
from twostream.data.training_videos import (
    VIDEOS,
    RunVideo,
    Seen,
    card_of,
    find_seen,
    read_videos,
    write_videos,
)
from twostream.models.checkpoint import (
    STATE,
    has_checkpoint,
    load_state,
    load_weights,
    read_training_videos,
    save_checkpoint,
)
from twostream.training.base_learner import BaseLearner
from twostream.training.run_folder import (
    check_nothing_is_lost,
    check_same_run,
    check_same_videos,
    describe_folder,
    drop_epochs,
    epoch_folder,
    write_config,
)
from twostream.training.run_log import open_tensorboard, write_log
from twostream_base.errors import InputError, some_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = dict[str, Any]


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
