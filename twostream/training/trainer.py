"""A run: epochs, checkpoints and log, and at its end the score files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import SGD

from fusion.score_file import read_scores
from twostream import plugins
from twostream.data.dataset import training_sample
from twostream.data.loader import load_batches, split_into_batches
from twostream.data.stored import Joined
from twostream.files import sha256_file
from twostream.inference.protocols import PROTOCOLS
from twostream.inference.scoring import Bar, score_videos, write_score_file
from twostream.models import MODELS
from twostream.models.consensus import CONSENSUS
from twostream.training.checkpoint import (
    WEIGHTS,
    NetworkCard,
    has_checkpoint,
    load_state,
    load_weights,
    read_card,
    save_checkpoint,
)
from twostream.training.data import RunData
from twostream.training.loop import (
    EpochStats,
    NotFiniteError,
    Progress,
    evaluate,
    train_one_epoch,
)
from twostream.training.run_folder import TrainOptions, check_same_run, write_config
from twostream.training.run_log import log_row, write_log
from twostream.training.schedule import plateau_schedule
from twostream.transforms.clips import Clip
from twostream.transforms.presets import MODALITIES


class Trainer:
    """Trains one network in one run folder, from the start or from where another try stopped.

    All random numbers derive from (seed, epoch, video): on a CPU a resumed run ends with the very
    weights of an undisturbed one.

    Raises:
        InputError: the folder holds a run with other options, or its checkpoint is damaged.
    """

    def __init__(self, options: TrainOptions, data: RunData, *, bar: Bar) -> None:
        self.options, self.data, self.bar = options, data, bar
        self.folder = options.folder
        self.modality = MODALITIES[options.stream]
        self.device = torch.device(options.device)
        resumes = has_checkpoint(self.folder / "last")
        if resumes:
            check_same_run(options)
        torch.manual_seed(options.seed)
        self.network = plugins.load(options.model, MODELS)(
            modality=self.modality,
            num_classes=len(data.class_names),
            weights="none" if resumes else options.weights,
        ).to(self.device, memory_format=torch.channels_last)
        self.optimizer = SGD(self.network.parameters(), lr=options.lr, momentum=options.momentum)
        self.schedule = plateau_schedule(self.optimizer)
        self.next_epoch, self.progress = 0, Progress()
        self.saved_at = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        if resumes:
            self._resume()
        write_config(options)

    def run(self) -> Iterator[dict[str, Any]]:
        """Train to the last epoch; yield the log rows of each epoch once its checkpoint is safe.

        Raises:
            NotFiniteError: the loss is not finite; the last good checkpoint is kept.
        """
        for epoch in range(self.next_epoch, self.options.epochs):
            lr = self.optimizer.param_groups[0]["lr"]
            try:
                stats = {"train": self._train(epoch), self.options.select: self._validate()}
            except NotFiniteError as error:
                last = self.folder / "last"
                kept = (
                    f"the state before is kept in {last}" if has_checkpoint(last) else "none kept"
                )
                raise NotFiniteError(
                    f"epoch {epoch}: {error}, at learning rate {lr:g}; {kept}. Try a lower --lr "
                    "with another --name"
                ) from error
            self.schedule.step(stats[self.options.select].loss)
            self.next_epoch, self.progress = epoch + 1, Progress()
            rows = [log_row(epoch=epoch, subset=s, lr=lr, stats=stats[s]) for s in stats]
            self.rows += rows
            self._save_epoch(epoch)
            yield from rows

    def write_scores(self) -> bool:
        """Score the best network's selection and test videos; False if that was done already."""
        best = self.folder / "best"
        load_weights(best, self.network)
        subsets = {"val": self.data.val, "test": self.data.test}
        if self.options.select == "test":
            del subsets["val"]
        written = [self._write_scores_of(name, joined) for name, joined in subsets.items()]
        return any(written)

    def _train(self, epoch: int) -> EpochStats:
        videos, options = self.data.train.videos, self.options

        def load(index: int) -> Clip:
            rng = np.random.default_rng((options.seed, epoch, index))
            return training_sample(
                videos[index],
                self.modality,
                num_segments=options.num_segments,
                size=options.input_size,
                rng=rng,
            )

        order = np.random.default_rng((options.seed, epoch)).permutation(len(videos)).tolist()
        batches = split_into_batches(order, batch_size=options.batch_size)
        batches = batches[self.progress.batches :]
        loaded = load_batches(load, batches, threads=options.threads)
        return train_one_epoch(
            self.network,
            self.bar(
                self._seeded(loaded, epoch),
                total=len(batches),
                label=f"epoch {epoch}, training",
                unit="batch",
            ),
            labels=torch.from_numpy(_labels(self.data.train)),
            consensus=plugins.load(options.consensus, CONSENSUS),
            optimizer=self.optimizer,
            device=self.device,
            precision=options.precision,
            accumulate=options.accumulate,
            progress=self.progress,
            after_step=lambda: self._save_now_and_then(epoch),
        )

    def _seeded(self, batches: Iterator[Any], epoch: int) -> Iterator[Any]:
        """Seed torch before each batch: dropout then depends on (seed, epoch, batch) alone."""
        for batch in batches:
            torch.manual_seed(_seed(self.options.seed, epoch, self.progress.batches))
            yield batch

    def _validate(self) -> EpochStats:
        start = time.perf_counter()
        scores = self._score(self.data.val, self.options.val_protocol)
        logits = scores.reshape(len(scores), -1, scores.shape[-1])
        return evaluate(logits, _labels(self.data.val), seconds=time.perf_counter() - start)

    def _score(self, joined: Joined, protocol: str) -> NDArray[np.float32]:
        return score_videos(
            self.network,
            joined.videos,
            modality=self.modality,
            protocol=plugins.load(protocol, PROTOCOLS),
            size=self.options.input_size,
            snippets_at_once=self.options.batch_size * self.options.num_segments,
            threads=self.options.threads,
            device=self.device,
            precision=self.options.precision,
            bar=self.bar,
        )

    def _save_now_and_then(self, epoch: int) -> None:
        """Keep a state within the epoch, so that a kill costs a few minutes at most."""
        if time.monotonic() - self.saved_at >= self.options.save_every:
            self._save(self.folder / "last", epoch)

    def _save_epoch(self, epoch: int) -> None:
        """Keep this epoch as `last`, as `best` too if it is, and write the log."""
        # `best` first: if we are killed in between, the epoch is ended again, with the same result.
        if self._best_epoch() == epoch:
            self._save(self.folder / "best", epoch)
        self._save(self.folder / "last", epoch)
        write_log(self.folder / "log.csv", self.rows)

    def _save(self, folder: Path, epoch: int) -> None:
        state = {
            "next_epoch": self.next_epoch,
            "progress": asdict(self.progress),
            "rows": self.rows,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        save_checkpoint(folder, self.network, self._card(epoch), state)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        last = self.folder / "last"
        state = load_state(last)
        load_weights(last, self.network)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.next_epoch, self.rows = state["next_epoch"], state["rows"]
        self.progress = Progress(**state["progress"])
        write_log(self.folder / "log.csv", self.rows)

    def _best_epoch(self) -> int:
        """The epoch with the most correct selection videos, or with their lowest loss."""
        rows = [row for row in self.rows if row["subset"] == self.options.select]
        if self.options.select_by == "loss":
            best = min(rows, key=lambda row: row["loss"])
        else:
            best = max(rows, key=lambda row: (row["top1"], -row["loss"]))
        return int(best["epoch"])

    def _card(self, epoch: int) -> NetworkCard:
        return NetworkCard(
            model=self.options.model,
            stream=self.options.stream,
            class_names=self.data.class_names,
            num_segments=self.options.num_segments,
            consensus=self.options.consensus,
            input_size=self.options.input_size,
            epoch=epoch,
            selected_on=self.options.select,
            flow=self.data.flow if self.modality.name == "flow" else {},
        )

    def _write_scores_of(self, subset: str, joined: Joined) -> bool:
        path, best = self.folder / "scores" / f"{subset}.safetensors", self.folder / "best"
        if path.exists():
            about = read_scores(path).about
            made_by = (about["checkpoint"], about["protocol"])
            if made_by == (sha256_file(best / WEIGHTS), self.options.protocol):
                return False
        write_score_file(
            path,
            self._score(joined, self.options.protocol),
            joined=joined,
            card=read_card(best),
            checkpoint=best,
            facts={
                "dataset": self.options.dataset,
                "split": self.options.split,
                "subset": subset,
                "protocol": self.options.protocol,
            },
        )
        return True


def _labels(joined: Joined) -> NDArray[np.int64]:
    return np.array([video.record.label for video in joined.videos], dtype=np.int64)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
