"""No file runs code: marker programs in every text of every file format, through every reader.

A real file is taken, and one text in it after the other becomes the name of a program. Whatever the
command then says, it ends with a line and an exit code, and the program has not run: an audit hook
of Python sees it, however it is started.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import twostream as face
from flow_extract.extraction.executor import Outcome
from flow_extract.layouts import convert
from flow_extract.store.header import recorded_settings, settings_hash
from flow_extract.store.reader import entry_path, read_header
from flow_extract.video.decode import VideoError
from fusion.reporting.content import read_runs
from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import COMMANDS, WITHOUT_PROJECT, cli
from twostream.data.training_videos import RunVideo, digest_of
from twostream.models.checkpoint import (
    NetworkSpec,
    load_network,
    network_from_spec,
    save_checkpoint,
)
from twostream.sequence.checkpoint import SequenceNetworkSpec
from twostream.sequence.network import build_network
from twostream.sequence.score_file import SequenceScores, write_sequence_scores
from twostream.training import run_log
from twostream.training.data import gather
from twostream.training.run import Run
from twostream_base.errors import InputError
from twostream_base.files import sha256_file

from .conftest import CLASSES, MiniProject
from .training.test_trainer import QUICK

PLUG_IN = "marker_plug_in"  # a file of the current folder
PROGRAMS = (f"{PLUG_IN}:go", "subprocess:Popen", "os:system", "builtins:eval")
# Of a network of torch without a plug-in, and of one that keeps every kind of state.
TRAINING = ["--stream", "motion", "--model", "shufflenet_v2_x0_5", "--input-size", "32", "--device",
            "cpu", "--precision", "fp32", "--val-fraction", "0.3"]  # fmt: skip
TINY = [*QUICK, "--model", "tiny", "--stream", "motion", "--ema", "0.9", "--runs", "runs"]
NAMES = [f"{name}/v_{name}_g0{group}_c01" for name in CLASSES for group in (1, 2)]
seen: list[str] = []
armed = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: what runs programs, and whose name of a module is the marker's."""
    if armed and (
        event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
        or (event == "import" and arguments[0] == PLUG_IN)
        or (event == "compile" and PLUG_IN in str(arguments[1]))
    ):
        seen.append(f"{event} {arguments}")


sys.addaudithook(watch)


def stop(*_: object, **__: object) -> Any:
    """In place of the work that a command would do now: all names are resolved."""
    raise InputError("stopped by the test")


def inline(function: Callable[[Any], Any], jobs: Any, **options: Any) -> Iterator[Any]:
    """`executor.run_jobs` without processes."""
    conclude = options.get("conclude", lambda job, outcome: outcome)
    for job in jobs:
        yield job, conclude(job, Outcome("returned", function(job)))


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Result, list[str]]]]:
    """Run a command in a folder with the marker; also return which programs have run."""
    global armed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    marker = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\ngo = print\n"
    (tmp_path / f"{PLUG_IN}.py").write_text(marker)
    monkeypatch.setattr("flow_extract.extraction.executor.run_jobs", inline)
    for function in (convert.convert_to_store, convert.convert_to_layout):
        monkeypatch.setitem(function.__kwdefaults__, "engine", inline)
    recorded = __import__("importlib").import_module

    def import_module(name: str, package: str | None = None) -> Any:
        if name in ("subprocess", "os", "builtins", PLUG_IN):
            seen.append(f"import {name}")
        return recorded(name, package)

    monkeypatch.setattr("twostream_base.plugins.importlib.import_module", import_module)

    def invoke(*arguments: object) -> Result:
        seen.clear()
        result = CliRunner().invoke(cli, [*map(str, arguments)])
        if (tmp_path / "ran").exists():
            seen.append("the marker")
            (tmp_path / "ran").unlink()
        sys.modules.pop(PLUG_IN, None)
        line = f"{arguments}: {result.output}{result.exception!r}"
        assert seen == [], line
        assert isinstance(result.exception, SystemExit | None), line
        assert result.exit_code in (0, 1, 2), line
        return result

    armed = True
    yield invoke
    armed = False


class Mutation(NamedTuple):
    """A JSON value with a program in one place."""

    place: str
    program: str
    value: Any


def mutations(value: Any, *, items: int = 2) -> Iterator[Mutation]:
    """Each text, number and tensor becomes a program; each plug-in with options, one with them.

    Names of plug-ins are tried with all programs, others with one, in turn; of a list, the first
    `items` values: what follows is read as they are.
    """
    turn = cycle(PROGRAMS)

    def walk(node: Any, place: str) -> Iterator[tuple[str, str, Any]]:
        if isinstance(node, str):
            of_plug_in = place.rpartition(".")[2] in ("model", "consensus", "name", "backbone")
            for program in PROGRAMS if of_plug_in else (next(turn),):
                yield place, program, program
        elif isinstance(node, Mapping):
            for key, item in node.items():
                for where, program, changed in walk(item, f"{place}.{key}"):
                    yield where, program, {**node, key: changed}
            if "name" in node and "options" in node:
                options = {"args": "exit 1", "shell": True}
                yield place, PROGRAMS[1], {"name": PROGRAMS[1], "options": options}
            elif place.endswith("options"):
                yield place, PROGRAMS[0], {**node, "weights": PROGRAMS[0]}
        elif isinstance(node, list | tuple):
            for index, item in enumerate(node[:items]):
                for where, program, changed in walk(item, f"{place}[{index}]"):
                    yield where, program, [*node[:index], changed, *node[index + 1 :]]
        elif node is not None:
            yield place, (program := next(turn)), program

    for place, program, changed in walk(value, ""):
        yield Mutation(place, program, changed)


def header_of(path: Path) -> tuple[str, dict[str, Any]]:
    data = path.read_bytes()
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    ((key, text),) = table["__metadata__"].items()
    return key, json.loads(text)


def with_header(path: Path, header: Any) -> None:
    """Replace the header of a tensor file, as whoever wants to harm would."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    ((key, _),) = table["__metadata__"].items()
    table["__metadata__"][key] = json.dumps(header)
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


@pytest.fixture(scope="module")
def network(mini: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a small network that was not trained."""
    settings = recorded_settings(read_header(entry_path(mini.root / "store", NAMES[0])))
    spec = NetworkSpec(
        model="shufflenet_v2_x0_5", model_options={}, stream="motion", clip_length=10,
        frame_interval=1, resize=(), class_names=CLASSES, num_segments=3, consensus="topk",
        consensus_options={"k": 2}, input_size=32, epoch=0, selected_on="val",
        flow={"method": settings["method"], "bound": 20.0}, extraction=settings,
    )  # fmt: skip
    run = tmp_path_factory.mktemp("network") / "run"
    save_checkpoint(run / "best", network_from_spec(spec), spec, {})
    return run


def test_a_checkpoint(
    run: Callable[..., Result], mini: MiniProject, network: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("twostream.scoring.score_run.check_input_sizes", stop)
    monkeypatch.setattr("twostream.prediction.networks.check_input_sizes", stop)
    monkeypatch.setattr("twostream.export.export_run.write_checked", stop)
    monkeypatch.setattr("twostream.training.trainer.check_input_sizes", stop)
    copy, spatial = tmp_path / "run", tmp_path / "spatial"
    shutil.copytree(network, copy)
    weights, sums = copy / "best" / "weights.safetensors", copy / "best" / "SHA256SUMS"
    state = sums.read_text().splitlines()[1]
    _, card = header_of(weights)
    spec = replace(load_network(copy / "best")[0], stream="spatial", clip_length=1, flow={})
    save_checkpoint(spatial / "best", network_from_spec(spec), spec, {})
    train = ("train", *mini.arguments, *TRAINING, "--runs", "new")
    video = mini.root / "videos" / f"{NAMES[0]}.avi"
    readers = [
        ("score", copy, *mini.arguments),
        ("predict", video, "--motion", copy),
        ("features", video, "--run", copy, "--out", "features"),
        ("export", copy, "--out", "network.pt2"),
        (*train, "--weights", weights),
        (*train, "--stream", "spatial", "--weights", "none", "--teacher", copy),
        (*train, "--stream", "joint", "--from", spatial, copy),
    ]
    whole = [run(*reader).output for reader in readers]
    assert all("stopped by the test" in output for output in whole), whole
    turn = cycle(readers)
    plug_ins = {".model", ".consensus", ".extraction.method.name", ".extraction.method"}
    refused, read_by_all = set(), set()
    for mutation in mutations(card):
        with_header(weights, mutation.value)
        sums.write_text(f"{sha256_file(weights)}  weights.safetensors\n{state}\n")
        # Every reader gets each place where code may be named, with one of the programs.
        names_code = re.search("method|model|consensus|options", mutation.place)
        every = names_code and mutation.place not in read_by_all
        read_by_all.add(mutation.place)
        outputs = [run(*reader).output for reader in (readers if every else [next(turn)])]
        texts = [output for output in outputs if "would run code" in output]
        assert all(
            fact in text
            for text in texts
            for fact in (str(copy), repr(mutation.program), "--trust-plugins")
        ), texts
        if texts:
            refused.add(mutation.place)
            with pytest.raises(InputError, match="would run code"):
                face.load(copy)
    assert refused == plug_ins


@pytest.fixture
def trained(run: Callable[..., Result], mini: MiniProject, tiny: str) -> Path:
    """A run of one epoch with everything that a training keeps in its state."""
    done = run("train", *mini.arguments, *TINY, "--epochs", "1")
    assert done.exit_code == 0, done.output
    return Path("runs/ucf101-split1/motion-tiny")


@contextmanager
def refusals() -> Iterator[list[str]]:
    """Errors that the block ends with, each of which names the state of the run and the cure."""
    texts: list[str] = []
    with suppress(InputError):
        try:
            yield texts
        except InputError as error:
            texts.append(str(error))
            raise
    assert all("last/state.pt" in text and "--restart" in text for text in texts), texts


def test_a_training_state(
    run: Callable[..., Result], mini: MiniProject, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each value of `state.pt` by what takes it up; of each kind one by `train` itself."""
    started: list[tuple[Any, ...]] = []
    start = Run.start

    def noted(self: Run, *arguments: Any, **options: Any) -> None:
        started.append((self, arguments, options))
        start(self, *arguments, **options)

    monkeypatch.setattr(Run, "start", noted)
    last = trained / "last"
    content = torch.load(last / "state.pt", weights_only=True)
    again = ["train", *mini.arguments, *TINY, "--epochs", "2"]
    monkeypatch.setattr("twostream.training.trainer.Trainer.train", stop)
    assert "stopped by the test" in run(*again).output
    ((self, arguments, options),) = started
    accepted, kinds = set(), set()
    for mutation in mutations(content):
        torch.save(mutation.value, last / "state.pt")
        sums = (
            f"{sha256_file(last / name)}  {name}\n" for name in ("weights.safetensors", "state.pt")
        )
        (last / "SHA256SUMS").write_text("".join(sums))
        with refusals() as refused:
            start(self, *arguments, **options)
        if not refused:
            accepted.add(mutation.place)
        if (kind := re.sub(r"\d+", "", mutation.place.rpartition(".")[0])) not in kinds:
            kinds.add(kind)
            run(*again)
    rows = {f".state.rows[{n}].{key}" for n in (0, 1) for key in ("run_id", "subset", "note")}
    assert accepted == {".state.run_id", *rows}


def test_the_videos_and_the_card_of_a_run(
    run: Callable[..., Result], mini: MiniProject, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed, scored, and started from; the digest in the card is made to fit the videos."""
    data: list[Any] = []

    def gather_once(options: Any) -> Any:
        if not data:
            data.append(gather(options))
        return data[0]

    monkeypatch.setattr("twostream.training.data.gather", gather_once)
    for place in ("scoring.score_run.check_input_sizes", "training.trainer.Learner"):
        monkeypatch.setattr(f"twostream.{place}", stop)
    commands = [
        ("train", *mini.arguments, *TINY),
        ("train", *mini.arguments, *TINY, "--weights", trained / "last", "--name", "other"),
        ("score", trained, *mini.arguments),
    ]
    assert all("stopped by the test" in run(*command).output for command in commands)
    readers = cycle(commands)
    record, last = trained / "videos.csv.gz", trained / "last"
    weights, whole = last / "weights.safetensors", record.read_bytes()
    _, card = header_of(weights)

    def read_with(card: Any, *, every: bool) -> None:
        for folder in (last, trained / "best"):
            with_header(folder / "weights.safetensors", card)
            sums = (
                f"{sha256_file(folder / name)}  {name}\n"
                for name in ("weights.safetensors", "state.pt")
            )
            (folder / "SHA256SUMS").write_text("".join(sums))
        for _ in range(3 if every else 1):
            run(*next(readers))

    rows = list(csv.reader(io.StringIO(gzip.decompress(whole).decode())))
    for mutation in mutations(rows[:2], items=5):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([*mutation.value, *rows[2:]])
        record.write_bytes(gzip.compress(text.getvalue().encode()))
        digest = digest_of([RunVideo(*row) for row in [*mutation.value[1:], *rows[2:]]])
        fitting = {**card["training_videos"], "sha256": digest}
        read_with({**card, "training_videos": fitting}, every=True)
    record.write_bytes(whole)
    for mutation in mutations(card):
        read_with(mutation.value, every="training_videos" in mutation.place)


def test_checksums_and_a_trusted_plug_in(
    run: Callable[..., Result], mini: MiniProject, network: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("twostream.scoring.score_run.write_score_file", stop)
    copy = tmp_path / "run"
    shutil.copytree(network, copy)
    sums = copy / "best" / "SHA256SUMS"
    words = sums.read_text().split()
    for index, program in zip(range(len(words)), cycle(PROGRAMS), strict=False):
        sums.write_text("  ".join([*words[:index], program, *words[index + 1 :]]) + "\n")
        run("score", copy, *mini.arguments)
    # The same marker does run where the user asks for it: the watch is awake.
    _, card = header_of(copy / "best" / "weights.safetensors")
    with_header(copy / "best" / "weights.safetensors", {**card, "model": PROGRAMS[0]})
    with pytest.raises(AssertionError, match="the marker"):
        run("score", copy, *mini.arguments, "--trust-plugins")


def test_a_store(
    run: Callable[..., Result], mini: MiniProject, network: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("twostream.scoring.score_run.check_input_sizes", stop)
    store, name = tmp_path / "store", NAMES[0]
    path = entry_path(store, name)
    path.parent.mkdir(parents=True)
    shutil.copy(entry_path(mini.root / "store", name), path)
    shutil.copy(mini.root / "store" / "manifest.jsonl", store)
    whole, header = path.read_bytes(), header_of(path)[1]
    readers = [
        ("show-flow", name, "--store", store, "--out", "flow.png", "--frames", "0"),
        ("convert-flow", store, tmp_path / "pictures", "--from", "store", "--to", "uv"),
        ("score", network, *mini.arguments[:-1], store, "--allow-missing"),
        ("check-flow", "--store", store, "--deep", "--repair"),
    ]
    turn = cycle(readers)
    for mutation in mutations({k: header[k] for k in header if k != "sha256"}):
        changed = {**mutation.value, "sha256": header["sha256"]}
        hashed = {**changed, "settings_hash": settings_hash(recorded_settings(changed))}
        for value in [changed] if "settings_hash" in mutation.place else [hashed]:
            path.write_bytes(whole)
            with_header(path, value)
            for reader in readers if "method" in mutation.place else [next(turn)]:
                run(*reader)
            shutil.rmtree(tmp_path / "pictures", ignore_errors=True)
    path.write_bytes(whole)
    for file, text in (
        (store / "manifest.jsonl", (store / "manifest.jsonl").read_text().splitlines()[0]),
        (entry_path(store, "broken", ".problem.json"), json.dumps({
            "name": "broken", "status": "failed", "reason": "no frames", "settings_hash": "x",
            "source": {"path": "broken.avi", "size": 1, "mtime_ns": 1},
        })),
    ):  # fmt: skip
        for mutation in mutations(json.loads(text)):
            file.write_text(json.dumps(mutation.value) + "\n")
            run("check-flow", "--store", store)


@pytest.fixture
def score_files(tmp_path: Path) -> list[Path]:
    """Score files of two streams, as `twostream score` writes them."""
    about = {
        "stream": "spatial", "model": "resnet18", "consensus": {"name": "mean", "options": {}},
        "dataset": "ucf101", "split": 1, "subset": "test", "protocol": "clips19",
        "protocol_card": {"name": "clips19", "crops": ["centre"]}, "checkpoint": "0" * 64,
        "selected_on": "val", "flow": {"method": "dis", "bound": 20.0},
        "versions": {"twostream": "0.1.0", "torch": "2.10"},
    }  # fmt: skip
    rng = np.random.default_rng(0)
    paths = []
    for stream in ("spatial", "motion"):
        table = ScoreTable(
            names=tuple(NAMES), class_names=CLASSES, labels=np.array([0, 0, 1, 1]),
            scores=rng.normal(size=(4, 3, 1, 2)).astype(np.float32), score_type="logits",
            metadata={**about, "stream": stream},
        )  # fmt: skip
        paths.append(tmp_path / f"{stream}.safetensors")
        write_scores(paths[-1], table)
    return paths


def test_a_score_file(run: Callable[..., Result], score_files: list[Path]) -> None:
    first, second = score_files
    _, header = header_of(first)
    fixed = {key: header[key] for key in ("sha256", "format")}
    readers = cycle([
        ("fuse", first, second), ("compare", first, second), ("tune", first, second),
        ("scores", "check", first, second), ("fuse", first, second, "--out", "f.safetensors"),
    ])  # fmt: skip
    for mutation in mutations({key: header[key] for key in header.keys() - fixed.keys()}):
        with_header(first, {**mutation.value, **fixed})
        run("scores", "show", first)
        for _ in range(2):
            run(*next(readers))
    for suffix in ("csv", "npz"):
        run("scores", "export", first, "--out", f"scores.{suffix}")
    run("report", first, second, "--out", "report.html")


def test_the_log_of_a_run(run: Callable[..., Result], score_files: list[Path]) -> None:
    scores = Path("run", "scores")
    scores.mkdir(parents=True)
    paths = [file.rename(scores / file.name) for file in score_files]
    log = scores.parent / "log.csv"
    columns = ["run_id", "restarts", *run_log.COLUMNS]
    values = ["ab12", "0", "0", "train", "0.1", "0.1", "1.5", "0.7", "3", "4", "8", "3 3 2", "0.01",
              "1", ""]  # fmt: skip
    rows = [columns, values]
    refused = set()
    for mutation in mutations(rows, items=len(columns)):
        text = io.StringIO()
        csv.writer(text).writerows(mutation.value)
        log.write_text(text.getvalue())
        text = ""
        try:
            read_runs({"spatial": paths[:1]})
        except InputError as error:
            text = str(error)
        if text and not refused:  # the report itself, once
            text = run("report", *paths, "--out", "report.html").output
        if text:
            assert str(log) in text
            refused.add(mutation.place)
    drawn = [columns.index(key) for key in ("epoch", "loss", "top1", "videos")]
    assert refused == {f"[0][{drawn[0]}]", *(f"[1][{place}]" for place in drawn)}


def test_score_files_of_other_tools(run: Callable[..., Result], tmp_path: Path) -> None:
    rows = [["name", "label", *CLASSES], ["a", "0", "1", "2"], ["b", CLASSES[1], "3", "4"]]
    common = ["--stream", "s", "--out", "s.safetensors"]
    for mutation in mutations(rows):
        text = io.StringIO()
        csv.writer(text).writerows(mutation.value)
        (tmp_path / "s.csv").write_text(text.getvalue())
        run("scores", "import", "s.csv", "--format", "csv", *common)
    for program in PROGRAMS:
        np.savez("s.npz", scores=np.zeros((2, 2)), names=[program, "b"], class_names=["x", program])
        run("scores", "import", "s.npz", "--format", "tsn-npz", *common)
        run("scores", "import", "s.npz", "--format", "tsn-npz", *common, "--order", "s.csv")


def test_sequences(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twostream.sequence.score_videos.eval_batches", stop)
    (tmp_path / "videos" / "v").mkdir(parents=True)
    picture = np.zeros((32, 32, 3), np.uint8)
    __import__("cv2").imwrite(str(tmp_path / "videos" / "v" / "1.png"), picture)
    spec = SequenceNetworkSpec(
        stream="spatial", backbone="plain width=2", temporal=("conv widths=4, kernels=3, pools=0",),
        vocabulary=("one", "two"), frame_size=32, input_size=32, epoch=0,
    )  # fmt: skip
    network = build_network(
        stream="spatial", backbone=spec.backbone, temporal=spec.temporal, classes=3
    )
    save_checkpoint(tmp_path / "run" / "best", network, spec, {})
    weights, sums = (tmp_path / "run" / "best" / n for n in ("weights.safetensors", "SHA256SUMS"))
    state = sums.read_text().splitlines()[1]
    refused = []
    for mutation in mutations(header_of(weights)[1]):
        with_header(weights, mutation.value)
        sums.write_text(f"{sha256_file(weights)}  weights.safetensors\n{state}\n")
        if "would run code" in run("recognize", "run", "--videos", "videos").output:
            refused.append(mutation.place)
    assert set(refused) == {".backbone", ".temporal[0]"}

    log_probs = [np.log(np.full((2, 3), 1 / 3, np.float32))]
    scores = SequenceScores(
        ("v",), ("one", "two"), log_probs, [["one"]],
        {**asdict(replace(spec, temporal=["conv"])), "dataset": "csv"},
    )  # fmt: skip
    write_sequence_scores(tmp_path / "s.safetensors", scores)
    _, header = header_of(tmp_path / "s.safetensors")
    fixed = {key: header[key] for key in ("sha256", "format")}
    for mutation in mutations({key: header[key] for key in header.keys() - fixed.keys()}):
        with_header(tmp_path / "s.safetensors", {**mutation.value, **fixed})
        run("recognize", "s.safetensors", "--beam", "0")


def test_lists(run: Callable[..., Result], mini: MiniProject, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    shutil.copytree(mini.root / "annotations", lists)
    (lists / "groups.csv").write_text(f"{NAMES[0]},scene\n")
    for path in sorted(lists.iterdir()):
        whole = path.read_text()
        words = whole.replace(",", " ").split()[:4]
        for word, program in zip(dict.fromkeys(words), cycle(PROGRAMS), strict=False):
            path.write_text(whole.replace(word, program, 1))
            for dataset in ("ucf101", "folder"):
                arguments = ["--videos", mini.root / "videos", "--annotations", lists]
                run("init", "--dataset", dataset, *arguments, "--force", "--allow-missing")
        path.write_text(whole)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that take options from a project file, with the words that call them."""
    context = click.Context(cli)
    for name in sorted(COMMANDS.keys() - set(WITHOUT_PROJECT)):
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from (((name, key), child) for key, child in command.commands.items())
        elif command is not None:
            yield (name,), command


def test_a_project_file(
    run: Callable[..., Result], mini: MiniProject, network: Path, score_files: list[Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Every option of every command from `twostream.toml`; those of `train` from --config too."""
    for place in (
        "scoring.score_run.check_input_sizes", "prediction.networks.check_input_sizes",
        "export.export_run.write_checked", "training.trainer.check_input_sizes",
        "sequence.options.check_lists", "commands.doctor.examine",
    ):  # fmt: skip
        monkeypatch.setattr(f"twostream.{place}", stop)
    monkeypatch.setattr("flow_extract.extraction.one_video.open_video", no_video)
    videos, store = mini.root / "videos", tmp_path / "store"
    shutil.copytree(mini.root / "store", store)
    given: dict[str, Any] = {
        "videos": videos, "annotations": mini.root / "annotations", "store": store,
        "dataset": "ucf101", "weights": "none", "stream": "motion", "format": "csv",
        "out": "out.safetensors", "from": "store", "to": "uv", "reference": "r.csv",
        "hypothesis": "r.csv", "device": "cpu", "runs": tmp_path / "runs", "input-size": "32",
    }  # fmt: skip
    positional = {
        "score": [network], "export": [network], "predict": [videos / f"{NAMES[0]}.avi"],
        "fuse": score_files, "tune": score_files, "compare": score_files, "report": score_files,
        "show": score_files[:1], "check": score_files, "import": ["s.csv"],
        "recognize": ["s.safetensors"], "show-flow": [NAMES[0]], "import-weights": ["w.pth"],
        "convert-flow": [store, tmp_path / "pictures"],
    }  # fmt: skip
    positional["scores export"] = score_files[:1]
    (tmp_path / "s.csv").write_text("name,a,b\nv,1,2\n")
    (tmp_path / "r.csv").write_text("name,glosses\nv,one\n")
    (tmp_path / "w.pth").write_bytes(b"x")
    (tmp_path / "s.safetensors").write_bytes(b"x")
    refused = set()
    turn = cycle(PROGRAMS)
    for words, command in commands():
        options = [param for param in command.params if isinstance(param, click.Option)]
        names = {option.lstrip("-"): param for param in options for option in param.opts[:1]}
        required = [
            key for key, param in names.items()
            if key in given and (param.required or key in ("device", "weights", "runs"))
        ]  # fmt: skip
        given["dataset"] = "csv" if words == ("train-sequence",) else "ucf101"
        if words == ("predict",):
            given["motion"] = network
            required.append("motion")
        arguments = positional.get(" ".join(words), positional.get(words[-1], []))
        for key, param in names.items():
            program = next(turn)
            value = json.dumps([program] if param.multiple else program)
            line = [
                *words, *arguments,
                *(text for name in required if name != key for text in (f"--{name}", given[name])),
            ]  # fmt: skip
            (tmp_path / "twostream.toml").write_text(f"[{'.'.join(words)}]\n{key} = {value}\n")
            result = run(*line)
            if "would run code" in result.output:
                refused.add((words[-1], key))
                assert "twostream.toml" in result.output
                assert f"--{key}" in result.output
            if words == ("train",) and key not in ("config", "recipe", "show-recipe"):
                (tmp_path / "twostream.toml").unlink()
                (tmp_path / "c.toml").write_text(f"{key} = {value}\n")
                again = run(*line, "--config", "c.toml").output
                assert ("would run code" in again) == ((words[-1], key) in refused), again
    assert refused == {
        *(("extract-flow", key) for key in ("method",)), ("show-flow", "method"),
        *(("train", key) for key in
          ("dataset", "model", "consensus", "protocol", "val-protocol", "fuse")),
        *(("score", key) for key in ("dataset", "protocol")),
        *(("predict", key) for key in
          ("protocol", "method", "strategy", "segments", "crops")),
        *(("fuse", key) for key in ("strategy", "segments", "crops", "over-epochs")),
        *(("tune", key) for key in ("segments", "crops", "over-epochs")),
        *((name, key) for name in ("compare", "events", "table", "report") for key in
          ("strategy", "segments", "crops", "over-epochs")),
        *(("import", key) for key in ("format", "dataset")), ("import-weights", "dataset"),
        *(("train-sequence", key) for key in
          ("dataset", "backbone", "temporal", "fuse", "normalise")),
        *(("recognize", key) for key in ("strategy", "normalise")),
    }  # fmt: skip


def no_video(*_: object, **__: object) -> Any:
    raise VideoError("not decoded in this test")


def test_the_folder_that_one_is_in_comes_last(run: Callable[..., Result], tmp_path: Path) -> None:
    run("doctor", "--help")
    assert os.fspath(tmp_path) not in sys.path


# What runs Python code, a program, or what a file of code holds, by its whole name.
RUNNING = re.compile(
    r"eval|exec|compile|__import__"
    r"|(?:builtins|runpy|marshal|shelve|ctypes|_?pickle|joblib|dill|cloudpickle)\.\w+"
    r"|importlib\.(?!resources|metadata|util)\w+|importlib\.util\.(?!find_spec)\w+"
    r"|subprocess\.(?:[a-z]\w*|Popen)"
    r"|(?:os|posix)\.(?:system|popen|startfile|exec\w+|spawn\w+|posix_spawn\w*)"
    r"|(?:numpy|torch)(?:\.\w+)*\.(?:load\w*|read_array)"
)
HARMLESS = {"pickle.UnpicklingError"}
# Each place has its reason: the program's own modules, what the user has typed, files that are
# checked before, a network that was written a moment ago.
PLACES = {
    "flow_extract/methods/raft.py": {"torch.load"},
    "flow_extract/store/codecs.py": {"importlib.import_module"},
    "flow_extract/store/locks.py": {"ctypes.windll"},
    "fusion/exchange/formats/__init__.py": {"importlib.import_module"},
    "fusion/exchange/formats/restricted_pickle.py": {"pickle.Unpickler"},
    "twostream/cli.py": {"importlib.import_module"},
    "twostream/commands/console.py": {"subprocess.run"},
    "twostream/commands/models.py": {"TrustedName"},
    "twostream/commands/option_types.py": {"TrustedName"},
    "twostream/export/export_run.py": {"torch.export.load"},
    "twostream/models/checkpoint.py": {"torch.load"},
    "twostream/models/temporal/stages.py": {"TrustedName"},
    "twostream/models/weight_files.py": {"torch.load"},
    "twostream_base/plugins.py": {"TrustedName", "importlib.import_module"},
    "twostream_base/public_names.py": {"importlib.import_module"},
}


def running_names(source: str) -> set[str]:
    """What a source file uses of RUNNING, calls of TrustedName, and of torch.load without a guard.

    Names are followed through imports, also of another name and inside functions.
    """
    tree = ast.parse(source)
    whole: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                whole[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def name_of(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{name_of(node.value)}.{node.attr}"
        return whole.get(node.id, node.id) if isinstance(node, ast.Name) else "?"

    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            if name.rpartition(".")[2] == "TrustedName":
                names.add("TrustedName")
            safe = {key.arg for key in node.keywords if getattr(key.value, "value", None) is True}
            if name == "torch.load" and "weights_only" not in safe:
                names.add("torch.load of any pickle")
        elif RUNNING.fullmatch(name := name_of(node)):
            names.add(name)
    return names - HARMLESS


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("network.eval()\nre.compile('a')\nsafetensors.torch.load_file(path)", set()),
        ("import numpy as np\nnp.save(path, a)\nsubprocess.PIPE", set()),
        ("exec(text)", {"exec"}),
        ("from pickle import loads\nloads(data)", {"pickle.loads"}),
        ("import pickle as p\nclass Own(p.Unpickler): pass", {"pickle.Unpickler"}),
        ("def f():\n    from subprocess import Popen as start\n    start(x)", {"subprocess.Popen"}),
        ("run = os.system", {"os.system"}),
        ("import numpy as np\nnp.load(path)", {"numpy.load"}),
        ("from importlib import util\nutil.find_spec(a)", set()),
        ("import importlib.util as u\nu.module_from_spec(s)", {"importlib.util.module_from_spec"}),
        ("from torch import load\nload(path)", {"torch.load", "torch.load of any pickle"}),
        ("import torch\ntorch.load(\n    f(a),\n    weights_only=True,\n)", {"torch.load"}),
        ("torch.load(path, weights_only=safe)", {"torch.load", "torch.load of any pickle"}),
        ("plugins.TrustedName(text)\nisinstance(x, TrustedName)", {"TrustedName"}),
    ],
)  # fmt: skip
def test_what_runs_code_is_seen(source: str, names: set[str]) -> None:
    assert running_names(source) == names


def test_nothing_else_runs_what_it_is_given() -> None:
    """A new place is thought about, and then stands above: so a new file format is covered too."""
    root, places = Path(__file__).parents[2], dict[str, set[str]]()
    for package in ("flow_extract", "fusion", "twostream", "twostream_base"):
        for path in (root / package).rglob("*.py"):
            if names := running_names(path.read_text(encoding="utf-8")):
                places[path.relative_to(root).as_posix()] = names
    assert places == PLACES
