"""A network that learns: with its optimiser, learning-rate schedule and averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from twostream.compute.device import (
    MicroBatches,
    autocast,
    compile_network,
    gradient_scaler,
    is_out_of_memory,
    set_deterministic,
    smallest_part,
    snapshot_buffers_and_rng,
)
from twostream.compute.distributed import data_parallel, world_size
from twostream.models import build_network
from twostream.models.activation_checkpointing import checkpoint_activations
from twostream.models.checkpoint import NetworkSpec
from twostream.models.consensus import load_consensus, reduction
from twostream.models.joining import Head
from twostream.models.segment_network import SegmentNetwork
from twostream.models.temporal_shift import FrameAverage
from twostream.models.two_streams import TwoStreams
from twostream.training import loop
from twostream.training.base_learner import OPTIMIZERS, BaseLearner, parameter_groups
from twostream.training.distil import Distillation, training_modality
from twostream.training.loss import Loss, StreamLosses, read_gamma
from twostream.training.options import AUTO, TrainOptions
from twostream.training.schedule import Schedule
from twostream.transforms.mixing import mix_batch
from twostream_base.errors import InputError


class Learner(BaseLearner):
    """A network on its device and all that changes while it learns.

    Args:
        weights: what the network starts from, as `build_network` takes it; `none` where it is
            loaded later.
        class_weights: how much each class counts in the loss; None: alike.
        teacher: what the network learns from besides, as `load_teacher` returns it.
        tell: gets a message when micro-batches were made smaller for lack of memory.

    Raises:
        InputError: options that this network, or several processes, cannot follow.

    Attributes:
        modality: what the clips of training show, see `training_modality`.
        compiled_network: `network`, with --compile a compiled one of the same weights.
        compiled_eval_network: the same for `eval_network`.
    """

    network: SegmentNetwork

    def __init__(
        self,
        options: TrainOptions,
        *,
        num_classes: int,
        weights: str | tuple[str, ...],
        class_weights: Tensor | None = None,
        teacher: tuple[NetworkSpec, SegmentNetwork] | None = None,
        tell: Callable[[str], None],
    ) -> None:
        set_deterministic(options.deterministic)
        torch.manual_seed(options.seed)
        self.options, self.num_classes = options, num_classes
        self.modality = training_modality(options)
        self.device = torch.device(options.device)
        consensus = load_consensus(options.consensus, options.consensus_options)
        self.consensus = reduction(consensus)
        self.network = build_network(
            options.model,
            consensus=consensus,
            modality=options.modality,
            num_classes=num_classes,
            weights=weights,
            options=options.model_options,
        )
        self.network.to_device(self.device)
        if options.sync_bn and world_size() > 1:
            self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        if options.recompute:
            checkpoint_activations(self.network.backbone)
        if options.dropout:
            add_dropout(self.network, options.dropout)
        if options.cache_features and world_size() > 1:
            raise InputError("--cache-features is for one process; start it without torchrun")
        if options.cache_features and options.dropout and frame_dropouts(self.network):
            raise InputError(
                f"--cache-features: --dropout of {options.model} is of single frames, before the "
                "features; leave one of the two out"
            )
        self.loss = Loss(options.label_smoothing, read_gamma(options.loss), class_weights)
        self._set_training_mode()
        self.optimizer = OPTIMIZERS[options.optimizer](
            parameter_groups(self.network, weight_decay=options.weight_decay),
            lr=options.lr,
            momentum=options.momentum,
            nesterov=options.nesterov,
            fused=True if self.device.type == "cuda" else None,
        )
        self.keep_average(options.ema)
        self.schedule = Schedule(
            self.optimizer,
            kind=options.schedule,
            epochs=options.epochs,
            warmup=options.warmup,
            milestones=options.milestones,
        )
        self.micro_batches = MicroBatches(
            1 if options.accumulate == AUTO else int(options.accumulate),
            auto=options.accumulate == AUTO,
            tell=tell,
        )
        self.scaler = gradient_scaler(self.device, options.precision)
        compiled = compile_network if options.compiled else lambda network: network
        self.compiled_network = compiled(self.network)
        self.compiled_eval_network = (
            compiled(self.eval_network) if self.average else self.compiled_network
        )
        self._parallel: DistributedDataParallel | None = None
        self.further_loss: loop.FurtherLoss | None = None
        if options.auxiliary_loss:
            head = self.network.classifier
            if not isinstance(head, Head):
                raise InputError(
                    f"--auxiliary-loss: the logits of each stream are not to be had with --fuse "
                    f"{options.fuse} and --consensus {options.consensus}; leave it out"
                )
            self.further_loss = StreamLosses(
                head, consensus=self.consensus, loss_of=self.loss, weight=options.auxiliary_loss
            )
        if teacher:
            self.further_loss = Distillation(self.network, *teacher, options)

    @property
    def eval_network(self) -> SegmentNetwork:
        """As in `BaseLearner`."""
        return super().eval_network  # type: ignore[return-value]

    def train(
        self,
        batches: loop.Batches,
        *,
        labels: Tensor,
        progress: loop.Progress,
        after_step: Callable[[], None],
    ) -> loop.EpochStats:
        """Learn from `batches`, the rest of an epoch; see `train_one_epoch`.

        With --cache-features these are of features (N, S, D), which the classifier alone sees.
        """
        options = self.options
        self._set_training_mode()
        if world_size() > 1 and self._parallel is None:
            self._parallel = self._join_processes()
        try:
            return loop.train_one_epoch(
                self.network.classifier
                if options.cache_features
                else self._parallel or self.compiled_network,
                batches,
                labels=labels,
                consensus=self.consensus,
                optimizer=self.optimizer,
                scaler=self.scaler,
                device=self.device,
                precision=options.precision,
                micro_batches=self.micro_batches,
                mix=self._mix if options.mixup or options.cutmix else None,
                loss_of=self.loss,
                further_loss=self.further_loss,
                clip_norm=options.clip_norm,
                progress=progress,
                after_step=after_step,
            )
        except RuntimeError as error:
            if "does not have a deterministic implementation" not in str(error):
                raise
            raise InputError(
                f"--deterministic: {options.model} has a layer whose gradient {options.device} "
                f"cannot compute the same way twice ({str(error).partition(' ')[0]}). Leave it "
                "out, or train on --device cpu"
            ) from error

    def compute_features(self, batches: Iterable[Tensor]) -> Tensor:
        """What the frozen backbone makes of clips (n, S, T, C, H, W): (N, S, D) of all batches.

        A batch goes through it in as many parts as in training.
        """
        self._set_training_mode()
        features: list[Tensor] = []
        for clips in batches:
            for attempt in self.micro_batches.attempts(
                self.network, num_videos=len(clips), device=self.device
            ):
                with attempt, torch.no_grad(), autocast(self.device, self.options.precision):
                    parts = [
                        self.network.features(part.to(self.device, non_blocking=True)).cpu()
                        for part in clips.chunk(attempt.parts)
                    ]
            features += parts
        return torch.cat(features)

    def check_batches(self, num_videos: int) -> None:
        """Take empty clips through the network as training will, in parts of the same sizes.

        Neither weights and statistics nor random states change. A network that cannot learn from a
        single video, as its batch normalisation would see one value a channel, must get two at
        least from these options; only a last, smaller batch then goes in fewer parts. A size for
        which memory is short is left to the first step.

        Args:
            num_videos: in training.

        Raises:
            InputError: it cannot take the batches of these options.
        """
        options, micro_batches = self.options, self.micro_batches
        share = max(1, min(options.batch_size, num_videos) // world_size())
        self._set_training_mode()  # frozen batch normalisation takes a single value
        error = self._try_batch(1)
        if error:
            micro_batches.least = 2
            if smallest_part(share, micro_batches.parts) < 2:
                parts = f" in {micro_batches.parts} parts" if micro_batches.parts > 1 else ""
                raise InputError(
                    f"{options.model} cannot learn from one video at a time, as --batch-size "
                    f"{options.batch_size}{parts} would have it ({error}): batch normalisation "
                    "needs more than one value a channel. Give a larger --batch-size, fewer parts "
                    "by --accumulate, more --segments, a larger --input-size, --partial-bn or "
                    "--freeze-bn"
                )
        largest = -(-share // micro_batches.parts)
        if largest > 1 and (error := self._try_batch(largest)):
            raise InputError(
                f"{options.model} cannot learn from {largest} videos at a time, as --batch-size "
                f"{options.batch_size} would have it ({error}); try another --batch-size, "
                "--accumulate or --input-size"
            )

    def _try_batch(self, count: int) -> str:
        """Why `count` videos cannot go through the network in training; empty where they can."""
        options = self.options
        shape = (count, options.segments, *options.modality.snippet_shape(options.input_size))
        restore = snapshot_buffers_and_rng(self.network, self.device)
        try:
            clips = torch.zeros(shape, dtype=torch.uint8, device=self.device)
            with torch.no_grad(), autocast(self.device, options.precision):
                logits = self.network(clips)
            self.consensus(logits.float())
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            return "" if is_out_of_memory(error) else str(error).partition("\n")[0]
        finally:
            restore()
        return ""

    def state(self) -> dict[str, Any]:
        """As in `BaseLearner`, with the schedule, the micro-batches and the class weights."""
        return super().state() | {
            "schedule": self.schedule.state_dict(),
            "parts": self.micro_batches.parts,
            "class_weights": self.loss.class_weights,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned; the weights of `eval_network` are loaded already.

        Raises:
            InputError: the file of the class weights has changed.
        """
        before, now = state["class_weights"], self.loss.class_weights
        if now is not None and not torch.equal(before, now):
            raise InputError(
                f"--class-weights {self.options.class_weights} gives other weights than when this "
                "run began; bring the old file back, give another --name, or --restart"
            )
        super().restore(state)
        self.schedule.load_state_dict(state["schedule"])
        self.micro_batches.parts = state["parts"]

    def _set_training_mode(self) -> None:
        """Training mode, but for what `--partial-bn`, `--freeze-bn`, `--freeze-backbone` freeze."""
        self.network.train()
        if self.options.partial_bn:
            backbone, parts = self.network.backbone, list[nn.Module]([self.network])
            if isinstance(backbone, TwoStreams):  # each has a first one
                parts = [backbone.spatial, backbone.motion]
            for part in parts:
                freeze_batch_norm(part, first=1)
        if self.options.freeze_bn != "off":
            freeze_batch_norm(self.network, affine=self.options.freeze_bn == "all")
        if self.options.freeze_backbone:
            self.network.backbone.eval().requires_grad_(False)
            for dropout in frame_dropouts(self.network):  # of what the classifier sees
                dropout.train()

    def _mix(self, clips: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return mix_batch(
            clips,
            F.one_hot(target, self.num_classes).float(),
            mixup_alpha=self.options.mixup,
            cutmix_alpha=self.options.cutmix,
            # torch was seeded for this very batch; its own stream of numbers is dropout's.
            rng=np.random.default_rng(torch.initial_seed()),
        )

    def _join_processes(self) -> DistributedDataParallel:
        options = self.options
        snippet = self.modality.snippet_shape(options.input_size)
        # Two snippets at least: batch normalisation refuses a single value.
        shape = (max(1, 3 - options.segments), options.segments, *snippet)
        clips = torch.zeros(shape, dtype=torch.uint8)

        def rehearse(network: nn.Module) -> None:
            loop.accumulate_gradient(
                network,
                clips,
                torch.zeros(len(clips), dtype=torch.int64),
                consensus=self.consensus,
                device=self.device,
                precision=options.precision,
                further_loss=self.further_loss,
            )

        restore = snapshot_buffers_and_rng(self.network, self.device)
        parallel = data_parallel(self.compiled_network, rehearse)
        restore()
        return parallel


def frame_dropouts(network: SegmentNetwork) -> list[nn.Dropout]:
    """The dropouts of single frames that a network has."""
    return [m.dropout for m in network.modules() if isinstance(m, FrameAverage)]


def add_dropout(network: SegmentNetwork, rate: float) -> None:
    """Drop inputs of the classifier at this rate while training (Wang et al., ECCV 2016, 3.2).

    Where they are means over frames (TSM), it is the frames' features. The names of the weights
    stay, so that scoring needs to know nothing of it.
    """
    frames = frame_dropouts(network)
    for dropout in frames:
        dropout.p = rate
    if frames:
        return

    def drop(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        return (F.dropout(inputs[0], rate, training=module.training),)

    network.classifier.register_forward_pre_hook(drop)


def freeze_batch_norm(network: nn.Module, *, first: int = 0, affine: bool = True) -> None:
    """Let batch normalisation use the statistics that it has, and not learn them.

    From the second on, with scale and shift, it is partial batch normalisation (Wang et al., ECCV
    2016, section 3.2, and its PyTorch code): the first one alone sees a new kind of input. Without
    scale and shift, which then learn, it is the affine layer of non-local networks (Wang et al.,
    CVPR 2018, section 4) and mmaction2's `norm_eval`. `network.train()` undoes it.

    Args:
        first: number of the first layer to freeze.
        affine: freeze scale and shift too.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms[first:]:
        norm.eval()
        if affine:
            norm.requires_grad_(False)


def count_silent_norms(network: nn.Module) -> int:
    """How many layers of batch normalisation have a scale of 0 throughout, and so give nothing."""
    return sum(
        isinstance(module, _BatchNorm) and module.affine and not module.weight.any()
        for module in network.modules()
    )
