"""Lists of clips out of ground truths: which clips, in which subset."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.events.event import Event
from fusion.events.truth import Film, Truth
from twostream.data.splits import read_split
from twostream.data.timed_lists import pauses_of, subset_roles, write_timed_lists
from twostream_base.errors import InputError


def test_pauses() -> None:
    events = (Event(2, 4, "a"), Event(3, 6, "b"), Event(6, 7, "b"))
    assert [event[:3] for event in pauses_of(Film(events, 10))] == [
        (0, 2, "background"),
        (7, 10, "background"),
    ]
    assert [event[:2] for event in pauses_of(Film(events))] == [(0, 2)]


def test_subsets_as_the_field_names_them() -> None:
    assert subset_roles(["training", "validation"]) == {"training": "train", "validation": "test"}
    assert subset_roles(["Validation", "Test"]) == {"Validation": "train", "Test": "test"}
    assert subset_roles(["val", "train", "test"]) == {
        "train": "train",
        "val": "val",
        "test": "test",
    }
    assert subset_roles(["", "train"]) == {}
    with pytest.raises(InputError, match="one, two"):
        subset_roles(["one", "two"])


def test_lists_of_a_truth_with_subsets(tmp_path: Path) -> None:
    run, jump = Event(1, 3, "run"), Event(4, 4.05, "jump")
    films = {
        "a": Film((run, run, jump, Event(5, 6, "jump")), 6, "training"),
        "b": Film((Event(0, 2, "jump"), Event(2, 9.5, "run")), 9.5, "validation"),
        "c": Film((), 5, "testing"),
    }
    lines = write_timed_lists(tmp_path, Truth(films), test_fraction=0.3)
    assert (tmp_path / "clips01.csv").read_text().splitlines() == [
        "video,start,end,label,subset",
        "a,0.000,1.000,background,train",
        "a,1.000,3.000,run,train",
        "a,3.000,4.000,background,train",
        "a,4.050,5.000,background,train",
        "a,5.000,6.000,jump,train",
        "b,0.000,2.000,jump,test",
        "b,2.000,9.500,run,test",
    ]
    assert not (tmp_path / "clips02.csv").exists()
    assert lines == [
        f"wrote lists of 7 clips of 2 films to {tmp_path}",
        "left out 1 films of no subset in use: c",
        "left out 1 events shorter than 0.1 s",
        "left out 1 events that are listed twice",
    ]
    assert len(read_split("timed", tmp_path).train) == 5


def test_random_splits_of_whole_films(tmp_path: Path) -> None:
    films = {f"film{i}": Film((Event(1, 3, "run"), Event(3, 5, "jump"))) for i in range(10)}
    write_timed_lists(tmp_path, Truth(films), test_fraction=0.3, pauses=False)
    tested = []
    for split in (1, 2, 3):
        lists = read_split("timed", tmp_path, split=split)
        assert (len(lists.train), len(lists.test)) == (14, 6)
        assert not {r.film for r in lists.train} & {r.film for r in lists.test}
        tested.append({record.film for record in lists.test})
    assert tested[0] != tested[1]
    one = Truth({"film": films["film0"]})
    with pytest.raises(InputError, match="1 films.*--test-fraction 0.3"):
        write_timed_lists(tmp_path, one, test_fraction=0.3)
