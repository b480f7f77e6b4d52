"""`twostream init`."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from twostream.commands import console
from twostream.commands.option_files import (
    PATH_KEYS,
    PROJECT_FILE,
    find_project,
    option_defaults,
    read_project,
)
from twostream.commands.option_types import FILE, OUT_PATH, PROJECT, PlugIn, any_of
from twostream.data.splits import DATASETS, SPLITS, SUBSETS
from twostream_base.errors import InputError, some_of
from twostream_base.files import write_toml

if TYPE_CHECKING:
    from twostream.data.update_lists import ListUpdate

SHOWN = 5
# Options that `init --update` takes as they were: the table [init] of the project file has them.
REMEMBERED = (
    "group_pattern", "group_file", "group_column", "test_fraction", "min_videos", "allow_untrained",
)  # fmt: skip


def _take_project(ctx: click.Context, param: click.Parameter, is_update: bool) -> bool:
    """Callback of the eager --update: the project file gives the other options."""
    if is_update:
        path = ctx.find_root().params.get("project")
        path = path or find_project(Path.cwd(), tell=console.tell)
        if path is None:
            raise click.UsageError(
                f"--update is for a project, and there is no {PROJECT_FILE} in this folder or "
                "above it; begin one with --dataset and --videos"
            )
        ctx.default_map = option_defaults(ctx.command, "init", read_project(path), path=path)
        ctx.meta[PROJECT] = path
    return is_update


@click.command(
    cls=console.Command,
    common=(
        "--dataset", "--videos", "--annotations", "--store", "--runs", "--allow-missing", "--force",
        "--update", "--dry-run",
    ),
    example="twostream init --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist\n"
    "twostream init --dataset folder --videos clips --group-pattern '_(g[0-9]+)_'\n"
    "twostream init --dataset timed --videos films --truth activity_net.json\n"
    "twostream init --update --dry-run",
)  # fmt: skip
@click.option(
    "--dataset",
    required=True,
    type=PlugIn(DATASETS),
    help=f"{any_of(DATASETS)}. toy, toy-long and toy-where are generated; folder is one folder a "
    "class.",
)
@click.option("--videos", type=OUT_PATH, help="Folder of the videos.")
@click.option(
    "--annotations",
    type=OUT_PATH,
    help="Folder of the official lists. For folder: your own lists, or where to write them.",
)
@click.option("--store", type=OUT_PATH, default=Path("store"), help="Folder for frames and flow.")
@click.option(
    "--runs", type=OUT_PATH, default=Path("runs"), help="Folder for trained networks and scores."
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
        help="Share of the test videos; for --truth without subsets, of the test films.",
    ),
    click.option(
        "--min-videos",
        type=click.IntRange(1),
        default=1,
        help="Leave out classes with fewer videos.",
    ),
)
@console.section(
    "Lists made for --dataset timed",
    click.option(
        "--truth",
        type=click.Path(exists=True, path_type=Path),
        help="What happens in long videos, as for `twostream events`: ActivityNet's JSON, CSV, "
        "THUMOS14's or frame-wise label files. Its events, and the pauses between them as the "
        "class background, become clips.  [default: the lists in --annotations]",
    ),
    click.option(
        "--fps",
        type=click.FloatRange(0, min_open=True),
        help="Frames a second of a --truth in frames.",
    ),
    click.option(
        "--without-pauses",
        is_flag=True,
        help="Make no clips of the pauses; what the truth itself labels background stays.",
    ),
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace an existing twostream.toml (groups.csv, toy videos, lists of --truth).",
)
@click.option(
    "--update",
    is_flag=True,
    is_eager=True,
    callback=_take_project,
    help="Bring this project's lists up to date with the videos: added, gone, moved ones, renamed "
    "classes. No video changes its side of a split. Other data sets than folder are only checked "
    "again.",
)
@click.option("--dry-run", is_flag=True, help="Show what --update would do, and write nothing.")
@console.quiet_option
@console.json_option
def init(quiet: bool, as_json: bool, **options: Any) -> None:
    """Check a data set's lists against its videos and write the project file twostream.toml."""
    from twostream.data import make_lists

    update = options["update"]
    typed = _check_options(options)
    dataset, videos, annotations = options["dataset"], options["videos"], options["annotations"]
    lines = []
    if dataset in ("toy", "toy-long", "toy-where") and not update:
        videos, annotations = videos or Path("toy/videos"), annotations or Path("toy/annotations")
        _make_toy(dataset, videos, annotations, quiet=quiet)
    if videos is None:
        raise click.UsageError("Missing option '--videos': the folder of the videos.")
    group_of = _read_groups(options, typed)
    if dataset == "folder" or options["truth"]:
        annotations = annotations or Path("annotations")
    if annotations is None:
        raise click.UsageError("Missing option '--annotations': the folder of the official lists.")
    facts: dict[str, Any] = {}
    if dataset == "folder" and update:
        plan = _plan_update(videos, annotations, group_of, options)
        facts = {"update": plan.facts()}
        lines += _update_lines(plan, is_written=not options["dry_run"])
    elif dataset == "folder" and not (annotations / "classInd.txt").exists():
        lines += _make_lists(videos, annotations, group_of or str, options)
    elif options["truth"] and not update:
        lines += _make_timed_lists(annotations, options)
    elif group_of and not options["dry_run"]:
        path = make_lists.add_groups(
            dataset, annotations, group_of, replaces=options["force"], keeps=update
        )
        lines.append(f"wrote {path}")
    elif dataset == "folder":
        lines.append(
            f"took the lists in {annotations} as they are; --update brings them up to date"
        )
    if options["dry_run"] and facts:
        if as_json:
            console.print_json(facts)
        else:
            console.show(*lines)
        return
    report = make_lists.take_inventory(dataset, videos, annotations, store=options["store"])
    if report["groups"] is None:
        cure = "--group-pattern or --group-file"
        if report["groups_at"]:
            file, column = map(str, report["groups_at"])
            cure = shlex.join(["--group-file", file, "--group-column", column])
            cure += f" (with --force, once {annotations} is removed)" * (dataset == "folder")
            cure += " --force" * (dataset != "folder")
        lines.append(
            "each video counts as a group of its own; if several show the same scene, give "
            f"{cure}, or accuracy comes out too high, intervals too narrow"
        )
    problem = _problem(report, annotations, options)
    if not (problem or update):
        _write_project(options | {"videos": videos, "annotations": annotations}, typed)
        lines.append(f"wrote {PROJECT_FILE}")
        if ":" in dataset:
            lines.append(
                f"no file may run code, {PROJECT_FILE} neither: give --dataset {dataset} with each "
                "command, or --trust-plugins"
            )
    if as_json:
        console.print_json(report | facts)
    else:
        console.show(*_report_lines(report), *lines)
    if problem:
        unwritten = "" if update else f"; {PROJECT_FILE} was not written"
        forced = "; --force too, as groups.csv is there now" if group_of and not update else ""
        raise InputError(f"{problem}{unwritten}{forced}")
    if not as_json:
        is_stored = report["store"] and not report["store"]["not_stored"]
        following = ["train", "--stream", "spatial"] if is_stored else ["extract-flow"]
        console.tell_next(*following)


def _make_toy(dataset: str, videos: Path, annotations: Path, *, quiet: bool) -> None:
    """Generate a toy data set: its lists, and its videos that are not there yet."""
    from twostream.data import toy

    if dataset == "toy":
        toy.write_toy_lists(annotations, toy.CLASSES, toy.NUM_GROUPS)
        films = toy.toy_films()
    elif dataset == "toy-where":
        toy.write_toy_lists(annotations, toy.WHERE_CLASSES, toy.WHERE_GROUPS)
        films = toy.where_films()
    else:
        toy.write_long_lists(annotations)
        films = toy.long_films()
    generated = toy.generate(videos, films)
    for _ in console.progress(
        generated, total=len(films), label="toy videos", unit="video", quiet=quiet
    ):
        pass


def _read_groups(options: dict[str, Any], typed: set[str]) -> Callable[[str], str] | None:
    """How the group of a video is found, if the user says so."""
    from twostream.data import make_lists

    if options["update"] and len(typed & {"group_pattern", "group_file"}) == 1:
        # It takes the place of the remembered one.
        options["group_file" if "group_pattern" in typed else "group_pattern"] = None
    if options["group_pattern"] and options["group_file"]:
        raise click.UsageError("--group-pattern and --group-file both give groups; give one.")
    if options["group_pattern"]:
        return make_lists.groups_by_pattern(options["group_pattern"])
    if options["group_file"]:
        return make_lists.groups_from_csv(options["group_file"], column=options["group_column"])
    return None


def _write_project(options: dict[str, Any], typed: set[str]) -> None:
    """Write the project file: where everything is, and what `init --update` is to remember."""
    settings: dict[str, Any] = {"dataset": options["dataset"]}
    settings |= {key: _from_here(options[key]) for key in PATH_KEYS}
    if options["allow_missing"]:
        settings["allow-missing"] = True
    if remembered := {key: options[key] for key in REMEMBERED if key in typed}:
        settings["init"] = {
            key.replace("_", "-"): _from_here(value) if isinstance(value, Path) else value
            for key, value in remembered.items()
        }
    title = "Written by `twostream init`. Paths are relative to this file, which may be moved."
    write_toml(Path(PROJECT_FILE), settings, title=title)


def _problem(report: dict[str, Any], annotations: Path, options: dict[str, Any]) -> str:
    """Why there can be no project with these lists and videos, and the cure; or nothing."""
    if not report["videos"]:
        return (
            f"{options['videos']}: none of the {len(report['missing']):,} listed videos is "
            "below this folder; is --videos right, and --annotations?"
        )
    for split in report["splits"]:
        if split["untrained"] and not options["allow_untrained"]:
            return (
                f"{annotations}, split {split['split']}: classes with test videos, but none to "
                f"learn from: {_counted(split['untrained'])}; do labels count from 0 in both "
                "lists? --allow-untrained takes them as they are"
            )
    if any(split["missing"] for split in report["splits"]) and not options["allow_missing"]:
        return (
            "videos are missing; complete the folder, or give --allow-missing to work with the "
            "ones that are there"
        )
    return ""


def _from_here(path: Path) -> str:
    """A path for the project file: relative, but absolute if it is so and leads elsewhere.

    The project may be moved; what lies elsewhere does not go with it.
    """
    stays = path.is_absolute() and not path.is_relative_to(Path.cwd())
    return (path if stays else Path(os.path.relpath(path))).as_posix()


def _check_options(options: dict[str, Any]) -> set[str]:
    """The names of the options that were typed.

    Raises:
        InputError, click.UsageError: they contradict each other or what is there.
    """
    typed = console.typed_options()
    if not options["update"]:
        if options["dry_run"]:
            raise click.UsageError("--dry-run belongs to --update.")
        if Path(PROJECT_FILE).exists() and not options["force"]:
            raise InputError(
                f"{PROJECT_FILE} exists in this folder already; --update brings its lists up to "
                "date, --force replaces it"
            )
        return typed
    if options["force"]:
        raise click.UsageError("--update keeps what is there, --force replaces it; give one.")
    if elsewhere := sorted(typed & {"dataset", *PATH_KEYS}):
        raise click.UsageError(
            f"--update takes {', '.join(elsewhere)} from "
            f"{click.get_current_context().meta[PROJECT]}; change it there."
        )
    return typed


def _plan_update(
    videos: Path, annotations: Path, group_of: Callable[[str], str] | None, options: dict[str, Any]
) -> ListUpdate:
    """What changes in the lists of a folder; it is written, but for --dry-run."""
    from flow_extract.store.reader import entry_path, read_header
    from flow_extract.video.find_videos import find_videos
    from twostream.data.training_videos import VIDEOS, read_videos
    from twostream.data.update_lists import finish_update, plan_update, write_update

    on_disk = find_videos(videos, store=options["store"]).videos

    def same_file(old: str, new: str) -> bool | None:
        """By its size when it was extracted, where that is known."""
        try:
            size = read_header(entry_path(options["store"], old))["source"].get("size")
        except InputError:
            return None
        known = size is not None and on_disk[new].is_file()
        return size == on_disk[new].stat().st_size if known else None

    if not options["dry_run"]:
        finish_update(annotations)
    source = click.get_current_context().get_parameter_source("test_fraction")
    plan = plan_update(
        annotations,
        list(on_disk),
        group_of=group_of,
        test_fraction=None if source is ParameterSource.DEFAULT else options["test_fraction"],
        min_videos=options["min_videos"],
        chose_epochs={
            split: {
                video.name
                for path in sorted((options["runs"] / f"folder-split{split}").glob(f"*/{VIDEOS}"))
                for video in read_videos(path)
                if video.part == "val"
            }
            for split in SPLITS
        },
        same_file=same_file,
    )
    if not options["dry_run"]:
        write_update(annotations, plan)
    return plan


def _update_lines(plan: ListUpdate, *, is_written: bool) -> list[str]:
    """What an update changes, with the names of a few videos of each kind."""

    def counted(names: Sequence[str], what: str) -> str:
        return f"{len(names):,} {what}: {some_of(names, limit=SHOWN)}"

    lines = []
    for videos, text in ((plan.added, "added"), (plan.returned, "back on their sides")):
        if videos:
            lines.append(counted(list(videos), text))
            for split in sorted({split for sides in videos.values() for split in sides}):
                counts = Counter(sides[split] for sides in videos.values() if split in sides)
                sides = ", ".join(f"{counts[key]:,} {key}" for key in SUBSETS if counts[key])
                lines.append(f"  split {split}: {sides}")
    if plan.gone:
        lines.append(f"{counted(plan.gone, 'gone')}; removed.csv keeps their sides")
    moved, renamed = (
        [f"{old} -> {new}" for old, new in names.items()] for names in (plan.moved, plan.renamed)
    )
    if moved:
        lines.append(counted(moved, "moved"))
    if renamed:
        lines.append(f"renamed classes: {some_of(renamed, limit=SHOWN)}")
    if plan.new_classes:
        lines.append(f"new classes: {_counted(plan.new_classes)}")
    if plan.ended_classes:
        lines.append(f"classes without a video, taken out: {some_of(plan.ended_classes)}")
    if plan.too_small:
        lines.append(f"left out, as classes of too few videos: {_counted(plan.too_small)}")
    for split, count in plan.pinned.items():
        lines.append(
            f"split {split}: {count:,} videos are listed for validation now, as runs have chosen "
            "epochs on them"
        )
    if not plan.files:
        return [*lines, "the lists are up to date"]
    files = some_of(sorted(plan.files), limit=len(plan.files))
    return [*lines, f"wrote {files}" if is_written else f"--dry-run: would write {files}"]


def _counted(counts: Mapping[str, int]) -> str:
    """`walk (3), run (2) and 4 more`."""
    return some_of([f"{name} ({count:,})" for name, count in counts.items()], limit=SHOWN)


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


def _make_timed_lists(annotations: Path, options: dict[str, Any]) -> list[str]:
    """Write the lists of clips of a ground truth, and say what was done."""
    from fusion.events.truth import read_truth
    from twostream.data.timed_lists import write_timed_lists

    if options["dataset"] != "timed":
        raise click.UsageError("--truth belongs to --dataset timed.")
    if (annotations / "clips01.csv").exists() and not options["force"]:
        raise InputError(f"{annotations / 'clips01.csv'}: it is there already; --force replaces it")
    return write_timed_lists(
        annotations,
        read_truth(options["truth"], fps=options["fps"]),
        test_fraction=options["test_fraction"],
        pauses=not options["without_pauses"],
    )


def _report_lines(report: dict[str, Any]) -> list[str]:
    """Classes, videos and splits, and a few of the videos that do not fit."""
    groups = f", in {report['groups']:,} groups" if report["groups"] else ""
    counts = f"{report['classes']} classes, {report['videos']:,} videos found{groups}"
    lines = [f"{report['dataset']}: {counts}"]
    for split in report["splits"]:
        val = f"{split['val']:,} val, " if split["val"] else ""
        lines.append(
            f"  split {split['split']}: {split['train']:,} train, {val}{split['test']:,} test; "
            f"{split['missing']:,} of them missing"
        )
        for key, text in (
            ("untrained", "no training video, but test videos"),
            ("untested", "no test video, but training videos"),
        ):
            if split[key]:
                lines.append(f"    {text}: class {_counted(split[key])}")
        if split["parted"]:
            cure = ""
            if report["dataset"] == "folder":
                cure = "; remove the folder of the lists, and the same command draws whole groups"
            lines.append(
                f"    {split['parted']:,} groups have test videos and others to learn from: "
                f"accuracy will be lower on new groups{cure}"
            )
    if report["empty"]:
        lines.append(f"  no video at all: class {some_of(report['empty'], limit=SHOWN)}")
    for key, text in (("missing", "missing"), ("unlisted", "in no list"), ("ignored", "no videos")):
        if report[key]:
            lines.append(f"  {text}: {some_of(list(report[key]), limit=SHOWN)}")
    if report["elsewhere"]:
        places = [f"{name} at {place}" for name, place in report["elsewhere"].items()]
        lines.append(f"  found by their file names: {some_of(places, limit=SHOWN)}")
    if stored := report["store"]:
        lines.append(f"  in the store: {stored['stored']:,} of them")
        for key, text in (("not_stored", "not in the store"), ("unlisted", "stored, in no list")):
            if stored[key]:
                names = some_of(stored[key], limit=SHOWN)
                lines.append(f"  {text}: {len(stored[key]):,}, {names}")
    lines += [f"  refused: {name}: {reason}" for name, reason in report["refused"].items()]
    return lines
