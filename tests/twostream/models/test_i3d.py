from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.i3d import (
    I3D,
    NonLocalBlock,
    inflate_conv,
    inflate_norm,
    insert_blocks,
    window_mask,
)
from twostream_base.vision import torchvision


def build(name="resnet18", **options):
    resnet = getattr(torchvision.models, name)()
    resnet.fc = nn.Identity()
    return I3D(resnet, **options)


def shapes_of_stages(network, clips):
    shapes = {}
    for name in ("conv1", "pool1", "layer1", "pool2", "layer2", "layer3", "layer4"):
        layer = network.get_submodule(name)
        layer.register_forward_hook(
            lambda _, __, output, name=name: shapes.update({name: tuple(output.shape[2:])})
        )
    network(clips)
    return shapes


def test_shapes_of_32_frames_are_those_of_the_paper():
    network = build("resnet50", num_frames=32).eval()
    with torch.inference_mode():
        assert shapes_of_stages(network, torch.zeros(1, 3, 32, 224, 224)) == {
            "conv1": (16, 112, 112),
            "pool1": (8, 56, 56),
            "layer1": (8, 56, 56),
            "pool2": (4, 56, 56),
            "layer2": (4, 28, 28),
            "layer3": (4, 14, 14),
            "layer4": (4, 7, 7),
        }


def test_8_frames_keep_their_time_in_the_stem():
    with torch.inference_mode():
        shapes = shapes_of_stages(build(num_frames=8).eval(), torch.zeros(1, 3, 8, 64, 64))
    assert (shapes["conv1"][0], shapes["pool1"][0], shapes["layer4"][0]) == (8, 8, 4)


def test_last_stride():
    with torch.inference_mode():
        network = build(num_frames=8, last_stride=1).eval()
        assert shapes_of_stages(network, torch.zeros(1, 3, 8, 64, 64))["layer4"] == (4, 4, 4)


def test_parameters_are_as_many_as_published():
    """28.04 million: mmaction2, model zoo of I3D, i3d_imagenet-pretrained-r50."""
    classifier = nn.Linear(2048, 400)
    layers = nn.ModuleList([build("resnet50", num_frames=32), classifier])
    assert sum(p.numel() for p in layers.parameters()) == 28_043_472


def test_deep_kernels_of_the_paper():
    network = build("resnet50", num_frames=32)
    deep = [
        n for n, m in network.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1
    ]
    assert deep == [
        "conv1",
        *(f"layer1.{i}.conv1" for i in (0, 1, 2)),
        *(f"layer2.{i}.conv1" for i in (0, 2)),
        *(f"layer3.{i}.conv1" for i in (0, 2, 4)),
        "layer4.1.conv1",
    ]


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_still_clip_gives_what_the_frame_gives(depth, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=bias)
    frame = torch.randn(2, 3, 9, 9)
    still = frame[:, :, None].expand(-1, -1, 7, -1, -1)
    response = inflate_conv(conv, depth=depth)(still)
    assert response.shape[2] == 7
    inner = slice(depth // 2, 7 - depth // 2)  # away from the zeros before and after the clip
    expected = conv(frame)[:, :, None].expand_as(response[:, :, inner])
    torch.testing.assert_close(response[:, :, inner], expected, atol=1e-5, rtol=0)


def test_norm_keeps_its_statistics():
    norm = nn.BatchNorm2d(4)
    norm.running_mean.copy_(torch.arange(4.0))
    norm.weight.data.copy_(torch.arange(4.0) + 1)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(inflate_norm(norm).eval()(x[:, :, None])[:, :, 0], norm.eval()(x))


class Repeated(nn.Module):
    """A 3D convolution that repeats the first and last frame instead of padding zeros."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        self.depth = conv.padding[0]
        conv.padding = (0, *conv.padding[1:])

    def forward(self, x):
        return self.conv(F.pad(x, (0, 0, 0, 0, self.depth, self.depth), mode="replicate"))


def repeat_ends(module):
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv3d):
            setattr(module, name, Repeated(layer))
        else:
            repeat_ends(layer)


@pytest.mark.parametrize(("name", "num_frames"), [("resnet18", 8), ("resnet50", 16)])
def test_i3d_sees_a_still_clip_as_the_2d_network_sees_its_frame(name, num_frames):
    torch.manual_seed(0)
    frame = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    resnet = getattr(torchvision.models, name)().eval().double()
    resnet.fc = nn.Identity()
    expected = resnet(frame)
    network = I3D(resnet, num_frames=num_frames).eval().double()
    repeat_ends(network)
    still = frame[:, :, None].expand(-1, -1, num_frames, -1, -1)
    torch.testing.assert_close(network(still), expected, atol=1e-5, rtol=1e-5)


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
    phi, g = (F.max_pool3d(part, (1, 2, 2)) for part in (phi, g))
    affinity = torch.einsum("ncthw,ncTHW->nthwTHW", theta, phi) / theta.shape[1] ** 0.5
    shape = affinity.shape
    weights = affinity.flatten(4).softmax(-1).reshape(shape)
    y = torch.einsum("nthwTHW,ncTHW->ncthw", weights, g)
    return x + block.norm(block.out(y))


def test_plain_block():
    block = lively()
    torch.testing.assert_close(block(clip()), plainly(block, clip()), atol=1e-5, rtol=1e-5)


def allowed(query, key, radius, symmetric):
    last = query + radius if symmetric else query + radius - 1
    return query - radius <= key <= last


def slowly(block, x):
    """The block with a window, place by place."""
    n, c, frames, height, width = x.shape
    theta, phi, g = block.theta(x), block.phi(x), block.g(x)
    step = 2
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


@pytest.mark.parametrize("symmetric", [False, True])
def test_window(symmetric):
    block = lively(window=0.34, symmetric=symmetric)
    x = clip()[:, :, :2]
    with torch.inference_mode():
        torch.testing.assert_close(block(x), slowly(block, x), atol=1e-5, rtol=1e-5)


def test_a_window_as_wide_as_the_map_is_none():
    torch.testing.assert_close(lively(window=1.0)(clip()), lively()(clip()), atol=1e-5, rtol=1e-5)


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
    insert_blocks(network.layer2, count=2)
    insert_blocks(network.layer3, count=3, window=0.25)
    torch.testing.assert_close(network(clips), expected, atol=1e-6, rtol=1e-6)


def test_parameters_with_non_local_blocks_are_as_many_as_published():
    """35.4 million: mmaction2, model zoo of I3D, i3d_imagenet-pretrained-r50-nl."""
    network = I3D(torchvision.models.resnet50(), num_frames=32)
    insert_blocks(network.layer2, count=2)
    insert_blocks(network.layer3, count=3)
    assert sum(isinstance(layer, NonLocalBlock) for layer in network.modules()) == 5
    classifier = 2048 * 400 + 400
    count = sum(p.numel() for p in network.parameters()) + classifier
    assert round(count / 1e6, 1) == 35.4
