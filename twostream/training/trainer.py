"""A run: epochs, checkpoints and log, and at its end the score files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twostream.data.stored import Joined
from twostream.inference.scoring import Bar
from twostream.inference.trial import try_views
from twostream.training.alarms import exhausted, not_learning
from twostream.training.checkpoint import (
    NetworkCard,
    has_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
)
from twostream.training.data import RunData, sample
from twostream.training.distributed import decided_by_first, num_ranks, rank
from twostream.training.epoch_batches import load_epoch
from twostream.training.kept_epochs import dumped_epochs, keep_epoch
from twostream.training.learner import Learner
from twostream.training.loop import EpochStats, NotFiniteError, Progress, evaluate
from twostream.training.run_config import check_same_run, write_config
from twostream.training.run_folder import TrainOptions, free_on_resume
from twostream.training.run_log import best_epoch, log_row, write_log
from twostream.training.run_scores import score_joined, write_run_scores
from twostream.training.tensorboard import Rows, open_tensorboard


class Trainer:
    """Trains one network in one run folder, from the start or from where another try stopped.

    All random numbers derive from (seed, epoch, video): on a CPU a resumed run ends with the very
    weights of an undisturbed one. Several processes (see `distributed`) hold equal networks at any
    time; rank 0 alone writes.

    Args:
        bar: draws progress. tell: is told, in a sentence, what the user should know.

    Raises:
        InputError: the folder holds a run with other options, or its checkpoint is damaged; or the
            network cannot take what it is going to see.
    """

    def __init__(
        self, options: TrainOptions, data: RunData, *, bar: Bar, tell: Callable[[str], None]
    ) -> None:
        self.options, self.data, self.bar, self.tell = options, data, bar, tell
        self.folder = options.folder
        resumes = decided_by_first(lambda: has_checkpoint(self.folder / "last"))
        if resumes:
            check_same_run(self.folder, options, free=free_on_resume(options))
        self.learner = Learner(
            options,
            num_classes=len(data.class_names),
            weights="none" if resumes else options.weights,
            tell=tell,
        )
        if not resumes:
            try_views(
                self.learner.network,
                model=options.model,
                modality=options.modality,
                input_size=options.input_size,
                protocols=(options.val_protocol, options.protocol),
                device=self.learner.device,
            )
        self.val = sample(data.val, options.val_videos, split=options.split)
        self.run_id, self.restarts = secrets.token_hex(4), 0
        self.next_epoch, self.progress = 0, Progress()
        self.saved_at = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        if resumes:
            self._resume()
        if rank() == 0:
            write_config(self.folder, options, command="train")
        self.curves: Callable[[Rows], None] = lambda rows: None
        if options.tensorboard and rank() == 0:
            self.curves = open_tensorboard(self.folder / "tensorboard")
            self.curves(self.rows)

    def run(self) -> Iterator[dict[str, Any]]:
        """Train to the last epoch; yield the log rows of each epoch once its checkpoint is safe.

        Raises:
            NotFiniteError: the loss is not finite; the last good checkpoint is kept.
        """
        while self.next_epoch < self.options.epochs and not self.learner.schedule.exhausted:
            rows = self._run_epoch(self.next_epoch)
            self.curves(rows)
            yield from rows

    def write_scores(self) -> bool:
        """Write the score files of the run; False if that was done already."""
        return write_run_scores(
            self.options,
            self.learner.evaluated,
            self.data,
            num_epochs=self.next_epoch,
            bar=self.bar,
            note=self.tell,
        )

    def _run_epoch(self, epoch: int) -> list[dict[str, Any]]:
        schedule, subset = self.learner.schedule, self.options.select
        schedule.begin(epoch)
        lr = schedule.lr
        try:
            stats = {"train": self._train(epoch)}
            if self._is_validated(epoch):
                stats[subset] = self._validate()
        except NotFiniteError as error:
            raise self._explain(error, epoch) from error
        if subset in stats:
            schedule.end(epoch, stats[subset].loss)
        self.next_epoch, self.progress = epoch + 1, Progress()
        rows = [self._row(epoch, subset, stats[subset], lr=lr) for subset in stats]
        rows[-1]["note"] = self._remark(stats["train"])
        self.rows += rows
        self._save_epoch(epoch)
        return rows

    def _train(self, epoch: int) -> EpochStats:
        train = self.data.train
        batches, count = load_epoch(
            self.options, train.videos, epoch=epoch, skip=self.progress.batches
        )
        return self.learner.train(
            self.bar(batches, total=count, label=f"epoch {epoch}, training", unit="batch"),
            labels=torch.from_numpy(_labels(train)),
            progress=self.progress,
            after_step=lambda: self._save_now_and_then(epoch),
        )

    def _is_validated(self, epoch: int) -> bool:
        return (epoch + 1) % self.options.val_every == 0 or epoch + 1 == self.options.epochs

    def _validate(self) -> EpochStats:
        start = time.perf_counter()
        options, val = self.options, self.val
        scores = score_joined(
            options, self.learner.evaluated, val, protocol=options.val_protocol, bar=self.bar
        )
        seconds = time.perf_counter() - start
        return evaluate(scores, _labels(val), seconds=seconds, loss_of=options.val_loss)

    def _row(self, epoch: int, subset: str, stats: EpochStats, *, lr: float) -> dict[str, Any]:
        return log_row(
            epoch=epoch,
            subset=subset,
            stats=stats,
            lr=lr,
            parts=self.learner.parts,
            run_id=self.run_id,
            restarts=self.restarts,
        )

    def _remark(self, train: EpochStats) -> str:
        """Say, and return for the log, what the user should know after an epoch."""
        epochs, schedule = self.next_epoch, self.learner.schedule
        classes = len(self.data.class_names)
        remarks = [not_learning(train.loss, num_classes=classes, epochs=epochs)]
        if schedule.exhausted and epochs < self.options.epochs:
            remarks.append(exhausted(schedule.lr, epochs=epochs, planned=self.options.epochs))
        remark = "; ".join(filter(None, remarks))
        if remark:
            self.tell(remark)
        return remark

    def _explain(self, error: NotFiniteError, epoch: int) -> NotFiniteError:
        last = self.folder / "last"
        kept = f"the state before is kept in {last}" if has_checkpoint(last) else "none kept"
        return NotFiniteError(
            f"epoch {epoch}, {error}, at learning rate {self.learner.schedule.lr:g}; {kept}. Try a "
            "lower --lr with another --name"
        )

    def _save_now_and_then(self, epoch: int) -> None:
        """Keep a state within the epoch, so that a kill costs a few minutes at most."""
        if time.monotonic() - self.saved_at >= self.options.save_every:
            self._save(self.folder / "last", epoch)

    def _save_epoch(self, epoch: int) -> None:
        """Keep this epoch as `last`, as `best` too if it is, and write the log."""
        # `last` at the end: if we are killed before, the epoch is ended again, with equal result.
        validated = self._is_validated(epoch)
        if (
            validated
            and best_epoch(self.rows, self.options.select, by=self.options.select_by) == epoch
        ):
            self._save(self.folder / "best", epoch)
        if rank() == 0:
            wanted = dumped_epochs(self.options.dump_scores, self.next_epoch)
            keep_epoch(self.folder, self.learner.scored, self._card(epoch), wanted=wanted)
        self._save(self.folder / "last", epoch)
        self._write_log()

    def _write_log(self) -> None:
        if rank() == 0:
            write_log(self.folder / "log.csv", self.rows)

    def _save(self, folder: Path, epoch: int) -> None:
        if rank() > 0:
            return
        state = {
            "run_id": self.run_id,
            "restarts": self.restarts,
            "processes": num_ranks(),
            "next_epoch": self.next_epoch,
            "progress": asdict(self.progress),
            "rows": self.rows,
            **self.learner.state(),
        }
        save_checkpoint(folder, self.learner.scored, self._card(epoch), state)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        last = self.folder / "last"
        state = load_state(last)
        load_weights(last, self.learner.scored)
        self.learner.restore(state)
        self.run_id, self.restarts = state["run_id"], state["restarts"] + 1
        self.next_epoch, self.rows = state["next_epoch"], state["rows"]
        self.progress = Progress(**state["progress"])
        if state["processes"] != num_ranks():
            self.tell(
                f"This run had {state['processes']} process(es) so far, and has {num_ranks()} now: "
                "it is as good, but not the same to the last bit as one with a constant number."
            )
        self._write_log()

    def _card(self, epoch: int) -> NetworkCard:
        return NetworkCard(
            model=self.options.model,
            model_options=self.options.model_options,
            stream=self.options.stream,
            clip_length=self.options.clip_length,
            frame_interval=self.options.frame_interval,
            resize=self.options.resize,
            class_names=self.data.class_names,
            num_segments=self.options.num_segments,
            consensus=self.options.consensus,
            consensus_options=self.options.consensus_options,
            input_size=self.options.input_size,
            epoch=epoch,
            selected_on=self.options.select,
            flow=self.data.flow if self.options.modality.name == "flow" else {},
            extraction=self.data.extraction,
        )


def _labels(joined: Joined) -> NDArray[np.int64]:
    return np.array([video.record.label for video in joined.videos], dtype=np.int64)
