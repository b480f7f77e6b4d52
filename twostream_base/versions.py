"""Which version of this toolkit, and of the libraries under it, made a result."""

from __future__ import annotations

import configparser
from importlib import metadata
from pathlib import Path


def tool_version() -> str:
    """Version of twostream: of the installed package, or of the clone that it runs from."""
    try:
        return metadata.version("twostream")
    except metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        setup.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
        return setup["metadata"]["version"]


def library_version(distribution: str) -> str:
    """Version of an installed distribution (`torch`, `numpy`), or `absent`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


__version__ = tool_version()
