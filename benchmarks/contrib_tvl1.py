"""OpenCV's own TV-L1, to compare with: its contrib build, in an environment of its own.

The builds of OpenCV overwrite each other, so the two never share an environment.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Listener
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-contrib"
SCRIPT = Path(__file__).with_name("contrib_side.py")

# (grey frame, next one) -> flow, CPU seconds
TimedFlow = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, float]]


def contrib_python() -> Path:
    """Interpreter with the contrib build of our OpenCV's version; installed on first use."""
    python = ENVIRONMENT / "bin" / "python"
    probe = [python, "-c", "import cv2; cv2.optflow"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python
    print("installing the contrib build of OpenCV ...", file=sys.stderr)
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    wanted = f"opencv-contrib-python-headless=={cv2.__version__}.*"
    subprocess.run([python, "-m", "pip", "install", "-q", wanted, "numpy"], check=True)
    return python


@contextmanager
def contrib_tvl1() -> Iterator[TimedFlow]:
    """Yield OpenCV's DualTVL1 with its defaults, in a process that lives as long as the block."""
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/contrib") as listener:
        process = subprocess.Popen([contrib_python(), SCRIPT, "serve", str(listener.address)])
        with process, listener.accept() as connection:

            def flow(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, float]:
                connection.send((first, second))
                return connection.recv()

            yield flow
