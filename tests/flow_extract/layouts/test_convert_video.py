import os
from functools import partial
from typing import ClassVar

import pytest

from flow_extract.extraction.executor import Outcome
from flow_extract.extraction.one_video import Result
from flow_extract.layouts.convert import Conversion, conclude, convert_video
from twostream_base.errors import InputError


class Opened:
    header: ClassVar = {"status": "damaged", "reason": "5 of 9 frames decoded"}


def job(opened=Opened, write=lambda name, entry: True):
    return Conversion("v", opened, write)


@pytest.mark.parametrize("written", [True, False])
def test_status_is_that_of_the_source(written):
    result = convert_video(job(write=lambda name, entry: written))
    assert result == Result("v", "damaged", "5 of 9 frames decoded", settled=not written)


def failing(error):
    def write(name, entry):
        raise error

    return write


@pytest.mark.parametrize("error", [InputError("picture 7 is missing"), ValueError("no JPEG")])
def test_bad_video(error):
    assert convert_video(job(write=failing(error))) == Result("v", "failed", str(error))


def test_bad_disk_is_not_the_fault_of_the_video(tmp_path):
    full = failing(OSError(28, "No space left on device", "/store/v"))
    reason = "No space left on device: /store/v"
    assert convert_video(job(write=full)) == Result("v", "unwritable", reason)
    gone = partial(os.stat, tmp_path / "gone")
    reason = f"No such file or directory: {tmp_path / 'gone'}"
    assert convert_video(job(opened=gone)) == Result("v", "unwritable", reason)


def test_end_of_a_process_is_a_failure():
    assert conclude(job(), Outcome("returned", Result("v", "ok"))) == Result("v", "ok")
    for status in ("raised", "crashed", "timeout"):
        result = conclude(job(), Outcome(status, reason="why"))
        assert result == Result("v", "failed", f"{status}: why")
