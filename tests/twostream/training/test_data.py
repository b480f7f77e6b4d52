from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from twostream.training import data
from twostream.training.data import gather, plan_batches
from twostream.transforms.presets import MODALITIES
from twostream_base.errors import InputError

from ..conftest import MiniProject


def test_listed_validation_videos_take_the_place_of_drawn_ones(
    mini: MiniProject, tmp_path: Path
) -> None:
    lists = shutil.copytree(mini.root / "annotations", tmp_path / "lists")
    rows = (lists / "trainlist01.txt").read_text().splitlines(keepends=True)
    (lists / "trainlist01.txt").write_text("".join(rows[1:-1]))
    (lists / "vallist01.txt").write_text(rows[-1] + rows[0])
    options: Any = SimpleNamespace(
        dataset="ucf101", annotations=lists, split=1, store=mini.root / "store", select="val",
        modality=MODALITIES["spatial"], allow_missing=False, use_damaged=False, teacher="",
    )  # fmt: skip
    names = [row.split(".")[0] for row in rows]
    data = gather(options)
    assert [video.record.name for video in data.val.videos] == [names[-1], names[0]]
    assert [video.record.name for video in data.train.videos] == names[1:-1]
    options.select = "test"  # then nothing is held out
    data = gather(options)
    assert [video.record.name for video in data.train.videos] == [*names[1:-1], names[-1], names[0]]
    assert data.val is data.test


def test_held_out_videos_are_as_long_as_scoring_has_them(
    mini: MiniProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher needs flow, one less than frames; what selects the epoch is seen as RGB alone."""
    monkeypatch.setattr(data, "training_modality", lambda _: MODALITIES["joint"])
    options: Any = SimpleNamespace(
        dataset="ucf101", annotations=mini.root / "annotations", split=1, store=mini.root / "store",
        select="val", modality=MODALITIES["spatial"], allow_missing=False, use_damaged=False,
        teacher="run", val_fraction=0.3,
    )  # fmt: skip
    taught = gather(options)
    frames = {v.length for v in taught.test.videos}
    assert {v.length for v in taught.val.videos} == frames
    assert {v.length + 1 for v in taught.train.videos} == frames


def options(*, batch_size: int, seed: int = 0) -> Any:
    return SimpleNamespace(batch_size=batch_size, seed=seed)


def test_the_order_derives_from_seed_and_epoch() -> None:
    plans = {
        (seed, epoch): plan_batches(options(batch_size=4, seed=seed), num_videos=10, epoch=epoch)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({str(plan) for plan in plans.values()}) == 4
    assert plans[1, 1] == plan_batches(options(batch_size=4, seed=1), num_videos=10, epoch=1)
    assert all(sorted(sum(plan, [])) == list(range(10)) for plan in plans.values())


@pytest.mark.parametrize(
    ("processes", "lengths"), [(1, [4, 4, 3]), (2, [4, 7]), (3, None)], ids=str
)
def test_every_process_gets_two_videos_of_each_batch(
    monkeypatch: pytest.MonkeyPatch, processes: int, lengths: list[int] | None
) -> None:
    monkeypatch.setattr(data, "world_size", lambda: processes)
    if lengths:
        plan = plan_batches(options(batch_size=4), num_videos=11, epoch=0)
        assert [len(batch) for batch in plan] == lengths
    else:
        with pytest.raises(InputError, match="batches of 4 out of 11 videos are too few for 3"):
            plan_batches(options(batch_size=4), num_videos=11, epoch=0)
