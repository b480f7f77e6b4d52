from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fusion.tables.score_file import ScoreTable, write_scores
from twostream.cli import cli

Make = Callable[..., ScoreTable]


@pytest.fixture
def page(make_table: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The report on two splits, two seeds of one network and one of a worse one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split in (1, 2):
        labels = rng.integers(3, size=40)
        names = [f"v{split}_g{row // 4}_{row}" for row in range(40)]
        for model, seeds, strength in (("net", (0, 1), 2.0), ("bad", (0,), 0.5)):
            for seed in seeds:
                for stream in ("spatial", "motion"):
                    scores = rng.normal(size=(40, 3)) + strength * np.eye(3)[labels]
                    run = Path(f"runs/toy-split{split}/{stream}-{model}-seed{seed}")
                    facts = {"stream": stream, "dataset": "toy", "model": model}
                    table = make_table(scores, labels=labels, names=names, **facts)
                    write_scores(run / "scores/test.safetensors", table)
                    (run / "config.toml").write_text(f'model = "{model}"\nseed = {seed}\n')
                    (run / "log.csv").write_text(
                        "epoch,subset,loss,top1,videos\n0,train,2,10,40\n1,train,1,20,40\n"
                    )
    command = ["report", "--splits", "1,2,3", "--strategy", "mean", "--groups", r"_(g\d+)_",
               "--out", "r.html", "--figures", "figures"]  # fmt: skip
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    return Path("r.html").read_text()


def test_several_splits_networks_and_seeds_in_one_page(page: str) -> None:
    verdict = re.sub("<[^>]+>", " ", page[page.index("<header>") : page.index("</header>")])
    assert re.search(r"net spatial \+ motion, mean.* gets [\d.]+ % ± [\d.]+ over 2 seeds", verdict)
    assert re.search(r"[\d.]+ % ± .* mean of 2 splits; 95 % interval .*, (by|as if) ", verdict)
    assert re.search(r"better in \d of 2 seeds", verdict)
    assert "Not there: split 3." in verdict
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(identifiers)
    assert {"splits", "split1", "split2", "split2-confusion", "repeat"} <= links
    downloads = re.findall(r'download="([^"]+)"', page)
    assert {"splits.csv", "table.csv", "split1-results.csv", "split2-confusion.csv"} <= set(
        downloads
    )
    assert len(downloads) == len(set(downloads))
    assert "<td>bad</td>" in page
    figures = {path.stem for path in Path("figures").glob("*.svg")}
    assert {"splits", "split1-results", "split2-training-motion-loss"} <= figures
