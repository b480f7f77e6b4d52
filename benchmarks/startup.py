"""How long the light commands take to start, beside `import torch`.

Each pair is run in turns (A B A B ...) and the medians are compared. From a clone:
`PYTHONPATH=. python benchmarks/startup.py`. Fails where a `--help` takes too long.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from fusion.exchange.formats.pickles import read_two_stream_pickle
from fusion.exchange.importing import import_scores
from fusion.tables.score_file import write_scores

ROOT = Path(__file__).resolve().parents[1]
REAL_SCORES = ROOT.parent / "shared" / "data" / "scores-resnet101-ucf101"
TURNS = 7
LARGEST_RATIOS = {"--help": 0.12, "fuse --help": 0.15}
TORCH = ["-c", "import torch"]
TWOSTREAM = ["-m", "twostream"]


def main() -> None:
    slow = [
        name
        for name, largest in LARGEST_RATIOS.items()
        if ratio_to_torch(name, [*TWOSTREAM, *name.split()]) > largest
    ]
    with tempfile.TemporaryDirectory() as folder:
        if REAL_SCORES.is_dir():
            files = write_real_scores(Path(folder))
            ratio_to_torch("fuse, 2 x 3783 videos", [*TWOSTREAM, "fuse", *files])
    if slow:
        raise SystemExit(f"too long beside import torch: {', '.join(slow)}")


def ratio_to_torch(name: str, arguments: list[str]) -> float:
    pairs = [(seconds(TORCH), seconds(arguments)) for _ in range(TURNS)]
    torch, ours = (median(column) for column in zip(*pairs, strict=True))
    print(f"{name:22} {ours:.3f} s, import torch {torch:.3f} s, ratio {ours / torch:.3f}")
    return ours / torch


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def write_real_scores(folder: Path) -> list[str]:
    files = []
    for stream in ("spatial", "motion"):
        foreign = read_two_stream_pickle(REAL_SCORES / f"{stream}_video_preds.pickle")
        table = import_scores(foreign, metadata={"stream": stream}, summed_over=19)
        write_scores(folder / f"{stream}.safetensors", table)
        files.append(str(folder / f"{stream}.safetensors"))
    return files


if __name__ == "__main__":
    main()
