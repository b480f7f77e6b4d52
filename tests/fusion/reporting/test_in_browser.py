"""The page in a real browser: no error, no network, nothing cut off, on a telephone and a desk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from fusion.reporting.page import SECTIONS

# The page stands in a frame of the wanted width; what is measured becomes the text of the parent.
PROBE = """<!DOCTYPE html><iframe style="width:{width}px;height:900px;border:0"></iframe>
<pre id="measured"></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const sizes = [...page.querySelectorAll("svg text")].map(t => {{
    const svg = t.closest("svg"), scale = svg.clientWidth / svg.viewBox.baseVal.width;
    return scale * parseFloat(frame.contentWindow.getComputedStyle(t).fontSize);
  }});
  const hidden = [...page.querySelectorAll("section")].filter(s => s.offsetHeight < 40);
  const outside = [...page.querySelectorAll("svg text")].filter(t => {{
    const box = t.getBoundingClientRect(), own = t.closest("svg").getBoundingClientRect();
    return box.left < own.left - 2 || box.right > own.right + 2;
  }}).map(t => t.textContent);
  document.getElementById("measured").textContent = JSON.stringify({{
    sections: [...page.querySelectorAll("section")].map(s => s.id), hidden: hidden.length,
    overflow: root.scrollWidth - root.clientWidth, smallest: Math.min(...sizes),
    outside, background: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
  }});
}};
frame.srcdoc = {page};
</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on the path; Debian's package is `chromium`")


def look(chromium: str, page: str, folder: Path, *options: str, width: int) -> dict:
    """Load the page at a width, and return what PROBE measured and what the console said."""
    probe = folder / "probe.html"
    content = json.dumps(page).replace("</", "<\\/")
    probe.write_text(PROBE.format(width=width, page=content))
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000", *options,
        f"--window-size={max(width, 500)},900", "--dump-dom", probe.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="measured">(.+?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        pytest.skip(f"Chromium does not run here: {done.stderr[-300:]}")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])) | {"console": console}


@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_readable(chromium: str, page: str, tmp_path: Path, width: int) -> None:
    seen = look(chromium, page, tmp_path, width=width)
    assert seen["console"] == []
    assert seen["sections"] == [*SECTIONS, "repeat"]
    assert seen["hidden"] == 0
    assert seen["overflow"] <= 0
    assert seen["smallest"] >= 10  # pixels
    assert seen["outside"] == []


def test_light_and_dark(chromium: str, page: str, tmp_path: Path) -> None:
    light = look(chromium, page, tmp_path, width=1400)["background"]
    dark = look(chromium, page, tmp_path, "--force-dark-mode", width=1400)["background"]
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(15, 19, 24)")
