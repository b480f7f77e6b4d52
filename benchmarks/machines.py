"""Results files with a section for each kind of machine.

A run replaces the section of its own machine. Those of other machines stay, because ratios of
speed differ from one to the next.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """Model of the processor and number of cores: the title of this machine's section."""
    model = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if "model name" in line), model)
    return f"{' '.join(model.split())}, {os.cpu_count()} cores"


def write_section(path: Path, *, head: str, body: str, name: str | None = None) -> str:
    """Write the title and introduction `head`, and `body` as the section of this machine.

    Args:
        name: of the section, if it is not that of `machine`.

    Returns:
        The whole file.
    """
    name = name or machine()
    text = path.read_text() if path.exists() else ""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    sections[name] = body.strip()
    listed = "".join(f"\n## {title}\n\n{content}\n" for title, content in sections.items())
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{head.strip()}\n{listed}")
    return path.read_text()
