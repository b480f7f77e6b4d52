from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pytest

from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName, check_options, load, read_options, trust

ENTRIES = {"mean": min, "max": max}


def test_load_by_name_and_by_module() -> None:
    assert load("max", ENTRIES) is max
    assert load(TrustedName("math:sqrt"), ENTRIES)(9) == 3
    assert load(min, ENTRIES) is min


def test_a_text_that_nobody_typed_imports_nothing() -> None:
    with pytest.raises(InputError, match="'antigravity:fly' would run code.*--trust-plugins"):
        load("antigravity:fly", ENTRIES)
    assert "antigravity" not in sys.modules


def test_trust_is_lost_in_files_and_kept_between_processes() -> None:
    name = TrustedName("own:power")
    assert type(pickle.loads(pickle.dumps(name))) is TrustedName
    assert type(json.loads(json.dumps(name))) is str


def test_trust_marks_all_names_or_those_that_were_typed() -> None:
    card = {"model": "own:tiny", "temporal": ["own:halve k=2", "conv"], "epoch": 3}
    marked = trust(card, {"own:halve"})
    assert marked == card
    types = [type(text) for text in (marked["model"], *marked["temporal"])]
    assert types == [str, TrustedName, str]
    assert type(trust("own:tiny", trust_plugins=True)) is TrustedName
    assert type(trust("own:tiny", trust_plugins=False)) is str


def test_load_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_plug_in_for_a_test.py").write_text("def double(x): return 2 * x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    assert load(TrustedName("my_plug_in_for_a_test:double"), ENTRIES)(4) == 8
    assert sys.path[-1] == str(tmp_path)  # last: nothing there takes the place of a library


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
        load(TrustedName(name), ENTRIES)


def takes(scores: object, *, k: int, p: float = 2.0, flag=False, any_number=1, size=None) -> None:  # type: ignore[no-untyped-def]
    """A plug-in of the tests."""


def test_options_that_a_plug_in_takes() -> None:
    options = {"k": 3, "p": 1, "flag": True, "any_number": 0.5, "size": [1, 2]}
    check_options(takes, options, what="strategy takes", positional=1)
    check_options(lambda **more: None, {"anything": 1}, what="strategy open")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"q": 1}, "strategy takes has no option 'q'; allowed: k, p, flag, any_number, size"),
        ({"scores": 1}, "has no option 'scores'"),
        ({"k": 1.5}, "the option k is 1.5; expected a whole number"),
        ({"k": True}, "the option k is True; expected a whole number"),
        ({"p": "much"}, "the option p is 'much'; expected a number"),
        ({"flag": 1}, "the option flag is 1; expected true or false"),
        ({"any_number": "x"}, "the option any_number is 'x'; expected a number"),
    ],
)
def test_options_that_a_plug_in_does_not_take(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(takes, options, what="strategy takes", positional=1)


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


def test_what_a_trusted_text_of_an_option_names_is_trusted() -> None:
    texts = [TrustedName('a="my:net"'), 'b="my:net"', TrustedName("c=my:net")]
    values = read_options(texts, option="--model-option")
    assert values == dict.fromkeys("abc", "my:net")
    assert [isinstance(values[key], TrustedName) for key in "abc"] == [True, False, True]
