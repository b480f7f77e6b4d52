"""Lists of clips out of ground truths: which clips, in which subset."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.events.event import Event
from fusion.events.truth import Film, Truth, read_truth
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
    unsure = Film(events, 10, ambiguous=((0, 1), (9.5, 10)))
    assert [event[:2] for event in pauses_of(unsure)] == [(1, 2), (7, 9.5)]
    known = Film(events, None, background=(Event(0, 2, "background"), Event(8, 10, "background")))
    assert [event[:2] for event in pauses_of(known)] == [(7, 8)]


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


def test_a_clip_has_the_rarer_of_its_labels(tmp_path: Path) -> None:
    """As THUMOS14 has it, where each CliffDiving is listed as Diving too."""
    files = {
        "Diving_val": "a 1.0 2.0\na 3.0 4.0\n",
        "CliffDiving_val": "a 1.00 2.0004\n",
        "Ambiguous_val": "a 2.0 3.0\n",
        "Diving_test": "b 0 2\nb 4 6\n",
        "CliffDiving_test": "b 4 6\n",
    }
    (tmp_path / "truth").mkdir()
    for name, text in files.items():
        (tmp_path / "truth" / f"{name}.txt").write_text(text)
    truth = read_truth(tmp_path / "truth")
    assert write_timed_lists(tmp_path, truth, test_fraction=0.3) == [
        f"wrote lists of 6 clips of 2 films to {tmp_path}",
        "left out 2 events with the times of one of a rarer class, as a clip has one label: "
        "Diving (2)",
        "1 events of the class Ambiguous are left out",
    ]
    split = read_split("timed", tmp_path)
    assert split.class_names == ("CliffDiving", "Diving", "background")
    assert {record.name: record.label for record in (*split.train, *split.test)} == {
        "a@00000.000-00001.000": 2,
        "a@00001.000-00002.000": 0,
        "a@00003.000-00004.000": 1,
        "b@00000.000-00002.000": 1,
        "b@00002.000-00004.000": 2,
        "b@00004.000-00006.000": 0,
    }


@pytest.mark.parametrize("pauses", [True, False])
def test_labelled_background_stays(tmp_path: Path, pauses: bool) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "video,start,end,label,subset\na,1,2,run,train\na,2,8,Background,train\n"
        "b,0,5,background,test\n"
    )
    lines = write_timed_lists(tmp_path, read_truth(path), test_fraction=0.3, pauses=pauses)
    assert (tmp_path / "clips01.csv").read_text().splitlines() == [
        "video,start,end,label,subset",
        *(["a,0.000,1.000,background,train"] if pauses else []),
        "a,1.000,2.000,run,train",
        "a,2.000,8.000,background,train",
        "b,0.000,5.000,background,test",
    ]
    assert len(lines) == 1


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
