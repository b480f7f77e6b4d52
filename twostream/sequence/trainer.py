"""Training of one sequence network: epochs, their validation, and at the end the score files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twostream.compute.device import Bar, Runtime
from twostream.data.training_videos import RunVideo
from twostream.models.checkpoint import load_weights, read_spec_as, save_checkpoint
from twostream.sequence import checkpoint
from twostream.sequence.batches import Batch, eval_batches, train_batches
from twostream.sequence.learner import SequenceLearner, predict, validation_row
from twostream.sequence.lists import SequenceRecord, glosses_to_labels, min_time_steps
from twostream.sequence.network import find_weights
from twostream.sequence.options import FREE_ON_RESUME, SequenceData, SequenceOptions
from twostream.sequence.score_file import is_up_to_date, make_scores, write_sequence_scores
from twostream.sequence.transcripts import NORMALISERS
from twostream.training.loop import NotFiniteError
from twostream.training.run import Run
from twostream_base import plugins
from twostream_base.errors import InputError, some_of


class SequenceTrainer:
    """Trains a network in its run folder, from the start or from the last checkpoint.

    All random numbers derive from (seed, epoch, video): on a CPU a resumed run ends with the very
    weights of an undisturbed one.

    Args:
        bar: wraps batches in a progress bar. tell: gets messages for the user.
        restart: remove the run that is in the folder, once the new one can begin.
        on_training_videos: go on where the network of `--load` has seen test videos.

    Raises:
        InputError: the folder holds a run with other options or lists, or its checkpoint is
            damaged; or the network of `--load` was trained on test videos.
    """

    def __init__(
        self,
        options: SequenceOptions,
        data: SequenceData,
        *,
        bar: Bar,
        tell: Callable[[str], None],
        restart: bool = False,
        on_training_videos: bool = False,
    ) -> None:
        self.options, self.data, self.tell = options, data, tell
        root = Path(options.videos)
        self.run = Run(
            options,
            command="train-sequence",
            free=FREE_ON_RESUME,
            videos=[
                RunVideo(record.name, " ".join(record.glosses), "", part, record.place(root))
                for part, records in data.lists.items()
                for record in records
            ],
            restart=restart,
        )
        initial = [find_weights(Path(options.load))] if options.load else []
        if self.run.resumes:
            folder = self.run.folder / "last"
            spec = read_spec_as(checkpoint.SequenceNetworkSpec, folder, command="train-sequence")
            check_same_vocabulary(self.run.folder, spec.vocabulary, data.vocabulary)
            checkpoint.check_same_extraction(self.run.folder, spec, data.extraction)
        elif options.start_from:
            for folder, spec in checkpoint.read_starts(options.start_from):
                check_same_vocabulary(folder.parent, spec.vocabulary, data.vocabulary)
                checkpoint.check_same_extraction(folder.parent, spec, data.extraction)
                initial.append(folder)
                if spec.temporal != tuple(options.temporal):
                    self.tell(
                        f"{folder.parent}: only its backbone is taken over, temporal modules and "
                        f"classifier begin anew: its --temporal was {' -> '.join(spec.temporal)}, "
                        f"now {' -> '.join(options.temporal)}"
                    )
        self.run.describe_videos(
            dataset=options.dataset,
            split=None,
            selected_on="val",
            initial=initial,
            on_training_videos=on_training_videos,
            tell=tell,
        )
        classes = len(data.vocabulary) + 1
        self.learner = SequenceLearner(options, classes=classes, fresh=not self.run.resumes)
        self.runtime = Runtime(
            self.learner.device,
            options.precision,
            threads=options.threads,
            views_per_forward=options.batch_size,
            bar=bar,
        )
        self.run.start(self.learner, self._spec, tell=tell)

    def train(self) -> Iterator[dict[str, Any]]:
        """Train to the last epoch; yield the log row of each epoch once its checkpoint is safe.

        Raises:
            NotFiniteError: the loss is not finite; the last good checkpoint is kept.
        """
        val, first = self.data.lists["val"], self.run.next_epoch
        for epoch in range(self.run.next_epoch, self.options.epochs):
            start = time.perf_counter()
            row = {"epoch": epoch} | self._train_epoch(epoch)
            log_probs = self._predict(val)
            if epoch == first:
                self._name_short(val, log_probs)
            row |= validation_row(
                log_probs,
                val,
                self.data.vocabulary,
                beam=self.options.beam,
                normalise=plugins.load(self.options.normalise, NORMALISERS),
            )
            row["seconds"] = round(time.perf_counter() - start, 3)
            rows = [*self.run.rows, row]
            self.run.end_epoch(
                [row],
                is_best=checkpoint.best_epochs(rows, 1) == [epoch],
                keep=checkpoint.epochs_to_average(rows, self.options.average),
            )
            yield row

    def write_scores(self) -> list[Path]:
        """Score the validation and test videos with the best epoch, or with the average.

        Returns:
            The files written; files of these weights that exist already are left alone.
        """
        network, folder = self.learner.eval_network, self.run.folder / "best"
        averaged = tuple(checkpoint.epochs_to_average(self.run.rows, self.options.average))
        if averaged:
            checkpoint.load_average(self.run.folder, network, averaged)
            folder = self.run.folder / "average"
            save_checkpoint(folder, network, self._spec(averaged[-1], averaged=averaged), {})
        else:
            load_weights(folder, network)
        (best,) = checkpoint.best_epochs(self.run.rows, 1)
        written = []
        for subset in ("val", "test"):
            path = self.run.folder / "scores" / f"{subset}.safetensors"
            records, vocabulary = self.data.lists[subset], self.data.vocabulary
            metadata = checkpoint.score_metadata(
                self._spec(best, averaged=averaged),
                checkpoint=folder,
                dataset=self.options.dataset,
                subset=subset,
                selected_on="val",
                missing=self.data.missing,
                **self.run.seen(subset).facts,
            )
            if records and not is_up_to_date(path, records, metadata):
                log_probs = self._predict(records)
                scores = make_scores(records, log_probs, vocabulary=vocabulary, metadata=metadata)
                write_sequence_scores(path, scores)
                written.append(path)
        return written

    def _train_epoch(self, epoch: int) -> dict[str, Any]:
        records = self.data.lists["train"]
        batches, count = train_batches(records, self.options, epoch=epoch)
        batches = self.runtime.bar(
            batches, total=count, label=f"epoch {epoch}, training", unit="batch"
        )
        latest: list[str] = []

        def remembered() -> Iterator[Batch]:
            for batch in batches:
                latest[:] = [records[index].name for index in batch[2]]
                yield batch

        try:
            totals = self.learner.train_epoch(remembered(), epoch=epoch, targets=self.data.targets)
        except NotFiniteError as error:
            raise NotFiniteError(
                f"epoch {epoch}: {error}; try a lower --lr with another --name"
            ) from error
        except ValueError as error:
            if isinstance(error, InputError) or "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                f"epoch {epoch}: the network cannot learn from {some_of(latest)} ({error}): batch "
                "normalisation needs more than one value a channel. Give a larger --batch-size or "
                "--input-size, or leave videos of one frame out"
            ) from error
        if totals.too_short:
            names = [records[index].name for index in totals.too_short]
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

    def _name_short(
        self, records: Sequence[SequenceRecord], log_probs: Mapping[int, np.ndarray]
    ) -> None:
        """Tell which videos cannot be right: their glosses need more time steps."""
        names = []
        for index, record in enumerate(records):
            labels = glosses_to_labels(record.glosses, self.data.vocabulary)
            if len(log_probs[index]) < min_time_steps(labels):
                names.append(record.name)
        if names:
            self.tell(
                f"{len(names)} validation videos have fewer time steps than their glosses need, "
                f"and always have errors: {some_of(names)}"
            )

    def _predict(self, records: Sequence[SequenceRecord]) -> dict[int, np.ndarray]:
        batches, count = eval_batches(records, self.options, self.runtime)
        batches = self.runtime.bar(batches, total=count, label="scoring", unit="batch")
        return predict(self.learner.eval_network, batches, self.runtime)

    def _spec(
        self, epoch: int, *, averaged: tuple[int, ...] = ()
    ) -> checkpoint.SequenceNetworkSpec:
        return checkpoint.SequenceNetworkSpec(
            stream=self.options.stream,
            backbone=self.options.backbone,
            temporal=self.options.temporal,
            vocabulary=self.data.vocabulary,
            frame_size=self.options.frame_size,
            input_size=self.options.input_size,
            epoch=epoch,
            averaged=averaged,
            training_videos=self.run.card,
            extraction=self.data.extraction,
            fuse=self.options.fuse,
            similarity=self.options.similarity,
        )


def check_same_vocabulary(run: Path, before: Sequence[str], now: Sequence[str]) -> None:
    """Refuse other glosses in the lists than those that a run has learnt, or in another order."""
    if tuple(before) != tuple(now):
        unlike = sorted(set(before) ^ set(now))
        raise InputError(
            f"{run} was trained on {len(before):,} glosses, these are {len(now):,}; they differ in "
            f"{some_of(unlike) or 'their order'}. Bring the old lists back, give another --name, "
            "or --restart; or fix the glosses by --vocabulary"
        )
