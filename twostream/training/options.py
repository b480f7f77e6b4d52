"""The options of a run, and the folder that belongs to them alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twostream.models import flow_stack, sees_clips
from twostream.training.loss import read_gamma
from twostream.transforms.presets import Modality, modality_of
from twostream_base import plugins
from twostream_base.errors import InputError

BEST_WEIGHTS = Path("best") / "weights.safetensors"  # of a run folder
AUTO = "auto"  # of --accumulate: as many parts as memory asks for

# What may differ when a run is resumed: it does not change what has been learnt.
FREE_ON_RESUME = (
    "epochs",
    "annotations",
    "class_weights",  # their values are compared, wherever the file lies
    "store",
    "runs",
    "protocol",
    "threads",
    "device",
    "save_every",
    "tensorboard",
    "dump_scores",
)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The options of `twostream train`, resolved; `config.toml` in the run folder holds them."""

    # the network and what it sees
    stream: str
    model: str
    model_option: tuple[str, ...]
    clip_length: int
    frame_interval: int
    flow_stack: int
    resize: tuple[int, ...]
    weights: str
    num_segments: int
    train_segment: int
    consensus: str
    consensus_option: list[str]
    input_size: int
    # both streams in one network
    start_from: tuple[str, ...]
    fuse_at: str
    fuse: str
    keep_both: bool
    auxiliary_loss: float
    # what a motion network teaches
    teacher: str
    distill: str
    distill_weight: float
    temperature: float
    # videos
    dataset: str
    annotations: str
    split: int
    store: str
    allow_missing: bool
    use_damaged: bool
    # the run
    runs: str
    name: str
    epochs: int
    seed: int
    save_every: float
    tensorboard: bool
    # optimisation
    batch_size: int
    accumulate: int | str
    recompute: bool
    optimizer: str
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    clip_norm: float
    schedule: str
    warmup: int
    milestones: tuple[int, ...]
    # against over-fitting
    crop: str
    jitter: tuple[int, ...]
    flip: bool
    colour_jitter: float
    label_smoothing: float
    dropout: float
    partial_bn: bool
    freeze_bn: str
    loss: str
    class_weights: str
    freeze_backbone: bool
    cache_features: int
    sync_bn: bool
    rand_augment: float
    mixup: float
    cutmix: float
    ema: float
    # validation
    select: str
    select_by: str
    val_fraction: float
    val_protocol: str
    val_every: int
    val_videos: int
    val_loss: str
    protocol: str
    dump_scores: str
    # the machine
    threads: int
    device: str
    precision: str
    compiled: bool
    deterministic: bool

    @property
    def modality(self) -> Modality:
        """What the network sees of a video."""
        return modality_of(
            self.stream,
            clip_length=self.clip_length,
            frame_interval=self.frame_interval,
            resize=self.resize,
            stack=self.stack,
        )

    @property
    def segments(self) -> int:
        """How many segments of a video a training step sees."""
        return 1 if self.train_segment else self.num_segments

    @property
    def stack(self) -> int:
        """Flow pairs at each time step; beside each frame of a joint snippet."""
        of_joint = flow_stack(self.model, self.stream, self.clip_length)
        return of_joint if self.stream == "joint" else self.flow_stack

    @property
    def model_options(self) -> dict[str, Any]:
        """`--model-option` as keywords; of a joint network also `joining`."""
        return plugins.read_options(self.model_option, option="--model-option") | self.joining

    @property
    def joining(self) -> dict[str, Any]:
        """Where and how the streams of a joint network are joined; empty for one stream."""
        joining = {"fuse_at": self.fuse_at, "fuse": self.fuse, "keep_both": self.keep_both}
        return joining if self.fuse_at else {}

    @property
    def initial(self) -> tuple[Path, ...]:
        """The files of --from, or of --weights; a name such as `imagenet` is one that is not there.

        Of a run folder the weights of its best epoch.
        """
        paths = [Path(path) for path in self.start_from or (self.weights,)]
        return tuple(path / BEST_WEIGHTS if path.is_dir() else path for path in paths)

    @property
    def initial_weights(self) -> str | tuple[str, ...]:
        """What the network starts from, as `build_network` takes it."""
        return tuple(map(str, self.initial)) if self.start_from else self.weights

    @property
    def consensus_options(self) -> dict[str, Any]:
        """What `consensus_option` says: name -> value."""
        return plugins.read_options(self.consensus_option, option="--consensus-option")

    @property
    def folder(self) -> Path:
        """`<runs>/<dataset>-split<K>/<stream>-<model>`, and `-<name>` if one was given.

        Of a joint network `-<where>-<how>` its streams are joined comes before the name; with a
        teacher the stream is `distilled`, and `-<how>` comes before the name.
        """
        stream = "distilled" if self.teacher else self.stream
        parts = [stream, self.model, self.fuse_at, self.fuse, "both" * self.keep_both, self.distill]
        parts = list(filter(None, [*parts, self.name]))
        dataset = f"{self.dataset}-split{self.split}"
        return Path(self.runs) / dataset.replace(":", ".") / "-".join(parts).replace(":", ".")


def free_on_resume(options: TrainOptions) -> tuple[str, ...]:
    """The options that may differ when the run is resumed."""
    # A cosine ends with the last epoch, and the last epoch is validated whatever its number.
    if options.schedule == "cosine" or options.val_every > 1:
        return tuple(name for name in FREE_ON_RESUME if name != "epochs")
    return FREE_ON_RESUME


def dumped_epochs(dump: str, count: int) -> range:
    """Which of the epochs 0 to `count` - 1 `--dump-scores` asks for: `off`, `all`, or `last:N`.

    Raises:
        InputError: something else.
    """
    if dump == "all":
        return range(count)
    last = re.fullmatch(r"last:([1-9]\d*)", dump)
    if dump != "off" and not last:
        raise InputError(f"--dump-scores {dump!r}: expected off, all, or last:N, such as last:5")
    return range(max(0, count - int(last[1])), count) if last else range(0)


def check_options(options: TrainOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        InputError: two options contradict each other, or one needs another.
    """
    uses_steps = options.schedule == "steps"
    rules = [
        (uses_steps and not options.milestones, "--schedule steps needs --milestones, as in 15,25"),
        (bool(options.milestones) and not uses_steps, "--milestones need --schedule steps"),
        (
            options.warmup >= options.epochs,
            f"--warmup {options.warmup} must be less than --epochs {options.epochs}",
        ),
        (
            options.nesterov and (options.optimizer != "sgd" or options.momentum == 0),
            "--nesterov needs --optimizer sgd and a --momentum above 0: it is a form of momentum",
        ),
        (
            options.sync_bn and not options.device.startswith("cuda"),
            f"--sync-bn needs GPUs, but --device is {options.device}: torch.nn.SyncBatchNorm does "
            "not work there. Leave it out",
        ),
        (
            options.sync_bn and options.accumulate != 1,
            "--sync-bn takes the statistics of the whole batch, which --accumulate and "
            "--batch-size auto cut in parts. --recompute saves memory too, and cuts nothing",
        ),
        (
            options.freeze_bn != "off" and options.partial_bn,
            "--freeze-bn freezes all batch normalisation, --partial-bn all but the first: leave "
            "one of the two out",
        ),
        (
            options.freeze_bn != "off" and options.sync_bn,
            "--sync-bn has nothing to synchronise with --freeze-bn: leave one of the two out",
        ),
        (
            options.freeze_backbone
            and options.weights == "none"
            and not options.start_from
            and ":" not in options.model,
            "--freeze-backbone needs --weights: a network of random weights would stay random",
        ),
        (
            options.colour_jitter > 0 and options.modality.name == "flow",
            "--colour-jitter is for --stream spatial, difference and joint: flow has no colours",
        ),
        (
            options.freeze_backbone and options.fuse_at not in ("", "features"),
            f"--freeze-backbone trains the classifier alone, so nothing behind --fuse-at "
            f"{options.fuse_at} would learn: give --fuse-at features",
        ),
        (
            options.cache_features > 0 and not options.freeze_backbone,
            "--cache-features needs --freeze-backbone: other features change as the network learns",
        ),
        (
            options.cache_features > 0 and bool(options.mixup or options.cutmix),
            "--cache-features computes the features of each video once, and --mixup and --cutmix "
            "mix others into it each time: leave one of the two out",
        ),
        (
            options.keep_both and options.fuse_at == "features",
            "--keep-both is for --fuse-at layer1 to layer4: at the features both are there anyway",
        ),
        (
            options.auxiliary_loss > 0 and options.fuse_at != "features" and not options.keep_both,
            f"--auxiliary-loss needs the logits of each stream, and with --fuse-at "
            f"{options.fuse_at} only one goes on: give --keep-both, or --fuse-at features",
        ),
        (
            options.auxiliary_loss > 0 and options.compiled,
            "--auxiliary-loss reads what passes inside the network, which --compile hides: leave "
            "one of the two out",
        ),
        (
            bool(options.teacher) and options.compiled,
            "--teacher reads what passes inside the network, which --compile hides: leave one of "
            "the two out",
        ),
        (
            bool(options.teacher) and options.freeze_backbone,
            "--teacher teaches the whole network, and --freeze-backbone keeps most of it as it is: "
            "leave one of the two out",
        ),
        (
            options.temperature > 0 and options.distill != "logits",
            f"--temperature is for --distill logits; --distill {options.distill} compares features",
        ),
        (
            options.flow_stack > 1
            and (options.stream != "motion" or not sees_clips(options.model)),
            f"--flow-stack {options.flow_stack} is for --stream motion and networks of clips, such "
            "as tsm-resnet50; networks of pictures see --clip-length flow pairs at once",
        ),
        (
            options.modality.network_length < 1,
            "--stream difference needs a --clip-length of 2 frames or more",
        ),
        (
            bool(options.jitter) and options.crop != "random",
            f"--jitter cuts a square at random, so --crop {options.crop} has no effect: leave one "
            "of the two out",
        ),
        (
            bool(options.jitter) and bool(options.resize),
            "--jitter scales frames by their short side, --resize to one height and width: leave "
            "one of the two out",
        ),
        (
            bool(options.jitter) and options.jitter[0] < options.input_size,
            f"--jitter {options.jitter[0] if options.jitter else ''}: frames of that short side "
            f"are smaller than --input-size {options.input_size}",
        ),
        (
            options.train_segment > options.num_segments,
            f"--train-segment {options.train_segment}: there are --segments {options.num_segments}",
        ),
    ]
    for is_broken, message in rules:
        if is_broken:
            raise InputError(message)
    dumped_epochs(options.dump_scores, options.epochs)
    read_gamma(options.loss)
