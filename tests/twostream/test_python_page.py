"""The snippets of docs/python.md and of the README run as they are printed, one after the other."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from .conftest import MiniProject

ROOT = Path(__file__).parents[2]
PAGES = [page for page in (ROOT / "docs" / "python.md", ROOT / "README.md") if page.exists()]
# A plug-in example begins with the name of its file; test_documents runs those.
SNIPPETS = {
    page.name: re.findall(r"^```python\n((?!# own\.py).*?)^```", page.read_text(), re.M | re.S)
    for page in PAGES
}
LONGEST = 6
QUICK = ["--weights", "none", "--input-size", "32", "--batch-size", "4", "--val-fraction", "0.3",
         "--protocol", "segments3", "--epochs", "1", "--device", "cpu"]  # fmt: skip


@pytest.mark.parametrize("page", SNIPPETS)
def test_snippets_are_short(page: str) -> None:
    for snippet in SNIPPETS[page]:
        assert len([line for line in snippet.splitlines() if line.strip()]) <= LONGEST, snippet


@pytest.mark.parametrize("page", [page for page, snippets in SNIPPETS.items() if snippets])
def test_snippets_run(page: str, mini: MiniProject, twostream: Callable[..., Result]) -> None:
    """In a folder with `clip.mp4`, `videos/`, `annotations/`, `store/`, the runs and scores of both
    streams in `runs/ucf101-split1/` (ResNet18, two classes), `spatial.safetensors` and
    `motion.safetensors`.
    """
    for name in ("videos", "annotations", "store"):
        Path(name).symlink_to(mini.root / name)
    shutil.copy(next(Path("videos").rglob("*.avi")), "clip.mp4")
    for stream in ("spatial", "motion"):
        twostream("train", "--stream", stream, "--runs", "runs", *mini.arguments, *QUICK)
        scores = Path(f"runs/ucf101-split1/{stream}-resnet18/scores/test.safetensors")
        shutil.copy(scores, f"{stream}.safetensors")
    scope: dict[str, Any] = {}
    for snippet in SNIPPETS[page]:
        exec(compile(snippet, page, "exec"), scope)
