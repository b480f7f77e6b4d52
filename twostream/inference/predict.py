"""What `twostream predict` does: videos in, classes with probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from flow_extract.video import VideoError
from fusion.options import StepOptions, chosen_steps
from twostream import plugins
from twostream.errors import InputError
from twostream.inference.predict_video import Prediction, Recipe, predict_video
from twostream.inference.prediction_result import result_row
from twostream.inference.protocols import PROTOCOLS
from twostream.inference.scoring import Bar
from twostream.inference.streams import Extraction, load_streams
from twostream.inference.trial import try_views
from twostream.inference.video_inputs import VideoInputs
from twostream.training.precision import find_precision

Show = Callable[[str, Prediction], None]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """The options of `twostream predict`."""

    runs: Mapping[str, Path]  # by stream, in the order in which they are asked
    checkpoint: str
    protocol: str
    cascade: float | None
    steps: StepOptions
    combine: str | None
    extraction: Extraction
    top: int
    batch_size: int
    threads: int
    device: str
    precision: str


def predict_videos(
    inputs: VideoInputs, options: PredictOptions, *, workplace: Path, bar: Bar, show: Show | None
) -> dict[str, Any]:
    """Predict one video after the other; one that cannot be read is named, the rest is done.

    Args:
        workplace: folder for frames and flow, of one video at a time.
        show: is called with each video's name and prediction while its store file is there.

    Returns:
        The result as JSON values.

    Raises:
        InputError: the runs do not fit each other, a network cannot take the views of the protocol,
            or an option does nothing.
    """
    streams = load_streams(
        options.runs,
        checkpoint=options.checkpoint,
        device=torch.device(options.device),
        extraction=options.extraction,
        shared=options.cascade is None,
    )
    for stream in streams.values():
        try_views(
            stream.network,
            model=stream.spec.model,
            modality=stream.spec.modality,
            input_size=stream.spec.input_size,
            protocols=(options.protocol,),
            device=torch.device(options.device),
        )
    recipe = _recipe(options, next(iter(streams.values())).spec.class_names)
    rows, failed = [], dict(inputs.refused)
    for name, video in bar(inputs.videos.items(), total=len(inputs.videos)):
        with TemporaryDirectory(dir=workplace) as own:
            try:
                prediction = predict_video(video, streams, recipe, workplace=Path(own))
            except VideoError as error:
                failed[name] = str(error)
                continue
            rows.append(result_row(name, prediction, top=options.top))
            if show:
                show(name, prediction)
    return {
        "streams": {stream: str(run) for stream, run in options.runs.items()},
        "strategy": options.steps.strategy,
        "protocol": recipe.protocol.name,
        "cascade": options.cascade,
        "extraction": {key: stream.settings for key, stream in streams.items()},
        "videos": rows,
        "failed": failed,
    }


def _recipe(options: PredictOptions, class_names: Sequence[str]) -> Recipe:
    if options.cascade is not None and len(options.runs) < 2:
        raise InputError(
            "--cascade needs two streams: the second is asked where the first is unsure"
        )
    device = torch.device(options.device)
    return Recipe(
        protocol=plugins.load(options.protocol, PROTOCOLS),
        steps=chosen_steps(options.steps, keys=list(options.runs), class_names=class_names),
        combine=options.combine,
        cascade=options.cascade,
        snippets_at_once=options.batch_size,
        threads=options.threads,
        device=device,
        precision=find_precision(options.precision, device),
    )
