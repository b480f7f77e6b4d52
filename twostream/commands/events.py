"""`twostream events`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twostream.commands import console, score_options
from twostream.commands.option_types import OUT_FILE, SCORE_INPUT

SECONDS = click.FloatRange(0)
SHARE = click.FloatRange(0, 1, min_open=True)
detection_options = console.section(
    "From scores to events",
    click.option(
        "--threshold",
        "thresholds",
        type=SHARE,
        multiple=True,
        help="An event reaches this probability; repeatable: non-maximum suppression then takes "
        "the best of all.  [default: 0.5, or --argmax where there is a background class]",
    ),
    click.option(
        "--hysteresis",
        type=SHARE,
        default=0.8,
        help="An event goes on while its probability is at least this share of the threshold.",
    ),
    click.option(
        "--argmax",
        is_flag=True,
        help="Instead of thresholds, give each moment to its most probable class.",
    ),
    click.option(
        "--median", type=SECONDS, default=0.0, help="Smooth by the median of so many seconds."
    ),
    click.option(
        "--gaussian",
        type=SECONDS,
        default=0.0,
        help="Smooth by a Gaussian of this standard deviation, seconds.",
    ),
    click.option(
        "--max-gap",
        type=SECONDS,
        default=0.0,
        help="Join events of a class with at most so many seconds between them.",
    ),
    click.option(
        "--min-length", type=SECONDS, default=0.0, help="Drop events shorter than so many seconds."
    ),
    click.option(
        "--nms",
        type=SHARE,
        default=0.5,
        help="Drop what overlaps a surer event of its class by more than this tIoU.",
    ),
    click.option(
        "--soft-nms",
        type=SECONDS,
        default=0.0,
        help="Sigma of soft-NMS: lower the scores of overlapping events too; 0 does not.",
    ),
    click.option(
        "--step",
        type=click.FloatRange(0, min_open=True),
        help="Seconds from one moment to the next.  [default: a quarter of the windows' stride]",
    ),
    click.option(
        "--background",
        metavar="CLASS",
        help="The class of moments at which nothing happens.  [default: `background`, if there is "
        "such a class]",
    ),
)
truth_options = console.section(
    "Judging",
    click.option(
        "--truth",
        type=click.Path(exists=True, path_type=Path),
        help="What happens in the films: ActivityNet's JSON, a CSV file of video,start,end,label, "
        "or a folder of THUMOS14's or of frame-wise label files.",
    ),
    click.option(
        "--fps",
        type=click.FloatRange(0, min_open=True),
        help="Frames a second of a truth in frames.",
    ),
    click.option("--truth-subset", metavar="NAME", help="Judge on films of this subset alone."),
    click.option(
        "--allow-missing", is_flag=True, help="Leave out films of the truth that have no scores."
    ),
    click.option(
        "--compare",
        type=SCORE_INPUT,
        help="Compare with the events of this dense score file, run folder or NAME=FILE; its "
        "scores are taken as they are, without --strategy, --segments, --combine and --calibrate.",
    ),
    click.option("--classes", is_flag=True, help="Also show every class."),
    click.option("--seed", default=0, help="Seed of the randomisation test."),
)


@click.command(
    cls=console.Command,
    common=(
        "--truth", "--compare", "--threshold", "--argmax", "--median", "--min-length", "--strategy",
        "--out", "--json",
    ),
    example="twostream events spatial.safetensors motion.safetensors --out events.csv\n"
    "twostream events fused.safetensors --truth activity_net.json --truth-subset validation\n"
    "twostream events spatial.safetensors motion.safetensors \\\n"
    "    --truth groundTruth --fps 15 --compare earlier.safetensors",
)  # fmt: skip
@score_options.inputs_of_a_split
@detection_options
@truth_options
@score_options.strategies
@score_options.calibration
@score_options.hold_out
@console.trust_option
@console.section(
    "Output",
    click.option(
        "--out",
        type=OUT_FILE,
        help="Write all events: .csv, or .json as ActivityNet's evaluation reads it.",
    ),
)
@console.json_option
def events(
    truth: Path | None,
    fps: float | None,
    truth_subset: str | None,
    allow_missing: bool,
    compare: Path | None,
    classes: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the events in long videos from the scores of their windows, and judge them.

    FILES are dense score files, as `predict --window` writes them; several streams are fused as by
    `fuse`. With --truth, the mean average precision of ActivityNet and THUMOS14, and where one
    class is at a time the frame accuracy, edit score and segmental F1, with intervals by whole
    films, of each stream and of the fusion.
    """
    from dataclasses import fields

    from fusion.combining.inputs import FusionOptions
    from fusion.events.detection import DetectionOptions, check_options
    from fusion.events.truth import read_truth
    from fusion.find_events import check_suffix, event_lines, find_events_in_files, write_events

    if out:
        check_suffix(out)
    options["thresholds"] = options["thresholds"] or None
    names = {field.name for field in fields(DetectionOptions)}
    detection = DetectionOptions(**{key: options.pop(key) for key in names})
    check_options(detection)
    happened = None
    if truth:
        happened = read_truth(truth, fps=fps, subset=truth_subset, background=detection.background)
    with console.LateProgress() as progress:
        result = find_events_in_files(
            FusionOptions(**options),
            detection,
            truth=happened,
            allow_missing=allow_missing,
            other=compare,
            classes=classes,
            seed=seed,
            progress=progress,
        )
    if out:
        write_events(out, result["events"])
        console.tell(f"{out} written")
    console.print_json(result) if as_json else console.show(*event_lines(result))
