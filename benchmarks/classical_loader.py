"""The loader of the field's PyTorch code: a tree of JPEG pictures, PIL, floats one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from flow_extract.store.reader import StoreEntry
from twostream.data.stored import StoredVideo
from twostream.transforms.clips import Box

LENGTH = 10
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class JpegTree:
    """`u/<video>/frame%06d.jpg`, `v/...` and `rgb/...`, JPEG 95; videos are numbers here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def written(cls, root: Path, videos: Sequence[StoredVideo]) -> JpegTree:
        """Write what exact stores hold."""
        tree = cls(root)
        for number, video in enumerate(videos):
            entry = StoreEntry(video.path)
            for kind in ("u", "v", "rgb"):
                tree.path(kind, number, 0).parent.mkdir(parents=True)
            for t, pair in enumerate(entry.pictures("flow", range(entry.num_flows))):
                tree._write("u", number, t, pair[..., 0])
                tree._write("v", number, t, pair[..., 1])
            for t, frame in enumerate(entry.pictures("rgb", range(entry.num_frames))):
                tree._write("rgb", number, t, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        return tree

    def path(self, kind: str, video: int, t: int) -> Path:
        return self.root / kind / str(video) / f"frame{t + 1:06d}.jpg"

    def picture(self, kind: str, video: int, t: int) -> Image.Image:
        return Image.open(self.path(kind, video, t))

    def dataset(self, items: Sequence[Any], *, kind: str) -> Dataset[torch.Tensor]:
        return (Stacks if kind == "flow" else Frames)(self, items)

    def _write(self, kind: str, video: int, t: int, picture: np.ndarray) -> None:
        path = str(self.path(kind, video, t))
        cv2.imwrite(path, np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, 95])


class Stacks(Dataset[torch.Tensor]):
    """Twenty opens a stack, each cropped (or scaled), made float and copied into its channel."""

    def __init__(self, tree: JpegTree, items: Sequence[Any], *, size: int | None = None) -> None:
        self.tree, self.items, self.size = tree, items, size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> torch.Tensor:
        video, start, box = self.items[number]
        shape = (self.size, self.size) if self.size else (box.height, box.width)
        flow = torch.FloatTensor(2 * LENGTH, *shape)
        for j in range(LENGTH):
            for c, kind in enumerate(("u", "v")):
                part = crop(self.tree.picture(kind, video, start + j), box)
                if self.size:
                    part = part.resize(shape, Image.Resampling.BILINEAR)
                flow[2 * j + c] = to_tensor(part)[0]
        return flow


class Frames(Dataset[torch.Tensor]):
    """One RGB frame: opened, cropped, made float and normalised."""

    def __init__(self, tree: JpegTree, items: Sequence[Any]) -> None:
        self.tree, self.items = tree, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> torch.Tensor:
        video, start, box = self.items[number]
        values = to_tensor(crop(self.tree.picture("rgb", video, start), box))
        return values.sub_(MEAN[:, None, None]).div_(STD[:, None, None])


def crop(picture: Image.Image, box: Box) -> Image.Image:
    return picture.crop((box.left, box.top, box.left + box.width, box.top + box.height))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """As torchvision's ToTensor: float32 (C, H, W), 0 to 1."""
    values = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    values = values.view(picture.height, picture.width, len(picture.getbands()))
    return values.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def tsn_views(tree: JpegTree, video: int, starts: list[int], boxes: list[Box]) -> torch.Tensor:
    """All views of a video as TSN's PyTorch code prepares them: PIL crops, flips, one stack.

    Its `GroupOverSample` crops and mirrors every picture, its `Stack` joins them, then float.
    """
    views = []
    for start in starts:
        pictures = [
            tree.picture(kind, video, start + j).convert("L")
            for j in range(LENGTH)
            for kind in ("u", "v")
        ]
        for box in boxes:
            cut = [crop(picture, box) for picture in pictures]
            turned = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in cut]
            turned[::2] = [ImageOps.invert(picture) for picture in turned[::2]]
            views += [*cut, *turned]
    stacked = np.concatenate([np.expand_dims(view, 2) for view in views], axis=2)
    return torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float().sub_(128)
