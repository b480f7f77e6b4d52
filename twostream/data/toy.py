"""Toy data: nine classes, three colours times three motions, in clips and in long films; and where.

The colour leaves no trace in the flow (all tints have the same brightness), the motion none in a
single frame (every clip shows random texture at a random angle). So either stream alone can be
right once in three, and only their fusion can tell the nine classes apart.

The long films show these actions one after the other, in a random order, and two pauses: something
grey that moves, and something coloured that stands still. So either stream sees one kind of pause.

Of the third kind each clip has a red and a blue disc, one of which turns; the class is its colour.
Frames tell the places of the colours, the flow the place of the motion, and neither the class:
scores of both, however they are fused, are no better than guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from flow_extract.synthetic import rotation, smooth_texture, translation, warp
from fusion.events.detection import BACKGROUND
from twostream.data.splits import SPLITS
from twostream_base.files import atomic_path, write_text
from twostream_base.text import write_csv

# Red, green, blue; 0.299 r + 0.587 g + 0.114 b = 1 in each, so grey frames look alike.
TINTS = {"Red": (1.8, 0.659, 0.659), "Green": (0.503, 1.35, 0.503), "Blue": (0.845, 0.845, 2.204)}
MOTIONS = ("Horizontal", "Vertical", "Rotation")
CLASSES = [f"{tint}{motion}" for tint in sorted(TINTS) for motion in sorted(MOTIONS)]
NUM_GROUPS = 36
SIDE, NUM_FRAMES, FPS = 96, 24, 25
GREY, STILL = "Grey", "Still"  # of pauses
NUM_FILMS, TEST_FILMS = 36, 12
SHOT_FRAMES = (40, 70)  # the shortest and longest shot of a long film
WHERE_CLASSES = ["Blue", "Red"]  # the colour of the disc that moves
WHERE_GROUPS = 150
DISC_RADIUS, TURN = 20, 14  # pixels, degrees a frame


def write_toy_lists(annotations: Path, classes: Sequence[str], groups: int) -> None:
    """Write `classInd.txt` and the lists of three splits; each tests another third of groups."""
    numbered = [f"{number} {name}\n" for number, name in enumerate(classes, start=1)]
    write_text(annotations / "classInd.txt", "".join(numbered))
    size = groups // len(SPLITS)
    for split in SPLITS:
        tested = range((split - 1) * size + 1, split * size + 1)
        train, test = "", ""
        for label, name in enumerate(classes):
            for group in range(1, groups + 1):
                if group in tested:
                    test += f"{_video(name, group)}\n"
                else:
                    train += f"{_video(name, group)} {label + 1}\n"
        write_text(annotations / f"trainlist{split:02d}.txt", train)
        write_text(annotations / f"testlist{split:02d}.txt", test)


Random = np.random.Generator | Sequence[int]  # a generator, or the seed of one
Films = dict[str, Callable[[], np.ndarray]]  # file below the videos -> its frames


def generate(videos: Path, films: Films) -> Iterator[Path]:
    """Write films at 25 frames a second; yield each as it is done.

    The same code gives the same videos. Those that are there already are kept.
    """
    for name, make in films.items():
        path = videos / name
        if not path.exists():
            write_video(path, make())
        yield path


def toy_films() -> Films:
    """The 324 clips, 24 frames of 96 x 96."""
    return {
        _video(name, group): partial(make_clip, name, rng=(label, group))
        for label, name in enumerate(CLASSES)
        for group in range(1, NUM_GROUPS + 1)
    }


def where_films() -> Films:
    """The 300 clips of two discs, 24 frames of 96 x 96."""
    return {
        _video(name, group): partial(where_clip, name, rng=(2, label, group))
        for label, name in enumerate(WHERE_CLASSES)
        for group in range(1, WHERE_GROUPS + 1)
    }


def long_films() -> Films:
    """The 36 long films of some 24 s."""
    return {_film(number): partial(long_film, number) for number in range(1, NUM_FILMS + 1)}


def make_clip(name: str, *, rng: Random, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Film one class: uint8 (T, 96, 96, 3) RGB, with camera jitter, changing light and noise.

    Args:
        name: colour and motion; also `Grey...` and `...Still`.
    """
    rng = np.random.default_rng(rng)
    tints = TINTS | {GREY: (1.0, 1.0, 1.0)}
    tint = next(tint for tint in tints if name.startswith(tint))
    # The texture is larger than the frame, so that no border of it comes into view.
    texture = 20 + 95 * smooth_texture((2 * SIDE, 2 * SIDE), rng=rng)
    motion = np.vstack([rotation(rng.uniform(0, 360), centre=(SIDE, SIDE)), [0, 0, 1]])
    step = np.vstack([_step(name.removeprefix(tint), rng=rng), [0, 0, 1]])
    light = 1 + 0.1 * np.sin(rng.uniform(0, 6) + rng.uniform(0.1, 0.4) * np.arange(num_frames))
    frames = []
    for brightness in light:
        jitter = translation(*rng.normal(0, 0.3, size=2))
        grey = warp(texture, jitter @ motion)[SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]
        noise = rng.normal(0, 2, size=(SIDE, SIDE, 3))
        frames.append(brightness * grey[..., None] * np.array(tints[tint]) + noise)
        motion = step @ motion
    return np.rint(np.clip(frames, 0, 255)).astype(np.uint8)


def where_clip(moving: str, *, rng: Random) -> np.ndarray:
    """Film a red and a blue disc, one in each half: uint8 (24, 96, 96, 3) RGB.

    One turns about its centre, the other stands. Its texture shows no angle, so no frame tells
    which, nor do several frames that are judged one by one: a disc that went from place to place
    would look otherwise in each of them.

    Args:
        moving: the colour of the disc that turns.
    """
    rng = np.random.default_rng(rng)
    background = 20 + 95 * smooth_texture((SIDE, SIDE), rng=rng)
    pixels = np.indices((SIDE, SIDE))[::-1]  # x, y
    discs = []
    for colour, left in zip(
        WHERE_CLASSES, rng.permutation([SIDE // 4, 3 * SIDE // 4]), strict=True
    ):
        texture = 20 + 95 * smooth_texture((SIDE, SIDE), rng=rng)
        centre = left + rng.uniform(-3, 3), rng.uniform(SIDE // 4, 3 * SIDE // 4)
        angle, sense = rng.uniform(0, 360), rng.choice([-1, 1])
        discs.append((colour, texture, centre, angle, sense * TURN * (colour == moving)))
    light = 1 + 0.1 * np.sin(rng.uniform(0, 6) + rng.uniform(0.1, 0.4) * np.arange(NUM_FRAMES))
    frames = []
    for number, brightness in enumerate(light):
        jitter = rng.normal(0, 0.1, size=2)
        picture = warp(background, translation(*jitter))[..., None] * np.ones(3)
        for colour, texture, centre, angle, turn in discs:
            motion = rotation(angle + number * turn, centre=centre)
            motion[:, 2] += jitter
            inside = np.hypot(*(pixels - (centre + jitter)[:, None, None])) < DISC_RADIUS
            picture[inside] = warp(texture, motion)[inside, None] * np.array(TINTS[colour])
        frames.append(brightness * picture + rng.normal(0, 2, size=picture.shape))
    return np.rint(np.clip(frames, 0, 255)).astype(np.uint8)


Shot = tuple[str, str, int]  # colour and motion, class, frames


def film_shots(number: int) -> list[Shot]:
    """The shots of a long film, from 1: all nine actions and both pauses, in a random order."""
    rng = np.random.default_rng((NUM_FILMS, number))
    grey, still = f"{GREY}{rng.choice(MOTIONS)}", f"{rng.choice(sorted(TINTS))}{STILL}"
    shown = [*((name, name) for name in CLASSES), (grey, BACKGROUND), (still, BACKGROUND)]
    shortest, longest = SHOT_FRAMES
    return [
        (*shown[index], int(rng.integers(shortest, longest + 1)))
        for index in rng.permutation(len(shown))
    ]


def write_long_lists(annotations: Path) -> None:
    """Write `clips01.csv` to `clips03.csv` of the long films; each tests other 12 of 36 films."""
    for split in SPLITS:
        tested = range((split - 1) * TEST_FILMS + 1, split * TEST_FILMS + 1)
        rows: list[tuple[object, ...]] = [("video", "start", "end", "label", "subset")]
        for film in range(1, NUM_FILMS + 1):
            begin = 0
            for _, label, frames in film_shots(film):
                subset = "test" if film in tested else "train"
                times = f"{begin / FPS:.2f}", f"{(begin + frames) / FPS:.2f}"
                rows.append((_film(film), *times, label, subset))
                begin += frames
        write_csv(annotations / f"clips{split:02d}.csv", rows)


def long_film(number: int) -> np.ndarray:
    """One of the long films, from 1: its shots after one another, uint8 (T, 96, 96, 3) RGB."""
    rng = np.random.default_rng((NUM_FILMS, number, 1))
    shots = [make_clip(name, rng=rng, num_frames=frames) for name, _, frames in film_shots(number)]
    return np.concatenate(shots)


def _film(number: int) -> str:
    return f"film{number:02d}.avi"


def _step(motion: str, *, rng: np.random.Generator) -> np.ndarray:
    """Motion from one frame to the next; its sense, and so the sign of the flow, is random."""
    pixels = rng.uniform(0.8, 2.2) * rng.choice([-1, 1])
    if motion == STILL:
        return translation(0, 0)
    if motion == "Rotation":
        return rotation(1.5 * pixels, centre=(SIDE, SIDE))
    return translation(pixels, 0) if motion == "Horizontal" else translation(0, pixels)


def _video(name: str, group: int) -> str:
    return f"{name}/v_{name}_g{group:02d}_c01.avi"


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write uint8 (T, H, W, 3) RGB, 25 frames a second, whole or not at all.

    Motion JPEG in AVI: OpenCV writes it everywhere, without FFmpeg's encoders.
    """
    import cv2

    with atomic_path(path) as temporary:
        unfinished = temporary.with_name(f"{temporary.name}.avi")  # OpenCV goes by the suffix
        try:
            codec = cv2.VideoWriter.fourcc(*"MJPG")
            writer = cv2.VideoWriter(str(unfinished), codec, FPS, frames.shape[2:0:-1])
            if not writer.isOpened():
                raise OSError(f"OpenCV cannot write {path}")
            for frame in frames:
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            writer.release()
            unfinished.rename(temporary)
        finally:
            unfinished.unlink(missing_ok=True)
