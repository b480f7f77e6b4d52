"""`twostream init`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from twostream.commands import console
from twostream.commands.option_files import PROJECT_FILE
from twostream.commands.option_types import FILE, PlugIn, any_of
from twostream.data.splits import DATASETS, SPLITS
from twostream_base.errors import InputError, some_of
from twostream_base.files import write_toml

SHOWN = 5


@click.command(
    cls=console.Command,
    common=(
        "--dataset", "--videos", "--annotations", "--store", "--runs", "--allow-missing", "--force",
    ),
    example="twostream init --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist\n"
    "twostream init --dataset folder --videos clips --group-pattern '_(g[0-9]+)_'\n"
    "twostream init --dataset toy",
)  # fmt: skip
@click.option(
    "--dataset",
    required=True,
    type=PlugIn(DATASETS),
    help=f"{any_of(DATASETS)}. toy is generated; folder is one folder a class.",
)
@click.option("--videos", type=click.Path(path_type=Path), help="Folder of the videos.")
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="Folder of the official lists. For folder: your own lists, or where to write them.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("store"),
    help="Folder for frames and flow.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    help="Folder for trained networks and scores.",
)
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Go on when listed videos are missing; every result says how many.",
)
@click.option(
    "--allow-untrained",
    is_flag=True,
    help="Go on when a class has test videos, but none to learn from.",
)
@console.section(
    "Groups: videos of one scene, film or person",
    click.option(
        "--group-pattern",
        metavar="REGEX",
        help="The group of a video is what the parentheses match in its name; groups are of one "
        "class.  [default: by the rule of the data set, where it has one]",
    ),
    click.option(
        "--group-file",
        type=FILE,
        help="CSV file with the videos in its first column and their groups in another.",
    ),
    click.option("--group-column", default="group", help="Column of --group-file with the groups."),
)
@console.section(
    "Lists made for --dataset folder",
    click.option(
        "--test-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.3,
        help="Share of the test videos.",
    ),
    click.option(
        "--min-videos",
        type=click.IntRange(1),
        default=1,
        help="Leave out classes with fewer videos.",
    ),
)
@click.option(
    "--force", is_flag=True, help="Replace an existing twostream.toml (groups.csv, toy videos)."
)
@console.quiet_option
@console.json_option
def init(quiet: bool, as_json: bool, **options: Any) -> None:
    """Check a data set's lists against its videos and write the project file twostream.toml."""
    from twostream.data import make_lists
    from twostream.data.toy import NUM_VIDEOS, generate, write_toy_lists

    if Path(PROJECT_FILE).exists() and not options["force"]:
        raise InputError(f"{PROJECT_FILE} exists in this folder already; --force replaces it")
    dataset, videos, annotations = options["dataset"], options["videos"], options["annotations"]
    lines = []
    if dataset == "toy":
        videos, annotations = videos or Path("toy/videos"), annotations or Path("toy/annotations")
        write_toy_lists(annotations)
        for _ in console.progress(
            generate(videos), total=NUM_VIDEOS, label="toy videos", unit="video", quiet=quiet
        ):
            pass
    if videos is None:
        raise click.UsageError("Missing option '--videos': the folder of the videos.")
    group_of = None
    if options["group_pattern"] and options["group_file"]:
        raise click.UsageError("--group-pattern and --group-file both give groups; give one.")
    if options["group_pattern"]:
        group_of = make_lists.groups_by_pattern(options["group_pattern"])
    elif options["group_file"]:
        group_of = make_lists.groups_from_csv(options["group_file"], column=options["group_column"])
    if dataset == "folder":
        annotations = annotations or Path("annotations")
    if annotations is None:
        raise click.UsageError("Missing option '--annotations': the folder of the official lists.")
    if dataset == "folder" and not (annotations / "classInd.txt").exists():
        lines += _make_lists(videos, annotations, group_of or str, options)
    elif group_of:
        path = make_lists.add_groups(dataset, annotations, group_of, replaces=options["force"])
        lines.append(f"wrote {path}")
    report = make_lists.take_inventory(dataset, videos, annotations, store=options["store"])
    if report["groups"] is None:
        lines.append(
            "each video counts as a group of its own; if several show the same scene, give "
            "--group-pattern or --group-file, or accuracy comes out too high, intervals too narrow"
        )
    if report["untrained"] and not options["allow_untrained"]:
        classes = [f"{name} ({count})" for name, count in report["untrained"].items()]
        raise InputError(
            f"{annotations}: classes with test videos, but none to learn from: "
            f"{some_of(classes, limit=SHOWN)}; do labels count from 0 in both lists? "
            "--allow-untrained takes them as they are"
        )
    missing = sum(split["missing"] for split in report["splits"])
    complete = not missing or options["allow_missing"]
    if complete:
        paths = {"videos": videos, "annotations": annotations}
        paths |= {key: options[key] for key in ("store", "runs")}
        settings: dict[str, Any] = {"dataset": dataset}
        here = Path.cwd()
        settings |= {
            # An absolute path to elsewhere stays one: the project may be moved, that does not.
            key: path.as_posix()
            if path.is_absolute() and not path.is_relative_to(here)
            else Path(os.path.relpath(path)).as_posix()
            for key, path in paths.items()
        }
        if options["allow_missing"]:
            settings["allow-missing"] = True
        title = "Written by `twostream init`. Paths are relative to this file, which may be moved."
        write_toml(Path(PROJECT_FILE), settings, title=title)
        lines.append(f"wrote {PROJECT_FILE}")
        if ":" in dataset:
            lines.append(
                f"no file may run code, {PROJECT_FILE} neither: give --dataset {dataset} with each "
                "command, or --trust-plugins"
            )
    if as_json:
        console.print_json(report)
    else:
        console.show(*_report_lines(report), *lines)
    if not complete:
        raise InputError(
            f"videos are missing, so {PROJECT_FILE} was not written; complete the folder, or give "
            "--allow-missing to work with the ones that are there"
            + (" (and --force, as groups.csv is there now)" if group_of else "")
        )
    if not as_json:
        console.tell_next("extract-flow")


def _make_lists(
    videos: Path, annotations: Path, group_of: Callable[[str], str], options: dict[str, Any]
) -> list[str]:
    """Write the lists of a folder with one folder a class, and say what was done."""
    from flow_extract.video.find_videos import find_videos
    from twostream.data import make_lists

    left_out = make_lists.write_lists(
        annotations,
        list(find_videos(videos, store=options["store"]).videos),
        group_of=group_of,
        test_fraction=options["test_fraction"],
        min_videos=options["min_videos"],
    )
    lines = [f"wrote lists of {len(SPLITS)} random splits to {annotations}"]
    if left_out:
        lines.append(
            f"left out {len(left_out)} classes ({sum(left_out.values())} videos) with "
            f"fewer than {options['min_videos']} videos: {some_of(list(left_out))}"
        )
    return lines


def _report_lines(report: dict[str, Any]) -> list[str]:
    """Classes, videos and splits, and a few of the videos that do not fit."""
    groups = f", in {report['groups']:,} groups" if report["groups"] else ""
    counts = f"{report['classes']} classes, {report['videos']:,} videos found{groups}"
    lines = [f"{report['dataset']}: {counts}"]
    for split in report["splits"]:
        lines.append(
            f"  split {split['split']}: {split['train']:,} train, {split['test']:,} test; "
            f"{split['missing']:,} of them missing"
        )
    for key, text in (("missing", "missing"), ("unlisted", "in no list"), ("ignored", "no videos")):
        if report[key]:
            lines.append(f"  {text}: {some_of(list(report[key]), limit=SHOWN)}")
    if report["elsewhere"]:
        places = [f"{name} at {place}" for name, place in report["elsewhere"].items()]
        lines.append(f"  found by their file names: {some_of(places, limit=SHOWN)}")
    if report["untested"]:
        lines.append(f"  no test video: class {some_of(report['untested'], limit=SHOWN)}")
    lines += [f"  refused: {name}: {reason}" for name, reason in report["refused"].items()]
    return lines
