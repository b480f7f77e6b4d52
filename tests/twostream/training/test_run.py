from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch import nn

from twostream.compute import distributed
from twostream.data.training_videos import VIDEOS, RunVideo, digest_of, read_videos, write_videos
from twostream.models.checkpoint import has_checkpoint, read_spec_as, save_checkpoint
from twostream.training.run import Run
from twostream.training.run_folder import drop_epochs, epoch_folder, run_begun_with
from twostream.training.run_log import open_tensorboard, write_log
from twostream_base.errors import InputError
from twostream_base.files import write_toml


@dataclass(frozen=True)
class Options:
    runs: str
    epochs: int = 4
    lr: float = 0.1

    @property
    def folder(self) -> Path:
        return Path(self.runs)


@dataclass(frozen=True)
class Card:
    epoch: int
    training_videos: dict[str, Any] = field(default_factory=dict)


class Counter:
    """A learner that counts its steps, in its one weight and in its state."""

    def __init__(self) -> None:
        self.eval_network, self.steps = nn.Linear(1, 1), 0
        nn.init.zeros_(self.eval_network.weight)

    def step(self) -> None:
        self.steps += 1
        nn.init.constant_(self.eval_network.weight, self.steps)

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        assert self.eval_network.weight.item() == state["steps"], "weights are loaded before"
        self.steps = state["steps"]


def start(
    folder: Path,
    *,
    notes: list[str] | None = None,
    videos: Sequence[RunVideo] = (),
    restart: bool = False,
    **options: Any,
) -> tuple[Run, Counter]:
    run = Run(
        Options(str(folder), **options),
        command="count",
        free=("epochs", "runs"),
        videos=videos,
        restart=restart,
    )
    learner = Counter()
    run.start(learner, Card, tell=(notes if notes is not None else []).append)
    return run, learner


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "segments": [epoch, 1]}


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Two steps an epoch; stopped within the second epoch, and again after it."""
    run, learner = start(tmp_path / "run")
    assert (run.resumes, run.next_epoch, run.progress) == (False, 0, {})
    learner.step()
    run.save_within_epoch({"batches": 1}, every=60)
    assert not has_checkpoint(tmp_path / "run" / "last"), "no minute has passed"
    learner.step()
    run.end_epoch([row(0)], is_best=True)
    learner.step()
    run.save_within_epoch({"batches": 1}, every=0)

    again, learner = start(tmp_path / "run", epochs=9)
    assert (again.resumes, again.next_epoch, again.progress) == (True, 1, {"batches": 1})
    learner.step()
    again.end_epoch([row(1)], is_best=False)

    third, learner = start(tmp_path / "run")
    assert (third.next_epoch, third.progress, learner.steps) == (2, {}, 4)
    assert (third.run_id, third.restarts, third.rows) == (run.run_id, 2, again.rows)
    assert rows_of(tmp_path / "run") == [
        {"run_id": run.run_id, "restarts": "0", "epoch": "0", "segments": "0 1"},
        {"run_id": run.run_id, "restarts": "1", "epoch": "1", "segments": "1 1"},
    ]
    best = read_spec_as(Card, tmp_path / "run" / "best", command="count")
    last = read_spec_as(Card, tmp_path / "run" / "last", command="count")
    assert (best.epoch, last.epoch) == (0, 1)


def test_another_option_or_a_damaged_checkpoint(tmp_path: Path) -> None:
    run, _ = start(tmp_path)
    run.end_epoch([row(0)], is_best=False)
    with pytest.raises(InputError, match=r"other options \(lr was 0.1, now 0.2\).*--restart"):
        start(tmp_path, lr=0.2)
    state = tmp_path / "last" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"state.pt: does not match its checksum"):
        start(tmp_path)


def test_what_a_run_from_the_same_weights_says_of_its_network(tmp_path: Path) -> None:
    """Of the named network, or of the only one there is; other weights are another run."""
    for model, length in (("resnet18", 5), ("resnet50", 7)):
        run = tmp_path / "toy-split1" / f"motion-{model}"
        (run / "last").mkdir(parents=True)
        (run / "last" / "weights.safetensors").touch()
        config = {
            "stream": "motion", "name": "", "weights": "a.pth", "fuse-at": "", "fuse": "",
            "keep-both": False, "start-from": [], "model": model, "model-option": [],
            "clip-length": length, "frame-interval": 1, "flow-stack": 1, "input-size": 112,
            "resize": [],
        }  # fmt: skip
        write_toml(run / "config.toml", config, title="A run.")
    options = {
        "runs": tmp_path, "dataset": "toy", "split": 1, "stream": "motion", "name": "",
        "weights": "a.pth", "fuse_at": "", "fuse": "", "keep_both": False, "start_from": (),
    }  # fmt: skip

    def length_of(model: str | None, **changes: Any) -> int | None:
        begun = run_begun_with(options | changes, model=model)
        return begun["clip_length"] if begun else None

    assert [length_of(model) for model in ("resnet18", "resnet50", "resnet34")] == [5, 7, None]
    assert length_of("resnet18", weights="b.pth") is None
    assert length_of(None) is None
    shutil.rmtree(tmp_path / "toy-split1" / "motion-resnet18")
    assert length_of(None) == 7


@pytest.mark.parametrize("held", ["best", "epochs", "log.csv", "scores", "average", "last"])
def test_a_folder_that_holds_a_run_is_not_begun_again(tmp_path: Path, held: str) -> None:
    """`last/` is gone, or has no weights: nothing to resume, and all the rest to lose."""
    folder = tmp_path / "run"
    if held == "log.csv":
        write_log(folder / held, [row(0), row(1)])
    else:
        (folder / held).mkdir(parents=True)
    with pytest.raises(InputError, match=rf"holds a run, but no last/ .*{held}.*--restart"):
        start(folder)
    notes: list[str] = []
    start(folder, notes=notes, restart=True)
    shown = {
        "log.csv": "log.csv of 2 epochs",
        "scores": "scores/ with 0",
        "epochs": "epochs/ with 0",
    }
    assert notes == [f"--restart removes {folder} ({shown.get(held, f'{held}/')})"]
    assert not folder.exists()


def test_a_run_stopped_in_its_first_epoch_begins_again(tmp_path: Path) -> None:
    """After `best`, before `last`; the same options and lists only."""
    run, _ = start(tmp_path)
    run.end_epoch([row(0)], is_best=True)
    for name in ("last", "log.csv"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert start(tmp_path)[0].next_epoch == 0
    with pytest.raises(InputError, match=r"other options \(lr was 0.1, now 0.2\)"):
        start(tmp_path, lr=0.2)
    save_checkpoint(tmp_path / "best", nn.Linear(1, 1), Card(epoch=3), {})
    with pytest.raises(InputError, match="holds a run, but no last/"):
        start(tmp_path)


def test_a_run_that_saved_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    start(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    start(tmp_path / "run", lr=0.2)


def test_changed_lists_are_named(tmp_path: Path) -> None:
    videos = [RunVideo("a", "A", "", "train"), RunVideo("b", "B", "", "test")]
    run, learner = start(tmp_path, videos=videos)
    card = {"sha256": digest_of(videos)}
    run.spec = lambda epoch: Card(epoch, card)
    run.end_epoch([row(0)], is_best=False)
    assert read_videos(tmp_path / VIDEOS) == videos
    start(tmp_path, videos=videos)
    changed = [videos[0], videos[1]._replace(part="train")]
    with pytest.raises(InputError, match=r"1 video moved from test to training \(b\).*--restart"):
        start(tmp_path, videos=changed)
    grouped = [videos[0]._replace(group="scene 1"), videos[1]]
    start(tmp_path, videos=grouped)
    assert read_videos(tmp_path / VIDEOS) == grouped, "what becomes known of groups is kept"
    (tmp_path / VIDEOS).unlink()
    with pytest.raises(InputError, match="lists have changed .*which videos is not known"):
        start(tmp_path, videos=changed)
    start(tmp_path, videos=videos)
    assert read_videos(tmp_path / VIDEOS) == videos, "written again"
    write_videos(tmp_path / VIDEOS, changed)
    with pytest.raises(InputError, match="not of the run whose weights are in"):
        start(tmp_path, videos=videos)


def test_another_number_of_processes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = start(tmp_path)
    monkeypatch.setattr("twostream.training.run.world_size", lambda: 2)
    run.end_epoch([row(0)], is_best=False)
    monkeypatch.undo()
    notes: list[str] = []
    start(tmp_path, notes=notes)
    assert len(notes) == 1
    assert "2 process(es) so far, and has 1 now" in notes[0]


def test_checkpoints_of_the_last_two_epochs(tmp_path: Path) -> None:
    run, learner = start(tmp_path)
    for epoch in range(4):
        learner.step()
        run.end_epoch([row(epoch)], is_best=False, keep=range(max(0, epoch - 1), epoch + 1))
    folders = sorted((tmp_path / "epochs").iterdir())
    assert folders == [epoch_folder(tmp_path, 2), epoch_folder(tmp_path, 3)]
    assert read_spec_as(Card, folders[1], command="count") == Card(3)
    drop_epochs(tmp_path)
    assert not list((tmp_path / "epochs").iterdir())


def test_tensorboard_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="--tensorboard .* pip install tensorboard"):
        open_tensorboard(tmp_path, lambda row: {})


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_a_resumed_run_has_each_row_once_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = [{"epoch": 3, "loss": 0.5}, {"epoch": 4, "loss": 0.25}]
    for count in (1, 2):
        open_tensorboard(tmp_path, lambda row: {"loss": row["loss"]})(rows[:count])
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(p.step, p.value) for p in events.Scalars("loss")] == [(3, 0.5), (4, 0.25)]


def test_what_is_restarted_is_removed_once_in_all_starts_by_one_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first processes died before they had removed it."""
    monkeypatch.setattr(distributed, "_store", dist.HashStore())
    assert distributed.is_to_remove()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert distributed.is_to_remove(), "nothing has been removed so far"
    old, _ = start(tmp_path / "run")
    old.end_epoch([row(0)], is_best=True)
    start(tmp_path / "run", restart=True)[0].end_epoch([row(0)], is_best=True)
    assert not distributed.is_to_remove(), "the new run has begun"
    assert start(tmp_path / "run")[0].resumes
    monkeypatch.setattr(distributed, "_store", dist.HashStore())
    assert not distributed.is_to_remove(), "another machine's store knows nothing"
