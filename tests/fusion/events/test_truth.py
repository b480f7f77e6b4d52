"""Ground truths of each format, and what is said of those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.events.event import Event
from fusion.events.truth import Film, Truth, pair_films, read_truth
from twostream_base.errors import InputError


def activitynet(**annotations: object) -> str:
    video = {"subset": "validation", "duration": 20.5, "annotations": [annotations]}
    empty = {"subset": "training", "duration": 3, "annotations": []}
    return json.dumps({"database": {"v_a.mp4": video, "b": empty}, "version": "1"})


def test_activitynet(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(activitynet(segment=[1, 2.5], label="Long jump"))
    truth = read_truth(path)
    film = Film((Event(1, 2.5, "Long jump"),), 20.5, "validation")
    assert truth.films == {"v_a": film, "b": Film((), 3, "training")}
    assert truth.class_names == ["Long jump"]
    assert read_truth(path, subset="Validation").films == {"v_a": film}


def test_thumos(tmp_path: Path) -> None:
    (tmp_path / "Diving_val.txt").write_text("v1  3.5 4.5\nv2 1 2 \n")
    (tmp_path / "Billiards_val.txt").write_text("v1 0.0 1.0\n\n")
    (tmp_path / "Ambiguous_val.txt").write_text("v1 0.0 1.0\nv3 0 1\n")
    truth = read_truth(tmp_path)
    assert truth.films == {
        "v1": Film((Event(0, 1, "Billiards"), Event(3.5, 4.5, "Diving")), None, "val",
                   ambiguous=((0, 1),)),
        "v2": Film((Event(1, 2, "Diving"),), None, "val"),
        "v3": Film((), None, "val", ambiguous=((0, 1),)),
    }  # fmt: skip
    assert truth.notes[0].startswith("2 events")
    assert "Ambiguous" in truth.notes[0]


def test_ambiguous_stretches_of_activitynets_json(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    events = [{"segment": [1, 2], "label": "Ambiguous"}, {"segment": [3, 4], "label": "run"}]
    path.write_text(json.dumps({"database": {"a": {"duration": 9, "annotations": events}}}))
    truth = read_truth(path)
    assert truth.films == {"a": Film((Event(3, 4, "run"),), 9, ambiguous=((1, 2),))}
    assert truth.notes[0].startswith("1 events")
    path.write_text(path.read_text().replace("[1, 2]", "[2, 1]"))
    with pytest.raises(InputError, match="annotation 1: end 1.*start 2"):
        read_truth(path)


def test_frame_labels(tmp_path: Path) -> None:
    (tmp_path / "cup.txt").write_text("background\npour\npour\nstir\nbackground\n")
    (tmp_path / "mapping.txt").write_text("0 background\n1 pour\n")
    truth = read_truth(tmp_path, fps=2)
    nothing = (Event(0, 0.5, "background"), Event(2, 2.5, "background"))
    film = Film((Event(0.5, 1.5, "pour"), Event(1.5, 2, "stir")), 2.5, background=nothing)
    assert (truth.films, truth.rate) == ({"cup": film}, 2)
    assert read_truth(tmp_path / "cup.txt", fps=2) == truth
    assert read_truth(tmp_path, fps=2, background="pour").class_names == ["background", "stir"]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("label,video,start,end\nrun,a.avi,10,20\njump,a.avi,0,5\n,b,,\n")
    events = (Event(0, 5, "jump"), Event(10, 20, "run"))
    assert read_truth(path).films == {"a": Film(events), "b": Film(())}
    events = (Event(0, 0.2, "jump"), Event(0.4, 0.8, "run"))
    assert read_truth(path, fps=25).films["a"] == Film(events)
    path.write_text("video,start,end,label,subset,duration\na,1,2,run,test,100\n")
    assert read_truth(path).films == {"a": Film((Event(1, 2, "run"),), 100, "test")}


def test_durations_are_in_frames_at_the_rate_of_their_row(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "video,start,end,label,duration,fps\na,25,50,run,250,25\na,50,75,run,250,25\n"
        "b,1,2,run,9,\nc,,,,500,50\n"
    )
    seconds = {"a": 10, "b": 9, "c": 10}
    assert {name: film.duration for name, film in read_truth(path).films.items()} == seconds
    in_frames = {"a": 10, "b": 3, "c": 10}
    films = read_truth(path, fps=3).films
    assert {name: film.duration for name, film in films.items()} == in_frames
    path.write_text("video,start,end,label,duration,fps\na,,,,250,0\n")
    with pytest.raises(InputError, match=r"events\.csv:2: fps 0"):
        read_truth(path)


def test_labelled_background_is_known(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        "video,start,end,label\na,0,2,run\na,2,8,Background\nb,0,5,background\nc,1,2,jump\n"
    )
    assert read_truth(path).films == {
        "a": Film((Event(0, 2, "run"),), background=(Event(2, 8, "Background"),)),
        "b": Film((), background=(Event(0, 5, "background"),)),
        "c": Film((Event(1, 2, "jump"),)),
    }


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", r"events\.csv:1: .*'video'"),
        ("video,start,label\n", r"events\.csv:1: .*'end'"),
        ("video,start,end,label\na,1,2\n", r"events\.csv:2: 3 cells.*4"),
        ("video,start,end,label\n,1,2,run\n", r"events\.csv:2: .*video"),
        ("video,start,end,label\na,1,2,run\na,x,2,run\n", r"events\.csv:3: 'x'"),
        ("video,start,end,label\na,-1,2,run\n", r"events\.csv:2: '-1'"),
        ("video,start,end,label\na,1,nan,run\n", r"events\.csv:2: 'nan'"),
        ("video,start,end,label\na,1,1e9,run\n", r"events\.csv:2: '1e9'"),
        ("video,start,end,label\na,3,2,run\n", r"events\.csv:2: end 2.*start 3"),
        ("video,start,end,label\na,1,2,\n", r"events\.csv:2: .*label"),
        ("video,start,end,label\na,1,,run\n", r"events\.csv:2: ''"),
        ("video,start,end,label,subset\na,1,2,run,x\na,1,2,run,y\n", r"events\.csv:3: a.*'y'.*'x'"),
        ("video,start,end,label\na,,,\n", r"events\.csv: no event"),
    ],
)
def test_csv_that_is_wrong(tmp_path: Path, text: str, facts: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=facts) as error:
        read_truth(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("{\n\n,", r"t\.json:3: "),
        ("[]", r"t\.json: .*`database`"),
        ('{"database": {"a": 3}}', r"t\.json: video 'a': .*`annotations`"),
        (activitynet(segment=[1], label="x"), r"'v_a\.mp4', annotation 1: .*\[1\]"),
        (activitynet(segment=[2, 1], label="x"), r"'v_a\.mp4', annotation 1: end 1 .*start 2"),
        (activitynet(segment=[2, "x"], label="x"), r"annotation 1: 'x'"),
        (activitynet(segment=[True, 3], label="x"), r"annotation 1: True"),
        (activitynet(segment=[1, 2], label=3), r"annotation 1: .*3"),
        ('{"database": {"a": {"duration": "x"}}}', r"'a', duration: 'x'"),
        ('{"database": {"a.avi": {}, "a.mp4": {}}}', r"video 'a\.mp4': .*a already"),
        ('{"database": ' * 70 + "1" + "}" * 70, r"t\.json: nested"),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, text: str, facts: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(InputError, match=facts) as error:
        read_truth(path)
    assert "\n" not in str(error.value)


def test_folders_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: no such file.*ActivityNet.*CSV"):
        read_truth(tmp_path / "none")
    with pytest.raises(InputError, match=r"no file \*\.txt"):
        read_truth(tmp_path)
    (tmp_path / "a.xml").touch()
    with pytest.raises(InputError, match=r"a\.xml: unknown format"):
        read_truth(tmp_path / "a.xml")
    (tmp_path / "Diving_val.txt").write_text("v1 3.5 4.5\nv1 3.5\n")
    with pytest.raises(InputError, match=r"Diving_val\.txt:2: 'v1 3\.5'"):
        read_truth(tmp_path)
    (tmp_path / "Diving_val.txt").write_text("v1 3.5 4.5\n")
    (tmp_path / "Run_test.txt").write_text("v1 3.5 4.5\n")
    with pytest.raises(InputError, match=r"Run_test\.txt:1: v1 .*val"):
        read_truth(tmp_path)
    (tmp_path / "Diving_val.txt").rename(tmp_path / "Diving.txt")
    with pytest.raises(InputError, match=r"Diving\.txt: .*<class>_<subset>"):
        read_truth(tmp_path)


def test_frame_labels_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "cup.txt"
    path.write_text("pour\n\nstir\n")
    with pytest.raises(InputError, match=r"cup\.txt.*--fps"):
        read_truth(path)
    with pytest.raises(InputError, match=r"fps is 0"):
        read_truth(path, fps=0)
    with pytest.raises(InputError, match=r"cup\.txt:2: "):
        read_truth(path, fps=15)
    path.write_text("")
    with pytest.raises(InputError, match=r"cup\.txt: .*empty"):
        read_truth(path, fps=15)


def test_a_subset_that_there_is_not(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text(activitynet(segment=[1, 2.5], label="x"))
    with pytest.raises(InputError, match="'test'.*training, validation"):
        read_truth(path, subset="test")


def test_films_are_paired_by_name() -> None:
    film = Film((Event(0, 1, "a"),), None, "val")
    truth = Truth({"v_one": film, "Two": film, "three": Film((), None, "test")})
    with pytest.raises(InputError, match="1 of the truth's 3.*three.*test, val.*--allow-missing"):
        pair_films(truth, ["x/one.mp4", "two", "four"])
    paired = pair_films(truth, ["x/one.mp4", "two", "four"], allow_missing=True)
    assert paired.films == {"x/one.mp4": film, "two": film}
    assert ["three" in paired.notes[0], "four" in paired.notes[1]] == [True, True]
    with pytest.raises(InputError, match="none.*v_one.*four"):
        pair_films(truth, ["four"], allow_missing=True)
