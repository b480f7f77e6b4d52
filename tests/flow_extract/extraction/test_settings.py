import numpy as np
import pytest

from flow_extract.extraction.settings import extraction_settings, flow_method
from flow_extract.methods import FLOW_METHODS
from twostream_base.errors import InputError
from twostream_base.plugins import TrustedName


def test_defaults_of_the_method_are_part_of_the_settings():
    explicit = extraction_settings("dis", {"preset": "medium"}, bound=20.0, short_side=None)
    implicit = extraction_settings("dis", {}, bound=20.0, short_side=None)
    assert implicit == explicit
    assert implicit["method"] == {"name": "dis", "options": {"preset": "medium"}}
    assert implicit["quantiser"] == {"bound": 20.0, "zero": 128, "scale": 6.35}
    assert implicit["opencv"]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("dis", {"speed": 1}, "has no option 'speed'; allowed: preset"),
        ("dis", {"preset": "slow"}, "allowed: ultrafast, fast, medium"),
        ("farneback", {"levels": "many"}, "levels"),
        ("tvl", {}, "is not one of dis, farneback"),
        (TrustedName("no_such_module:make"), {}, "cannot load"),
        ("subprocess:Popen", {"args": "true"}, "would run code"),
    ],
)
def test_wrong_method_or_option_is_found_at_once(method, options, message):
    with pytest.raises(InputError, match=message) as caught:
        extraction_settings(method, options, bound=20.0, short_side=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flow", "found"),
    [
        (np.zeros((1, 4, 6, 2)), r"float64 \(1, 4, 6, 2\)"),
        (np.zeros((2, 4, 6, 2), np.float32), r"float32 \(2, 4, 6, 2\)"),
        ([1, 2], "list"),
    ],
)
def test_method_that_breaks_its_contract(flow, found, monkeypatch):
    monkeypatch.setitem(FLOW_METHODS, "odd", lambda: lambda frames: flow)
    with pytest.raises(ValueError, match=f"returned {found}"):
        flow_method("odd", {})(np.zeros((2, 4, 6, 3), np.uint8))
