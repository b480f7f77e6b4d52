from __future__ import annotations

import numpy as np
import pytest

from twostream.transforms.presets import MODALITIES, augment


@pytest.mark.parametrize("stream", MODALITIES)
def test_augmentation_treats_all_frames_alike(stream: str) -> None:
    modality = MODALITIES[stream]
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, modality.channels), dtype=np.uint8)
    clip = np.broadcast_to(frame, (3, 4, *frame.shape))
    augmented = augment(clip, modality, size=32, rng=np.random.default_rng(5))
    assert augmented.shape == (3, 4, 32, 32, modality.channels)
    assert (augmented == augmented[0, 0]).all()


def test_half_of_the_clips_are_mirrored() -> None:
    clip = np.zeros((1, 1, 32, 32, 2), dtype=np.uint8)
    clip[..., 0] = 200
    values = [
        int(augment(clip, MODALITIES["motion"], size=16, rng=np.random.default_rng(i)).max())
        for i in range(400)
    ]
    assert set(values) == {200, 56}
    assert 160 < values.count(56) < 240
