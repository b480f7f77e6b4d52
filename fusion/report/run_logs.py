"""The training logs that lie beside score files, in their run folders."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from fusion.inputs import Input
from twostream.files import read_text


def run_logs(inputs: Mapping[str, Input]) -> dict[str, list[dict[str, str]]]:
    """Rows of `log.csv` by stream, of those whose score file lies in a run folder that has one."""
    logs = {}
    for key, one in inputs.items():
        log = next(iter(one.tables)).resolve().parents[1] / "log.csv"
        if log.is_file():
            logs[key] = list(csv.DictReader(io.StringIO(read_text(log))))
    return logs
