import numpy as np
import pytest

from flow_extract.extraction.settings import extraction_settings, flow_method, recorded_method
from flow_extract.methods import FLOW_METHODS
from flow_extract.store.header import settings_hash
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


def make_anywhere(scale: float = 1.0, device: str = "cpu"):
    """A method that computes by another form on the device `gpu`, as TV-L1 does."""

    def flow(frames):
        return np.zeros((len(frames) - 1, *frames.shape[1:3], 2), np.float32)

    flow.device = device
    if device == "gpu":
        flow.form, flow.pixels_at_once = "torch", 4 * 6 * 20
    return flow


def test_the_device_is_not_recorded_but_another_form_is(monkeypatch):
    monkeypatch.setitem(FLOW_METHODS, "anywhere", make_anywhere)
    default, cpu, elsewhere, gpu = (
        extraction_settings("anywhere", {}, device=device)
        for device in (None, "cpu", "other", "gpu")
    )
    recorded = {"name": "anywhere", "options": {"scale": 1.0, "device": "cpu"}}
    assert default == cpu == elsewhere
    assert default["method"] == recorded
    assert gpu == default | {"method": recorded | {"form": "torch"}}
    assert recorded_method(gpu, "gpu").pixels_at_once == 480
    with pytest.raises(InputError, match="on cpu computes by its usual form; .* record torch"):
        recorded_method(gpu, None)
    with pytest.raises(InputError, match="give device='gpu' by itself"):
        extraction_settings("anywhere", {"device": "gpu"})


def test_tvl1_of_the_cpu_keeps_its_identity():
    settings = extraction_settings("tvl1", {}, bound=20.0) | {"opencv": "4.10.0"}
    assert settings["method"]["options"]["device"] == "cpu"
    assert (
        settings_hash(settings)
        == "1115372171ae2ac4a999428b12409a9eabdfa90dc5d841d85d6404f09f9d5790"
    )
