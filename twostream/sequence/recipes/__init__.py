"""Options of `twostream train-sequence` by name: a TOML file each."""

from __future__ import annotations

from pathlib import Path

RECIPES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}
