from __future__ import annotations

from pathlib import Path

import pytest

from twostream_base.errors import InputError
from twostream_base.plugins import load, read_options

ENTRIES = {"mean": min, "max": max}


def test_load_by_name_and_by_module() -> None:
    assert load("max", ENTRIES) is max
    assert load("math:sqrt", ENTRIES)(9) == 3


def test_load_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plug_in_for_a_test.py").write_text("def double(x): return 2 * x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    assert load("my_plug_in_for_a_test:double", ENTRIES)(4) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("median", "'median' is not one of mean, max, nor module:function"),
        ("no_such_module:f", "cannot load 'no_such_module:f': No module named"),
        ("math:no_such", "cannot load 'math:no_such': .*no attribute"),
        (":f", "cannot load ':f'"),
    ],
)
def test_what_cannot_be_loaded(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(name, ENTRIES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("1.5", 1.5), (".5", 0.5), ("1e-3", 0.001), ("true", True), ("False", False),
        ("[1, 2]", [1, 2]), ("null", None), ("fast", "fast"), ("a=b", "a=b"), ("", ""),
    ],
)  # fmt: skip
def test_values_have_types(text: str, value: object) -> None:
    options = read_options([f"key = {text}", "other=1"], option="--option")
    assert options == {"key": value, "other": 1}
    assert type(options["key"]) is type(value)


@pytest.mark.parametrize("texts", [["key"], ["=1"], ["key=1", "key=2"]])
def test_texts_that_are_no_options(texts: list[str]) -> None:
    with pytest.raises(InputError, match="--option '.*': expected key=value, each key once"):
        read_options(texts, option="--option")
