"""Toy sequences: a disc that makes two to five gestures, one directly after the other.

Six gestures: four directions of motion, growing and shrinking. Their boundaries are not marked,
they last 6 to 14 frames, their positions vary, and a second disc of the same size drifts over a
background that is new in each video, as a distractor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flow_extract.synthetic import smooth_texture
from twostream.data.toy import write_video
from twostream_base.files import write_text

GESTURES = ("DOWN", "GROW", "LEFT", "RIGHT", "SHRINK", "UP")
COUNTS = {"train": 160, "val": 40, "test": 80}
SIDE = 36
DIRECTIONS = {"LEFT": (-1, 0), "RIGHT": (1, 0), "UP": (0, -1), "DOWN": (0, 1)}


def generate_sequences(annotations: Path, videos: Path) -> None:
    """Write 280 videos of 36 x 36 and their lists; existing videos are kept.

    The videos are the same in every call.
    """
    for number, (subset, count) in enumerate(COUNTS.items()):
        rows = ["name,glosses,frames"]
        for index in range(count):
            rng = np.random.default_rng((number, index))
            glosses = [str(gesture) for gesture in rng.choice(GESTURES, size=rng.integers(2, 6))]
            name = f"{subset}/{index:03d}"
            rows.append(f"{name},{' '.join(glosses)},{name}.avi")
            path = videos / f"{name}.avi"
            if not path.exists():
                write_video(path, render_video(glosses, rng=rng))
        write_text(annotations / f"{subset}.csv", "\n".join([*rows, ""]))


def render_video(glosses: list[str], *, rng: np.random.Generator) -> np.ndarray:
    """Render the gestures: uint8 (T, 36, 36, 3) RGB, T from 6 to 14 for each."""
    background = 80 + 25 * smooth_texture((SIDE, SIDE), rng=rng)
    colour, distractor = rng.uniform(150, 250, size=3), rng.uniform(90, 150, size=3)
    position, drift = rng.uniform(8, SIDE - 8, size=2), rng.normal(0, 0.5, size=2)
    frames = []
    for gesture in glosses:
        right, down = rng.normal(0, 2, size=2)
        for time in np.linspace(-1, 1, rng.integers(6, 15)):
            position = position + drift
            x, y, radius = _disc_at(gesture, time)
            x0, y0 = position % SIDE
            scene = _draw_disc(background[..., None], distractor, x0, y0, 5)
            frames.append(_draw_disc(scene, colour, x + right, y + down, radius))
    noisy = np.array(frames) + rng.normal(0, 12, size=(len(frames), SIDE, SIDE, 3))
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8)


def _disc_at(gesture: str, time: float) -> tuple[float, float, float]:
    """Centre and radius in pixels, `time` running from -1 to 1."""
    centre = (SIDE - 1) / 2
    if gesture in DIRECTIONS:
        right, down = DIRECTIONS[gesture]
        return centre + 9 * right * time, centre + 9 * down * time, 5.0
    return centre, centre, 6 + (3 if gesture == "GROW" else -3) * time


def _draw_disc(
    picture: np.ndarray, colour: np.ndarray, x: float, y: float, radius: float
) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)[..., None]
    return picture * (1 - inside) + colour * inside
