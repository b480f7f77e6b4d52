"""A training run of a sequence network: epochs, checkpoints, log, and finally score files."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twostream.models.checkpoint import (
    has_checkpoint,
    load_state,
    load_weights,
    save_checkpoint,
)
from twostream.sequence.data import SequenceData, eval_batches, train_batches
from twostream.sequence.learner import SequenceLearner, epochs_to_average, keep_epoch, load_average
from twostream.sequence.network_card import SequenceNetworkSpec, score_metadata
from twostream.sequence.run_folder import FREE_ON_RESUME, SequenceOptions
from twostream.sequence.score_file import is_up_to_date, make_scores, write_sequence_scores
from twostream.sequence.validation import best_epochs, predict, validation_row
from twostream.training.loop import NotFiniteError
from twostream.training.run import check_same_run, write_config
from twostream_base.errors import some_of
from twostream_base.files import write_text


class SequenceTrainer:
    """Trains a network in its run folder, from the start or from the last checkpoint.

    All random numbers derive from (seed, epoch, video): on a CPU a resumed run ends with the very
    weights of an undisturbed one.

    Args:
        bar: wraps batches in a progress bar. tell: gets messages for the user.

    Raises:
        InputError: the folder holds a run with other options, or its checkpoint is damaged.
    """

    def __init__(
        self,
        options: SequenceOptions,
        data: SequenceData,
        *,
        bar: Callable[..., Any],
        tell: Callable[[str], None],
    ) -> None:
        self.options, self.data, self.bar, self.tell = options, data, bar, tell
        self.folder = options.folder
        resumes = has_checkpoint(self.folder / "last")
        if resumes:
            check_same_run(self.folder, options, free=FREE_ON_RESUME)
        classes = len(data.vocabulary) + 1
        self.learner = SequenceLearner(options, classes=classes, fresh=not resumes)
        self.rows: list[dict[str, Any]] = []
        if resumes:
            self._resume()
        write_config(self.folder, options, command="train-sequence")

    def run(self) -> Iterator[dict[str, Any]]:
        """Train to the last epoch; yield the log row of each epoch once its checkpoint is safe.

        Raises:
            NotFiniteError: the loss is not finite; the last good checkpoint is kept.
        """
        for epoch in range(len(self.rows), self.options.epochs):
            start = time.perf_counter()
            row = {"epoch": epoch} | self._train(epoch) | self._validate()
            self.rows.append(row | {"seconds": round(time.perf_counter() - start, 3)})
            self._save_epoch(epoch)
            yield self.rows[-1]

    def write_scores(self) -> list[Path]:
        """Score the validation and test videos with the best epoch, or with the average.

        Returns:
            The files written; files of these weights that exist already are left alone.
        """
        network, folder = self.learner.eval_network, self.folder / "best"
        epochs = tuple(epochs_to_average(self.rows, self.options.average))
        if epochs:
            load_average(self.folder / "epochs", network, epochs)
            folder = self.folder / "average"
            save_checkpoint(folder, network, self._spec(epochs[-1], averaged=epochs), {})
        else:
            load_weights(folder, network)
        written = []
        for subset in ("val", "test"):
            path, records = (
                self.folder / "scores" / f"{subset}.safetensors",
                self.data.lists[subset],
            )
            metadata = self._metadata(epochs, checkpoint=folder, subset=subset)
            if records and not is_up_to_date(path, records, metadata):
                log_probs, vocabulary = self._predict(records), self.data.vocabulary
                scores = make_scores(records, log_probs, vocabulary=vocabulary, metadata=metadata)
                write_sequence_scores(path, scores)
                written.append(path)
        return written

    def _train(self, epoch: int) -> dict[str, Any]:
        batches, count = train_batches(self.data.lists["train"], self.options, epoch=epoch)
        batches = self.bar(batches, total=count, label=f"epoch {epoch}, training", unit="batch")
        try:
            totals = self.learner.train_epoch(batches, epoch=epoch, targets=self.data.targets)
        except NotFiniteError as error:
            raise NotFiniteError(
                f"epoch {epoch}: {error}; try a lower --lr with another --name"
            ) from error
        if totals.too_short:
            names = [self.data.lists["train"][index].name for index in totals.too_short]
            self.tell(
                f"epoch {epoch}: {len(names)} videos have fewer time steps than their glosses need "
                f"and were skipped: {some_of(names)}"
            )
        return {
            "lr": max(group["lr"] for group in self.learner.optimizer.param_groups),
            "loss": totals.loss / max(totals.sequences, 1),
            "sequences": totals.sequences,
            "short": len(totals.too_short),
        }

    def _validate(self) -> dict[str, Any]:
        records = self.data.lists["val"]
        return validation_row(self._predict(records), records, self.data.vocabulary)

    def _predict(self, records: Sequence[Any]) -> dict[int, np.ndarray]:
        batches, count = eval_batches(
            records,
            stream=self.options.stream,
            side=self.options.frame_size,
            size=self.options.input_size,
            batch_size=self.options.batch_size,
            threads=self.options.threads,
        )
        return predict(
            self.learner.eval_network,
            self.bar(batches, total=count, label="scoring", unit="batch"),
            device=self.learner.device,
            precision=self.options.precision,
        )

    def _save_epoch(self, epoch: int) -> None:
        """Save this epoch as `last`, also as `best` if it is, and write the log."""
        # `last` comes last: after a kill the epoch is repeated, with the same result.
        network, spec = self.learner.eval_network, self._spec(epoch)
        state = {"rows": self.rows, **self.learner.state()}
        wanted = epochs_to_average(self.rows, self.options.average)
        keep_epoch(self.folder / "epochs", network, epoch, wanted=wanted)
        if best_epochs(self.rows, 1) == [epoch]:
            save_checkpoint(self.folder / "best", network, spec, state)
        save_checkpoint(self.folder / "last", network, spec, state)
        self._write_log()

    def _resume(self) -> None:
        last = self.folder / "last"
        state = load_state(last)
        load_weights(last, self.learner.eval_network)
        self.learner.restore(state)
        self.rows = state["rows"]
        self._write_log()

    def _write_log(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "log.csv", text.getvalue())

    def _spec(self, epoch: int, *, averaged: tuple[int, ...] = ()) -> SequenceNetworkSpec:
        return SequenceNetworkSpec(
            stream=self.options.stream,
            backbone=self.options.backbone,
            temporal=self.options.temporal,
            vocabulary=self.data.vocabulary,
            frame_size=self.options.frame_size,
            input_size=self.options.input_size,
            epoch=epoch,
            averaged=averaged,
        )

    def _metadata(
        self, averaged: tuple[int, ...], *, checkpoint: Path, subset: str
    ) -> dict[str, Any]:
        (best,) = best_epochs(self.rows, 1)
        return score_metadata(
            self._spec(best, averaged=averaged),
            checkpoint=checkpoint,
            dataset=self.options.dataset,
            subset=subset,
            selected_on="val",
            missing=self.data.missing,
        )
