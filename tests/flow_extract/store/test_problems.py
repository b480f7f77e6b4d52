import pytest

from flow_extract.store.manifest import problem_path, read_problem, write_problem
from flow_extract.store.reader import entry_path
from twostream_base.errors import InputError

SOURCE = {"path": "class/v.avi", "size": 3, "mtime_ns": 4}
FACTS = {"status": "failed", "reason": "no frame", "source": SOURCE, "settings_hash": "abc"}


def test_round_trip(tmp_path):
    write_problem(tmp_path, "class/v", **FACTS)
    assert problem_path(tmp_path, "class/v") == tmp_path / "class" / "v.problem.json"
    assert read_problem(problem_path(tmp_path, "class/v")) == FACTS | {"name": "class/v"}


def test_takes_the_place_of_the_store_file(tmp_path):
    entry_path(tmp_path, "v").touch()
    write_problem(tmp_path, "v", **FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["v.problem.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "v"}'])
def test_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "v.problem.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"v\.problem\.json: not a sound problem file"):
        read_problem(path)
