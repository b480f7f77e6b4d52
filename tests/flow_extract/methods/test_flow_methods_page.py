"""The page on flow methods names them all, with their options and defaults."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from flow_extract.methods import FLOW_METHODS

PAGE = Path(__file__).parents[3] / "docs" / "flow-methods.md"


def section(title: str) -> str:
    return PAGE.read_text().split(f"\n## `{title}`\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", FLOW_METHODS)
def test_every_method_has_a_row_and_a_section(name):
    assert f"\n| `{name}` | " in PAGE.read_text()
    assert section(name).strip()


@pytest.mark.parametrize("name", ["tvl1", "tvl1-fast"])
def test_options_and_defaults_are_those_of_the_code(name):
    documented = {}
    for names, defaults in re.findall(r"^\| (`[^|]+) \| ([\d., ]+) \|", section(name), re.M):
        options = re.findall(r"`(\w+)`", names)
        documented |= dict(zip(options, map(float, defaults.split(", ")), strict=True))
    parameters = inspect.signature(FLOW_METHODS[name]).parameters.values()
    expected = {parameter.name: parameter.default for parameter in parameters}
    assert documented == {key: value for key, value in expected.items() if key != "device"}
