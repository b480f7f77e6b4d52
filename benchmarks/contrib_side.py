"""What runs in the environment of OpenCV's contrib build: its TV-L1, in one thread.

`serve` answers pairs of grey frames with their flow and its CPU seconds; `tree` is the loop that
users write today: decode, flow, and two JPEG files a pair.
"""

import sys
import time
from contextlib import suppress
from multiprocessing.connection import Client
from pathlib import Path

import cv2
import numpy as np

BOUND = 20


def serve(address: str) -> None:
    method = cv2.optflow.DualTVL1OpticalFlow_create()
    with Client(address) as connection, suppress(EOFError):
        while True:
            first, second = connection.recv()
            start = time.process_time()
            flow = method.calc(first, second, None)
            connection.send((flow, time.process_time() - start))


def tree(out: str, *videos: str) -> None:
    method = cv2.optflow.DualTVL1OpticalFlow_create()
    for video in map(Path, videos):
        folders = [Path(out, component, video.stem) for component in "uv"]
        for folder in folders:
            folder.mkdir(parents=True)
        capture = cv2.VideoCapture(str(video))
        before, number = None, 0
        while (frame := capture.read()[1]) is not None:
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            if before is not None:
                flow = np.clip(method.calc(before, grey, None), -BOUND, BOUND)
                levels = np.rint(128 + flow * (127 / BOUND)).astype(np.uint8)
                for k, folder in enumerate(folders):
                    cv2.imwrite(str(folder / f"frame{number:06d}.jpg"), levels[..., k])
            before, number = grey, number + 1


if __name__ == "__main__":
    cv2.setNumThreads(1)
    {"serve": serve, "tree": tree}[sys.argv[1]](*sys.argv[2:])
