"""Options of a run that contradict each other."""

from __future__ import annotations

from twostream.errors import InputError
from twostream.training.run_folder import TrainOptions, dumped_epochs


def check_options(options: TrainOptions) -> None:
    """Refuse what cannot be meant.

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
            "--nesterov needs --optimizer sgd and a --momentum above 0: it is a form of that",
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
            options.freeze_backbone and options.weights == "none" and ":" not in options.model,
            "--freeze-backbone needs --weights: a network of random weights would stay random",
        ),
        (
            options.colour_jitter > 0 and options.modality.name != "rgb",
            "--colour-jitter is for --stream spatial and difference: flow has no colours",
        ),
        (
            options.modality.network_length < 1,
            "--stream difference needs a --clip-length of 2 frames or more",
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
