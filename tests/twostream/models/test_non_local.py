import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.i3d import I3D
from twostream.models.non_local import NonLocalBlock, insert_blocks, window_mask
from twostream_base.vision import torchvision


def lively(**options):
    """A block past its start, where the last gain is zero."""
    torch.manual_seed(0)
    block = NonLocalBlock(6, **options).eval()
    nn.init.normal_(block.norm.weight)
    return block


def clip(height=8, width=6):
    return torch.randn(2, 6, 3, height, width, generator=torch.Generator().manual_seed(1))


def plainly(block, x):
    """The block as an einsum over all pairs of places, without a window."""
    theta, phi, g = block.theta(x), block.phi(x), block.g(x)
    if block.pool:
        phi, g = (F.max_pool3d(part, (1, 2, 2)) for part in (phi, g))
    affinity = torch.einsum("ncthw,ncTHW->nthwTHW", theta, phi) / theta.shape[1] ** 0.5
    shape = affinity.shape
    weights = affinity.flatten(4).softmax(-1).reshape(shape)
    y = torch.einsum("nthwTHW,ncTHW->ncthw", weights, g)
    return x + block.norm(block.out(y))


@pytest.mark.parametrize("pool", [False, True])
def test_plain_block(pool):
    block = lively(pool=pool)
    torch.testing.assert_close(block(clip()), plainly(block, clip()), atol=1e-5, rtol=1e-5)


def allowed(query, key, radius, symmetric):
    last = query + radius if symmetric else query + radius - 1
    return query - radius <= key <= last


def slowly(block, x):
    """The block with a window, place by place."""
    n, c, frames, height, width = x.shape
    theta, phi, g = block.theta(x), block.phi(x), block.g(x)
    step = 2 if block.pool else 1
    if block.pool:
        phi, g = (F.max_pool3d(part, (1, 2, 2)) for part in (phi, g))
    r_h, r_w = int(block.window * height), int(block.window * width)
    y = torch.zeros_like(theta)
    places = list(itertools.product(range(frames), range(height // step), range(width // step)))
    for i, t, h, w in itertools.product(range(n), range(frames), range(height), range(width)):
        scores = []
        for key_t, key_h, key_w in places:
            masks = [
                float(
                    allowed(h, step * key_h + down, r_h, block.symmetric)
                    and allowed(w, step * key_w + right, r_w, block.symmetric)
                )
                for down in range(step)
                for right in range(step)
            ]
            mask = sum(masks) / len(masks)
            bias = sum(-1000 * (1 - m) for m in masks) / len(masks)
            dot = (theta[i, :, t, h, w] * phi[i, :, key_t, key_h, key_w]).sum()
            scores.append(dot / theta.shape[1] ** 0.5 * mask + bias)
        weights = torch.stack(scores).softmax(0)
        for weight, (key_t, key_h, key_w) in zip(weights, places, strict=True):
            y[i, :, t, h, w] += weight * g[i, :, key_t, key_h, key_w]
    return x + block.norm(block.out(y))


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_window(pool, symmetric):
    block = lively(pool=pool, window=0.34, symmetric=symmetric)
    x = clip()[:, :, :2]
    with torch.inference_mode():
        torch.testing.assert_close(block(x), slowly(block, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pool", [False, True])
def test_a_window_as_wide_as_the_map_is_none(pool):
    torch.testing.assert_close(
        lively(pool=pool, window=1.0)(clip()), lively(pool=pool)(clip()), atol=1e-5, rtol=1e-5
    )


def test_mask_of_a_row():
    assert window_mask(1, 5, radii=(1, 2), symmetric=False).reshape(5, 5).tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1],
    ]
    assert window_mask(1, 3, radii=(0, 0), symmetric=False).reshape(3, 3).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]


def test_identity_at_the_start():
    for mode in (True, False):
        block = NonLocalBlock(6).train(mode)
        torch.testing.assert_close(block(clip()), clip(), atol=0, rtol=0)


def test_a_network_with_blocks_begins_as_the_one_without():
    torch.manual_seed(0)
    network = I3D(torchvision.models.resnet18(), num_frames=8).eval()
    clips = torch.randn(1, 3, 8, 64, 64)
    expected = network(clips)
    insert_blocks(network.layer2)
    insert_blocks(network.layer3, window=0.25)
    torch.testing.assert_close(network(clips), expected, atol=1e-6, rtol=1e-6)


def test_parameters_are_as_many_as_published():
    """35.4 million: mmaction2, model zoo of I3D, i3d_imagenet-pretrained-r50-nl."""
    network = I3D(torchvision.models.resnet50(), num_frames=32)
    insert_blocks(network.layer2)
    insert_blocks(network.layer3)
    assert sum(isinstance(layer, NonLocalBlock) for layer in network.modules()) == 5
    classifier = 2048 * 400 + 400
    count = sum(p.numel() for p in network.parameters()) + classifier
    assert round(count / 1e6, 1) == 35.4
