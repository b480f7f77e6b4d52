"""Before a training: what it would do (`train --dry-run`), and how long it will take here."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from twostream.compute.device import autocast, is_out_of_memory
from twostream.data.dataset import views_shape
from twostream.data.holdout import hold_out
from twostream.data.protocols import Protocol, find_protocol
from twostream.data.splits import read_split
from twostream.models.consensus import load_consensus
from twostream.models.probe import build_on_meta, count_parameters
from twostream.training.data import gather, plan_batches, sample_records
from twostream.training.learner import Learner
from twostream.training.loop import accumulate_gradient
from twostream.training.loss import class_weights
from twostream.training.options import AUTO, TrainOptions
from twostream.training.trainer import validation_protocol
from twostream_base.errors import InputError


def plan_run(options: TrainOptions) -> dict[str, Any]:
    """The numbers of a run as JSON values: videos, steps, clips, shapes, parameters.

    Where the store is there, its videos count; else those of the lists do.

    Raises:
        InputError: wrong options or lists, or a store that lacks videos.
    """
    has_store = Path(options.store).is_dir()
    if has_store:
        data = gather(options)
        names = data.class_names
        train, val, test = (
            [video.record for video in part.videos] for part in (data.train, data.val, data.test)
        )
    else:
        split = read_split(options.dataset, options.annotations, split=options.split)
        names, train, val, test = split.class_names, [*split.train], [*split.val], [*split.test]
        if options.select == "test":
            train, val = train + val, test
        elif not val:
            rng = np.random.default_rng(options.split)
            train, val = hold_out(train, fraction=options.val_fraction, rng=rng)
    val = sample_records(val, options.val_videos, split=options.split)
    weights = class_weights(options.class_weights, names, [record.label for record in train])
    modality = options.modality
    batches = plan_batches(options, num_videos=len(train), epoch=0)
    network = build_on_meta(
        options.model,
        consensus=load_consensus(options.consensus, options.consensus_options),
        modality=modality,
        num_classes=len(names),
        options=options.model_options,
    )
    videos = min(options.batch_size, len(train))
    return {
        "run": str(options.folder),
        "options": asdict(options),
        "classes": len(names),
        "class_weights": None if weights is None else [round(w, 6) for w in weights.tolist()],
        "store": options.store if has_store else None,
        "snippet": {"length": options.clip_length, "interval": modality.interval},
        "input_shape": [videos, options.segments, *modality.snippet_shape(options.input_size)],
        "parameters": count_parameters(network),
        "train": {"videos": len(train), "steps": len(batches), "last_batch": len(batches[-1])},
        "validation": _scoring(options, validation_protocol(options), videos=len(val)),
        "scores": {
            subset: _scoring(options, find_protocol(options.protocol), videos=videos)
            for subset, videos in {options.select: len(val), "test": len(test)}.items()
        },
    }


def _scoring(options: TrainOptions, protocol: Protocol, *, videos: int) -> dict[str, Any]:
    """How many views a protocol takes of some videos, and in how many batches they would fit."""
    views = videos * protocol.num_snippets * protocol.num_crops
    shape = views_shape(options.modality, protocol, size=options.input_size)
    return {
        "videos": videos,
        "protocol": protocol.name,
        "text": re.sub(r": \d+ views?", "", protocol.text),  # they stand beside it
        "snippets": videos * protocol.num_snippets,
        "views": views,
        "batches": math.ceil(views / options.batch_size),
        "view_shape": list(shape[1:]),
    }


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """The plan in words; options as in a run's `config.toml`."""
    options, train = plan["options"], plan["train"]
    length, interval = plan["snippet"]["length"], plan["snippet"]["interval"]
    unit = "flow pair" if options["stream"] in ("motion", "joint") else "frame"
    snippet = f"{length} {unit}{'s' * (length > 1)}"
    if (stack := options["flow_stack"]) > 1:
        snippet += f", in stacks of {stack}"
    spacing = {0: ", spread over the video", 1: ""}.get(interval, f", {interval} apart")
    last = train["last_batch"]
    odd = f", the last of {last}" if last != options["batch_size"] else ""
    lines = [
        *(f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in options.items()),
        f"snippet: {snippet}{spacing}",
        f"network: {options['model']}, {plan['classes']} classes, "
        f"{plan['parameters']:,} parameters",
        f"input: {_shape(plan['input_shape'])} bytes: videos, segments, frames or pairs, channels, "
        "height, width",
        f"training: {train['videos']:,} videos, {train['steps']:,} steps an epoch of "
        f"{options['batch_size']} videos{odd}",
    ]
    parts = {f"validation on {options['select']}": plan["validation"]}
    parts |= {f"scores of {subset}": scoring for subset, scoring in plan["scores"].items()}
    for what, scoring in parts.items():
        lines += [
            f"{what}: {scoring['videos']:,} videos, {scoring['protocol']}: {scoring['text']}",
            f"    {scoring['snippets']:,} clips, {scoring['views']:,} views of "
            f"{_shape(scoring['view_shape'])}: {scoring['batches']:,} batches of "
            f"{options['batch_size']}",
        ]
    if plan["store"] is None:
        lines.append(f"{options['store']} is not there: these are the videos of the lists")
    return [*lines, "nothing was trained or written (--dry-run)"]


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


# A step of fewer videos is timed where it takes this long already. Small batches that take less
# would not do: what a step costs whatever its batch, such as the optimizer's work, would be too
# large a share.
LONG_ENOUGH = 2.0  # seconds
TIMED_STEPS = 3


def estimate_training(
    options: TrainOptions, *, num_classes: int, train: int, test: int
) -> dict[str, float]:
    """Seconds of a training to its last epoch, of its validation and of the score files.

    Loading is not in it: it runs beside the network, and is quicker, but for small networks.

    Args:
        train: videos to learn from, among them those held out. test: videos.

    Returns:
        seconds, and what they come from: seconds_per_training_snippet, seconds_per_test_snippet.

    Raises:
        InputError: not even two videos fit into memory.
    """
    learner = Learner(
        replace(options, weights="none", compiled=False, ema=0.0),
        num_classes=num_classes,
        weights="none",
        tell=lambda text: None,
    )
    segments, device = options.segments, learner.device
    shape = (segments, *options.modality.snippet_shape(options.input_size))

    parts = 1 if options.accumulate == AUTO else int(options.accumulate)
    at_once = math.ceil(options.batch_size / parts)  # videos

    def step(clips: torch.Tensor) -> Any:
        losses, _ = accumulate_gradient(
            learner.network,
            clips,
            torch.zeros(len(clips), dtype=torch.int64),
            math.ceil(len(clips) / at_once),
            consensus=learner.consensus,
            device=device,
            precision=options.precision,
            scaler=learner.scaler,
        )
        learner.optimizer.step()
        return losses.tolist()  # which waits for a GPU

    def test_step(clips: torch.Tensor) -> Any:
        with torch.inference_mode(), autocast(device, options.precision):
            return learner.network(clips.to(device)).float().sum().item()

    training = _seconds_per_video(step, shape, options.batch_size) / segments
    learner.network.eval()
    testing = _seconds_per_video(test_step, shape, options.batch_size) / segments
    held_out = round(options.val_fraction * train) if options.select == "val" else test

    def snippets(protocol: str) -> int:
        rule = find_protocol(protocol)
        return rule.num_snippets * rule.num_crops

    learned = train - (held_out if options.select == "val" else 0)
    epoch = learned * segments * training
    epoch += held_out * snippets(options.val_protocol) * testing / options.val_every
    scored = (held_out + test) if options.select == "val" else test
    return {
        "seconds": options.epochs * epoch + scored * snippets(options.protocol) * testing,
        "seconds_per_training_snippet": training,
        "seconds_per_test_snippet": testing,
    }


def _seconds_per_video(
    step: Callable[[torch.Tensor], Any], shape: Sequence[int], batch_size: int
) -> float:
    """Of a step of so many videos, or of fewer where these take long enough or fill the memory.

    Args:
        step: takes clips uint8 (N, *shape). shape: of a video, (S, T, C, H, W).

    Raises:
        InputError: not even two videos fit into memory.
    """
    videos, per_video = 2, math.inf  # batch normalisation needs two

    def seconds(clips: torch.Tensor) -> float:
        start = time.perf_counter()
        step(clips)
        return time.perf_counter() - start

    try:
        while True:
            clips = torch.randint(0, 256, (videos, *shape), dtype=torch.uint8)
            seconds(clips)  # the first step of a size is slower
            spent = seconds(clips)
            per_video = spent / videos
            if videos >= batch_size or spent > LONG_ENOUGH:
                repeated = [seconds(clips) for _ in range(TIMED_STEPS - 1)]
                return median([spent, *repeated]) / videos
            videos = min(2 * videos, batch_size)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if math.isinf(per_video):
            raise InputError(
                f"not even {videos} videos of {shape[0]} segments at {shape[-1]} pixels fit into "
                f"memory; give --accumulate {batch_size} (one video at a time), --precision bf16, "
                "fewer --segments or a smaller --input-size"
            ) from error
        return per_video  # training then cuts its batches in parts
