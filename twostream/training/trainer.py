"""Training of one network: epochs, their validation, and at the end the score files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusion.tables.score_file import read_head
from twostream.compute.device import Bar, Runtime
from twostream.compute.distributed import barrier, broadcast_from_rank_0, rank
from twostream.data.loader import LoadingTime, split_into_batches
from twostream.data.protocols import Protocol, find_protocol
from twostream.data.stored import Joined
from twostream.models import resolved_options
from twostream.models.checkpoint import (
    WEIGHTS,
    NetworkSpec,
    has_checkpoint,
    load_weights,
    read_spec,
)
from twostream.models.consensus import CONSENSUS, Learned
from twostream.models.initial_weights import stream_of
from twostream.models.probe import check_input_sizes
from twostream.scoring.logits import compute_logits
from twostream.scoring.score_file import write_score_file
from twostream.training.data import (
    RunData,
    load_epoch,
    load_samples,
    plan_batches,
    run_videos,
    sample,
    seeded,
)
from twostream.training.distil import load_teacher, teacher_card
from twostream.training.learner import Learner, count_silent_norms
from twostream.training.loop import EpochStats, NotFiniteError, Progress, evaluate
from twostream.training.loss import class_weights
from twostream.training.options import BEST_WEIGHTS, TrainOptions, dumped_epochs, free_on_resume
from twostream.training.run import Run, check_like, reading_state
from twostream.training.run_folder import drop_epochs, epoch_folder
from twostream.training.run_log import best_epoch, curves, exhausted, log_row, not_learning
from twostream_base import plugins
from twostream_base.errors import InputError, some_of


class Trainer:
    """Trains one network in one run folder, from the start or from where it was stopped.

    All random numbers derive from (seed, epoch, video): on a CPU a resumed run ends with the very
    weights of an undisturbed one. Several processes (see `distributed`) hold equal networks at any
    time.

    Args:
        bar: wraps batches in a progress bar. tell: gets messages for the user, one sentence each.
        restart: remove the run that is in the folder, once the new one can begin.
        on_training_videos: go on where the initial weights, or the teacher, have seen test videos.
        trust_plugins: whether a `module:function` that the teacher names may be imported, or which.

    Raises:
        InputError: the folder holds a run with other options or lists, or its checkpoint is
            damaged; the network cannot take what it is going to see; or its initial weights were
            trained on test videos.
    """

    def __init__(
        self,
        options: TrainOptions,
        data: RunData,
        *,
        bar: Bar,
        tell: Callable[[str], None],
        restart: bool = False,
        on_training_videos: bool = False,
        trust_plugins: plugins.Trust = False,
    ) -> None:
        self.options, self.data, self.tell = options, data, tell
        self.val = sample(data.val, options.val_videos, split=options.split)
        self.run = Run(
            options,
            command="train",
            free=free_on_resume(options),
            videos=run_videos(data, selects=options.select == "val"),
            restart=restart,
        )
        if self.run.resumes:
            check_same_input(self.run.folder, data)
        elif options.joining:
            if options.start_from:
                check_same_flow(options.initial[1], data)
            compare_classes(options, data, tell=tell)
        initial, self.teacher = [*options.initial], teacher_card(options)
        if options.teacher:
            initial.append(Path(options.teacher) / BEST_WEIGHTS)
            check_same_flow(initial[-1], data)
            if self.run.resumes:
                check_same_teacher(self.run.folder, self.teacher, options)
        self.run.describe_videos(
            dataset=options.dataset,
            split=options.split,
            selected_on=options.select,
            initial=initial,
            on_training_videos=on_training_videos,
            tell=tell,
        )
        self.seen = {subset: self.run.seen(subset) for subset in (options.select, "test")}
        self.learner = Learner(
            options,
            num_classes=len(data.class_names),
            weights="none" if self.run.resumes else options.initial_weights,
            class_weights=class_weights(
                options.class_weights,
                data.class_names,
                [video.record.label for video in data.train.videos],
            ),
            teacher=load_teacher(
                options, class_names=data.class_names, trust_plugins=trust_plugins
            ),
            tell=tell,
        )
        self.runtime = Runtime(
            self.learner.device,
            options.precision,
            threads=options.threads,
            views_per_forward=options.batch_size * options.num_segments,
            bar=bar,
        )
        if not self.run.resumes:
            silent = count_silent_norms(self.learner.network)
            if options.freeze_bn == "all" and silent:
                raise InputError(
                    f"--freeze-bn all: {silent} new layers of {options.model} have a scale of 0, "
                    "which would stay, so they would never do anything; give --freeze-bn alone"
                )
            check_input_sizes(
                self.learner.network,
                self._spec(0),
                protocols=(options.val_protocol, options.protocol),
                device=self.learner.device,
            )
        self.learner.check_batches(len(data.train.videos))
        self.features: dict[int, Tensor] = {}  # of --cache-features, by epoch
        self.run.start(
            self.learner, self._spec, tell=tell, curves=curves if options.tensorboard else None
        )
        with reading_state(self.run.folder):
            check_like(self.run.progress, asdict(Progress()), place="progress")
            self.progress = Progress(**self.run.progress)

    def train(self) -> Iterator[dict[str, Any]]:
        """Train to the last epoch; yield the log rows of each epoch once its checkpoint is safe.

        Raises:
            NotFiniteError: the loss is not finite; the last checkpoint stays.
        """
        while self.run.next_epoch < self.options.epochs and not self.learner.schedule.exhausted:
            yield from self._run_epoch(self.run.next_epoch)

    def write_scores(self) -> bool:
        """Score the selection and test videos with the best epoch, and with those of --dump-scores.

        Returns:
            Whether a score file had to be made; False where all were there already.
        """
        options, folder = self.options, self.run.folder / "scores"
        barrier()  # rank 0 may still be writing the best weights
        files = {name: folder / f"{name}.safetensors" for name in (options.select, "test")}
        written = self._score(self.run.folder / "best", files)
        missing = []
        for epoch in dumped_epochs(options.dump_scores, self.run.next_epoch):
            # The file without further name is of the videos that select the epoch, as in the log.
            name = f"epoch-{epoch:03d}"
            files = {"test": folder / f"{name}-test.safetensors"}
            files[options.select] = folder / f"{name}.safetensors"
            checkpoint = epoch_folder(self.run.folder, epoch)
            if broadcast_from_rank_0(partial(has_checkpoint, checkpoint)):
                written = self._score(checkpoint, files) or written
            elif not all(
                path.exists() and read_head(path)["about"].get("protocol") == options.protocol
                for path in files.values()
            ):
                missing.append(epoch)
        if rank() == 0:
            drop_epochs(self.run.folder)
        if missing:
            self.tell(
                f"no scores of epochs {some_of(missing)} under {options.protocol}: they were "
                "trained without --dump-scores, or scored under another protocol"
            )
        return written

    def _score(self, checkpoint: Path, files: Mapping[str, Path]) -> bool:
        """Write the score file of each subset with the weights of a checkpoint."""
        options, network = self.options, self.learner.compiled_eval_network
        load_weights(checkpoint, network)
        written = [
            write_score_file(
                path,
                network,
                self.data.test if subset == "test" else self.data.val,
                self.runtime,
                spec=read_spec(checkpoint),
                checkpoint=checkpoint,
                facts={
                    "dataset": options.dataset,
                    "split": options.split,
                    "subset": subset,
                    "protocol": options.protocol,
                    **self.seen[subset].facts,
                },
                tell=self.tell,
            )
            for subset, path in files.items()
        ]
        return any(written)

    def _run_epoch(self, epoch: int) -> list[dict[str, Any]]:
        options, schedule = self.options, self.learner.schedule
        schedule.begin(epoch)
        lr = schedule.lr
        is_validated = (epoch + 1) % options.val_every == 0 or epoch + 1 == options.epochs
        try:
            stats = {"train": self._train(epoch)}
            if is_validated:
                stats[options.select] = self._validate()
        except NotFiniteError as error:
            last = self.run.folder / "last"
            saved = f"the last state is in {last}" if has_checkpoint(last) else "no state was saved"
            raise NotFiniteError(
                f"epoch {epoch}, {error}, at learning rate {lr:g}; {saved}. Try a lower --lr with "
                "another --name"
            ) from error
        if is_validated:
            schedule.end(epoch, stats[options.select].loss)
        rows = [
            log_row(
                epoch=epoch, subset=subset, stats=s, lr=lr, parts=self.learner.micro_batches.parts
            )
            for subset, s in stats.items()
        ]
        rows[-1]["note"] = self._remark(stats["train"], epochs=epoch + 1)
        is_best = is_validated and epoch == best_epoch(
            [*self.run.rows, *rows], options.select, by=options.select_by
        )
        keep = dumped_epochs(options.dump_scores, epoch + 1)
        self.run.end_epoch(rows, is_best=is_best, keep=keep)
        self.progress = Progress()
        return rows

    def _train(self, epoch: int) -> EpochStats:
        train, self.loading_time = self.data.train, LoadingTime()
        options, skip = self.options, self.progress.batches
        batches: Iterator[tuple[Tensor, list[int]]]
        if options.cache_features:
            plan = plan_batches(options, num_videos=len(train.videos), epoch=epoch)[skip:]
            features = self._features(epoch % options.cache_features)
            cached = (features[batch] for batch in plan)
            batches, count = seeded(options, cached, plan, epoch=epoch, skip=skip), len(plan)
        else:
            batches, count = load_epoch(
                options,
                train.videos,
                modality=self.learner.modality,
                epoch=epoch,
                skip=skip,
                time=self.loading_time,
            )
        return self.learner.train(
            self.runtime.bar(batches, total=count, label=f"epoch {epoch}, training", unit="batch"),
            labels=torch.from_numpy(_labels(train)),
            progress=self.progress,
            after_step=lambda: self.run.save_within_epoch(
                asdict(self.progress), every=self.options.save_every
            ),
        )

    def _features(self, epoch: int) -> Tensor:
        """The features (V, S, D) of the samples of an epoch, of all training videos.

        In batches of the list's order: a run that is resumed computes the same bits.
        """
        if epoch not in self.features:
            videos, size = self.data.train.videos, self.options.batch_size
            batches = split_into_batches(range(len(videos)), batch_size=size)
            samples = load_samples(
                self.options,
                videos,
                batches,
                modality=self.learner.modality,
                epoch=epoch,
                time=self.loading_time,
            )
            label = f"features of sample {epoch + 1}"
            shown = self.runtime.bar(samples, total=len(batches), label=label, unit="batch")
            self.features[epoch] = self.learner.compute_features(shown)
        return self.features[epoch]

    def _validate(self) -> EpochStats:
        start = time.perf_counter()
        options, val, protocol = self.options, self.val, validation_protocol(self.options)
        logits = compute_logits(
            self.learner.compiled_eval_network,
            val.videos,
            self.runtime,
            modality=options.modality,
            protocol=protocol,
            size=options.input_size,
        )
        seconds = time.perf_counter() - start
        stats = evaluate(logits, _labels(val), seconds=seconds, loss_of=options.val_loss)
        return replace(stats, segments=()) if protocol.segment else stats

    def _remark(self, train: EpochStats, *, epochs: int) -> str:
        """Tell the user what is wrong after an epoch, if anything; return it for the log."""
        schedule, planned = self.learner.schedule, self.options.epochs
        guessing = self.learner.loss.of_guessing(len(self.data.class_names))
        remarks = [not_learning(train.loss, guessing=guessing, epochs=epochs)]
        if schedule.exhausted and epochs < planned:
            remarks.append(exhausted(schedule.lr, epochs=epochs, planned=planned))
        remark = "; ".join(filter(None, remarks))
        if remark:
            self.tell(remark)
        return remark

    def _spec(self, epoch: int) -> NetworkSpec:
        return NetworkSpec(
            model=self.options.model,
            model_options=resolved_options(self.options.model, self.options.model_options),
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
            flow=self.data.train.flow if self.options.modality.sees_flow else {},
            extraction=self.data.train.extraction,
            stack=self.options.stack,
            training_videos=self.run.card,
            teacher=self.teacher,
        )


def validation_protocol(options: TrainOptions) -> Protocol:
    """How the videos are looked at that select the epoch: their trained segment alone, if any."""
    protocol = find_protocol(options.val_protocol)
    if not options.train_segment or protocol.segment:
        return protocol
    return protocol.within_segment(options.train_segment, options.num_segments)


def _labels(joined: Joined) -> NDArray[np.int64]:
    return np.array([video.record.label for video in joined.videos], dtype=np.int64)


def check_same_flow(weights: Path, data: RunData) -> None:
    """Compare the flow of the store with that which a network has learnt from, if that is known.

    Args:
        weights: of a run's motion stream, or of another tool's.

    Raises:
        InputError: it was made otherwise.
    """
    if not stream_of(weights):
        return
    flow = read_spec(weights.parent).flow
    if any(data.train.flow[key] != value for key, value in flow.items()):
        raise InputError(
            f"{weights} was trained on flow of {flow}, the store holds {data.train.flow}; extract "
            "it as it was in training, or train the motion stream again"
        )


def check_same_teacher(run: Path, card: dict[str, Any], options: TrainOptions) -> None:
    """Compare the teacher with the one that a run began with.

    Raises:
        InputError: its weights are others.
    """
    before = read_spec(run / "last").teacher
    if before.get("weights") != card["weights"]:
        raise InputError(
            f"{run}: its teacher {options.teacher} has changed since this run began: it was of "
            f"epoch {before.get('epoch')}, sha256 {str(before.get('weights'))[:12]}, and is of "
            f"epoch {card['epoch']}, {card['weights'][:12]}. Bring the old weights back, give "
            "another --name, or --restart"
        )


def compare_classes(options: TrainOptions, data: RunData, *, tell: Callable[[str], None]) -> None:
    """Compare the classes of the runs that a joint network starts from with those of the lists.

    Args:
        tell: gets a message for each run whose classifier is not kept, or is of other classes.

    Raises:
        InputError: they are the same in another order, so that the classifiers would be wrong.
    """
    for weights in dict.fromkeys(options.initial):
        if weights.name != WEIGHTS or not stream_of(weights):
            continue
        names, now = read_spec(weights.parent).class_names, data.class_names
        unlike = some_of(sorted(set(names) - set(now)))
        if isinstance(CONSENSUS.get(options.consensus), Learned):
            tell(
                f"{weights}: its classifier is not kept, --consensus {options.consensus} learns "
                "another"
            )
        elif len(names) != len(now):
            tell(
                f"{weights}: its classifier of {len(names):,} classes is not kept, the lists have "
                f"{len(now):,}"
            )
        elif unlike:
            tell(f"{weights}: its classifier is kept, but was trained on other classes: {unlike}")
        elif names != now:
            place = [name == other for name, other in zip(names, now, strict=True)].index(False)
            raise InputError(
                f"{weights} was trained on these classes in another order: number {place + 1} was "
                f"{names[place]}, in the lists it is {now[place]}. Bring the old lists back, or "
                "train the run again with these"
            )


def check_same_input(run: Path, data: RunData) -> None:
    """Compare classes, and how the videos were extracted, with those that a run has learnt from.

    How pictures are encoded may differ: `convert-flow` gives the same ones in another codec.

    Raises:
        InputError: they differ.
    """
    spec, now = read_spec(run / "last"), data.train.extraction
    cure = "give another --name, or --restart"
    if spec.class_names != data.class_names:
        unlike = sorted(set(spec.class_names) ^ set(data.class_names))
        raise InputError(
            f"{run} was trained on {len(spec.class_names)} classes, the lists have "
            f"{len(data.class_names)}; they differ in {some_of(unlike) or 'their order'}. Bring "
            f"the old lists back, {cure}"
        )
    decisive = ["method", "quantiser"] if spec.flow else []
    changed = [
        f"{key} was {spec.extraction.get(key, False)!r}, now {now.get(key, False)!r}"
        for key in (*decisive, "short_side", "drop_repeated")
        if spec.extraction and spec.extraction.get(key, False) != now.get(key, False)
    ]
    if changed:
        raise InputError(
            f"{run}: the store was made anew since this run began ({'; '.join(changed)}). Extract "
            f"it as it was, {cure}"
        )
