"""`twostream run`."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusion.combining.strategies import COMPARED, STRATEGIES
from twostream.commands import console
from twostream.commands.option_files import PROJECT_FILE, read_project
from twostream.commands.option_types import FILE, FOLDER, SPLITS, PlugIn, any_of, numbers
from twostream_base.errors import InputError

if TYPE_CHECKING:
    from twostream.data.recognise import Recognised

STREAMS = ("spatial", "motion")
# Options that `init` alone gets: they mean nothing to a project that has begun.
OF_INIT = ("annotations", "dataset", "group_pattern", "group_file", "group_column")
TEST_FRACTION = 0.3  # of `init`


@click.command(
    cls=console.Command,
    example="twostream run clips\n"
    "twostream run UCF-101 --annotations ucfTrainTestlist --splits 1,2,3 \\\n"
    "    --model resnet18,resnet101\n"
    "twostream run clips --seeds 0,1,2 -- --epochs 10 --batch-size 16",
)
@click.argument("videos", type=FOLDER)
@click.argument("train_words", metavar="[-- TRAIN OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--annotations",
    type=FOLDER,
    help="Folder of the lists; without one, the videos lie in one folder a class.",
)
@click.option("--dataset", help="What the lists are, where they are not recognised.")
@click.option("--splits", type=SPLITS, default="1", help="Official or random splits of the videos.")
@click.option(
    "--model", "models", default="resnet18", metavar="NAME,...", help="Networks, for both streams."
)
@click.option(
    "--seeds",
    type=numbers("seeds", least=0),
    default="0",
    metavar="N,...",
    help="Seeds, one training each.",
)
@click.option("--method", default="dis", metavar="NAME", help="Optical flow method.")
@click.option(
    "--short-side",
    type=click.IntRange(1),
    help="Resize the short side of frames to this, pixels.  [default: no resizing]",
)
@click.option(
    "--strategy",
    type=PlugIn(STRATEGIES),
    default="mean",
    help=f"How the streams are fused: {any_of(STRATEGIES)}.",
)
@click.option(
    "--group-pattern",
    metavar="REGEX",
    help="The group of a video (scene, film, person) is what the parentheses match in its name.",
)
@click.option("--group-file", type=FILE, help="CSV file with the groups, as for `init`.")
@click.option("--group-column", help="Its column with the groups.")
@click.option("--allow-missing", is_flag=True, help="Go on when listed videos are missing.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done, and how long.")
@console.json_option
def run(
    videos: Path, train_words: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Do everything, in this folder: from VIDEOS to a table and a report.

    The folder is recognised, the time is estimated, and every command is printed before it runs; so
    each can be run by hand. Stopped at any moment, the same line goes on. Options after -- go to
    `twostream train`.
    """
    from twostream.data.recognise import recognise

    if as_json and not dry_run:
        raise click.UsageError("--json is for --dry-run: the commands print their own results")
    if options["strategy"] == "weighted":
        raise click.UsageError("--strategy weighted needs weights: give them to `fuse` afterwards.")
    has_project = Path(PROJECT_FILE).exists()
    project = read_project(Path(PROJECT_FILE)) if has_project else {}
    if has_project and Path(project.get("videos", "")).resolve() != videos.resolve():
        raise InputError(
            f"{PROJECT_FILE} in this folder is about {project.get('videos')}, not {videos}; "
            "work in another folder"
        )
    known_of = {**project.get("init", {}), **project}
    for name in OF_INIT if project else ():
        key, value = name.replace("_", "-"), options[name]
        before = known_of.get(key)
        if value and before and os.path.abspath(str(value)) != os.path.abspath(str(before)):
            raise InputError(
                f"--{key} {value}: the project in this folder began with {before}; change it by "
                "`twostream init --update`, or work in another folder"
            )
    lists = options["annotations"] or project.get("annotations")
    dataset = options["dataset"] or project.get("dataset")
    known = recognise(videos, lists and Path(lists), store=Path("store"), dataset=dataset)
    job = Job(known, videos, train_words, options, is_started=bool(project))
    plan = job.plan()
    if as_json:
        console.print_json(plan)
        return
    groups = known.groups
    for name in ("group_pattern", "group_file"):
        if options[name]:
            groups = f"groups by --{name.replace('_', '-')} {options[name]}"
    why = f"{known.why}, {groups}" if groups else known.why
    console.show(*_plan_lines(f"{videos}: {known.dataset} ({why})", plan))
    if dry_run:
        return
    for words in job.commands():
        # Some videos that fail are no end: training says what is missing.
        console.run_command(Path(), *words, accepts=(0, 1) if words[0] == "extract-flow" else (0,))
    console.show("", "All is done: read table.md and report.html.")


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with a data set.

    Args:
        train_words: options that `train` gets besides.
        options: of `run`.
        is_started: there is a project file already.
    """

    known: Recognised
    videos: Path
    train_words: tuple[str, ...]
    options: dict[str, Any]
    is_started: bool

    def commands(self) -> list[list[str]]:
        """The commands, in their order, without `twostream`."""
        options = self.options
        splits = ",".join(map(str, self.splits))
        chosen = ["--splits", splits] if len(self.splits) > 1 else ["--split", splits]
        strategy = ["--strategy", options["strategy"]]
        commands = [] if self.is_started else [self._init()]
        extract = ["extract-flow", "--method", options["method"]]
        if options["short_side"]:
            extract += ["--short-side", str(options["short_side"])]
        commands.append(extract)
        commands += [
            self.train(stream, split=split, model=model, seed=seed)
            for seed, split, model, stream in product(
                options["seeds"], self.splits, self.models, STREAMS
            )
        ]
        commands += [
            ["fuse", *chosen, "--model", model, *self._name(seed), *strategy]
            for model, seed in product(self.models, options["seeds"])
        ]
        commands.append(["table", "--splits", splits, *strategy, "--out", "table.md"])
        several = len(self.splits) * len(self.models) * len(options["seeds"]) > 1
        # The report compares several strategies by itself; `--strategy` would leave only one.
        besides = [] if options["strategy"] in COMPARED else strategy
        report_of = ["--splits", splits] if several else chosen
        commands.append(["report", *report_of, *besides])
        return commands

    @property
    def splits(self) -> tuple[int, ...]:
        """The numbers of the splits."""
        splits: tuple[int, ...] | str = self.options["splits"]
        if isinstance(splits, str):
            return self.known.splits
        if strange := set(splits) - set(self.known.splits):
            there = ", ".join(map(str, self.known.splits))
            raise InputError(f"--splits: there is no split {min(strange)}, only {there}")
        return splits

    @property
    def models(self) -> list[str]:
        """The networks, by name."""
        return [name.strip() for name in self.options["models"].split(",")]

    def train(self, stream: str, *, split: int, model: str, seed: int) -> list[str]:
        """The command that trains one stream."""
        words = ["train", "--stream", stream, "--split", str(split), "--model", model]
        words += ["--seed", str(seed), *self._name(seed)]
        if self.options["allow_missing"]:
            words.append("--allow-missing")
        return [*words, *self.train_words]

    def _name(self, seed: int) -> list[str]:
        """What tells the runs of several seeds apart."""
        return ["--name", f"seed{seed}"] if len(self.options["seeds"]) > 1 else []

    def _init(self) -> list[str]:
        words = ["init", "--dataset", self.options["dataset"] or self.known.dataset]
        words += ["--videos", str(self.videos)]
        for name in ("annotations", "group_pattern", "group_file", "group_column"):
            if value := self.options[name]:
                words += [f"--{name.replace('_', '-')}", str(value)]
        if not (self.options["group_pattern"] or self.options["group_file"]):
            if self.known.group_pattern:
                words += ["--group-pattern", self.known.group_pattern]
            elif self.known.group_file:
                file, column = self.known.group_file
                words += ["--group-file", file, "--group-column", column]
        return [*words, "--allow-missing"] if self.options["allow_missing"] else words

    def plan(self) -> dict[str, Any]:
        """What is not done yet will take here, hours and gigabytes, and the commands.

        The load of the machine's cores is told too: on a busy one the hours are too many.
        """
        from flow_extract.extraction.estimate import estimate_methods
        from flow_extract.extraction.executor import available_cores
        from flow_extract.extraction.settings import extraction_settings
        from flow_extract.store.reader import entry_path

        method, known = self.options["method"], self.known
        side = self.options["short_side"]
        settings = extraction_settings(method, {}, bound=20.0, short_side=side)
        store = Path("store")
        lacking = [
            path for name, path in known.videos.items() if not entry_path(store, name).exists()
        ]
        extraction = {"method": method, "videos": len(lacking), "hours": 0.0, "gigabytes": 0.0}
        if lacking:
            flow = estimate_methods(lacking, {method: settings}, workers=available_cores())
            extraction |= {key: flow["methods"][0][key] for key in ("hours", "gigabytes")}
        trainings = [
            {"stream": stream, "model": model, **self._training(model, stream)}
            for model, stream in product(self.models, STREAMS)
        ]
        load = None
        with suppress(AttributeError, OSError):  # Windows has none, some containers neither
            load = os.getloadavg()[0]
        return {
            "dataset": known.dataset,
            "videos": len(known.videos),
            "classes": known.classes,
            "commands": [shlex.join(["twostream", *words]) for words in self.commands()],
            "extraction": extraction,
            "trainings": trainings,
            "times": len(self.splits) * len(self.options["seeds"]),
            "hours": extraction["hours"] + sum(t["times"] * t["hours"] for t in trainings),
            "load": load,
            "cores": available_cores(),
        }

    def _training(self, model: str, stream: str) -> dict[str, Any]:
        """Hours of one training, and how many times it is yet to be done.

        Lists that are yet to be made are counted by their shares.
        """
        from twostream.commands.train import complete_options, train
        from twostream.training.options import TrainOptions
        from twostream.training.plan import estimate_training

        names = {field.name for field in fields(TrainOptions)}
        test = self.known.test or round(TEST_FRACTION * len(self.known.videos))
        words = self.train(stream, split=self.splits[0], model=model, seed=0)[1:]
        # Nothing is read from these folders, which may have to be made yet; they must only exist.
        data = dict.fromkeys(("annotations", "store", "runs"), self.videos)
        with train.make_context(
            "train", words, default_map={"dataset": self.known.dataset, **data}
        ) as context:
            options = {k: v for k, v in context.params.items() if k in names}
            settings, _ = complete_options(options)
        settings = replace(settings, runs="runs")
        runs = [
            replace(settings, split=split, seed=seed, name=name[1] if name else settings.name)
            for split, seed in product(self.splits, self.options["seeds"])
            for name in [self._name(seed)]
        ]
        times = sum(not (of.folder / "scores" / "test.safetensors").exists() for of in runs)
        if not times:
            return {"hours": 0.0, "times": 0}
        estimate = estimate_training(
            settings,
            num_classes=self.known.classes,
            train=self.known.train or len(self.known.videos) - test,
            test=test,
        )
        return {"hours": estimate["seconds"] / 3600, "times": times}


def _plan_lines(why: str, plan: dict[str, Any]) -> list[str]:
    extraction = plan["extraction"]
    lines = [f"{why}, {plan['videos']:,} videos, {plan['classes']} classes"]
    if lacking := extraction["videos"]:
        of_them = f"{lacking:,} videos, " if lacking < plan["videos"] else ""
        lines.append(
            f"  extract-flow by {extraction['method']}: {of_them}about "
            f"{_duration(extraction['hours'])}, {extraction['gigabytes']:.2g} GB"
        )
    else:
        lines.append(f"  extract-flow by {extraction['method']}: done")
    for training in plan["trainings"]:
        several = f"{training['times']} times " if training["times"] > 1 else ""
        text = f"{several}at most about {_duration(training['hours'])}"
        lines.append(
            f"  train {training['stream']} {training['model']}: "
            f"{text if training['times'] else 'done'}"
        )
    lines.append(f"  in all about {_duration(plan['hours'])}; stop and repeat the line at will")
    if plan["load"] and plan["load"] > 1.5 * plan["cores"]:
        lines.append(
            f"  measured on a busy machine (load {plan['load']:.0f} on {plan['cores']} cores); "
            "expect less when it is idle"
        )
    return lines


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    minutes = max(1, round(60 * hours))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"
