from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models import MODELS, build_network, resolved_options
from twostream.models.consensus import mean
from twostream.models.i3d import (
    AFFINITIES,
    I3D,
    NonLocalBlock,
    inflate_conv,
    inflate_norm,
    insert_blocks,
    window_mask,
)
from twostream.transforms.presets import modality_of
from twostream_base.errors import InputError
from twostream_base.vision import torchvision


@pytest.fixture
def meta():
    """Layers and shapes alone, without numbers."""
    with torch.device("meta"):
        yield


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


@pytest.mark.usefixtures("meta")
def test_shapes_of_32_frames_are_those_of_the_paper():
    network = build("resnet50", num_frames=32).eval()
    assert shapes_of_stages(network, torch.zeros(1, 3, 32, 224, 224)) == {
        "conv1": (16, 112, 112),
        "pool1": (8, 56, 56),
        "layer1": (8, 56, 56),
        "pool2": (4, 56, 56),
        "layer2": (4, 28, 28),
        "layer3": (4, 14, 14),
        "layer4": (4, 7, 7),
    }


@pytest.mark.usefixtures("meta")
def test_8_frames_keep_their_time_in_the_stem():
    shapes = shapes_of_stages(build(num_frames=8).eval(), torch.zeros(1, 3, 8, 64, 64))
    assert (shapes["conv1"][0], shapes["pool1"][0], shapes["layer4"][0]) == (8, 8, 4)


@pytest.mark.parametrize(("frames", "steps"), [(28, 14), (32, 16)])
@pytest.mark.usefixtures("meta")
def test_stem_of_the_authors_code(frames, steps):
    """Temporal strides of 1 in the stem: res2 alone is pooled, by 2."""
    network = build(num_frames=frames, stem_stride=1).eval()
    shapes = shapes_of_stages(network, torch.zeros(1, 3, frames, 32, 32))
    assert (shapes["conv1"][0], shapes["pool1"][0], shapes["layer4"][0]) == (frames, frames, steps)


@pytest.mark.usefixtures("meta")
def test_both_convolutions_of_basic_blocks():
    network = build("resnet18", num_frames=8, inflate_both=True)
    deep = [
        n for n, m in network.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1
    ]
    blocks = ("layer1.0", "layer1.1", "layer2.0", "layer3.0", "layer4.1")
    assert deep == ["conv1", *(f"{block}.conv{i}" for block in blocks for i in (1, 2))]
    with pytest.raises(InputError, match="ResNet18 and ResNet34"):
        build("resnet50", num_frames=8, inflate_both=True)


@pytest.mark.usefixtures("meta")
def test_last_stride():
    network = build(num_frames=8, last_stride=1).eval()
    assert shapes_of_stages(network, torch.zeros(1, 3, 8, 64, 64))["layer4"] == (4, 4, 4)


@pytest.mark.usefixtures("meta")
def test_parameters_are_as_many_as_published():
    """28.04 million: mmaction2, model zoo of I3D, i3d_imagenet-pretrained-r50."""
    classifier = nn.Linear(2048, 400)
    layers = nn.ModuleList([build("resnet50", num_frames=32), classifier])
    assert sum(p.numel() for p in layers.parameters()) == 28_043_472


@pytest.mark.usefixtures("meta")
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


@pytest.mark.parametrize(
    ("name", "num_frames", "options"),
    [("resnet18", 8, {}), ("resnet18", 8, {"inflate_both": True}), ("resnet50", 16, {})],
)
def test_i3d_sees_a_still_clip_as_the_2d_network_sees_its_frame(name, num_frames, options):
    torch.manual_seed(0)
    frame = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    resnet = getattr(torchvision.models, name)().eval().double()
    resnet.fc = nn.Identity()
    expected = resnet(frame)
    network = I3D(resnet, num_frames=num_frames, **options).eval().double()
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


def keys_and_values(block, x):
    """Pooled in the order of the authors' code, or in that of mmcv's."""
    if block.pool_first:
        pooled = F.max_pool3d(x, (1, 2, 2))
        return (block.phi(pooled) if block.embeds else pooled), block.g(pooled)
    keys, values = (block.phi(x) if block.embeds else x), block.g(x)
    return F.max_pool3d(keys, (1, 2, 2)), F.max_pool3d(values, (1, 2, 2))


def plainly(block, x, *, affinity="embedded_gaussian", use_scale=True):
    """The block as an einsum over all pairs of places, without a window."""
    theta = block.theta(x) if block.embeds else x
    phi, g = keys_and_values(block, x)
    products = torch.einsum("ncthw,ncTHW->nthwTHW", theta, phi)
    shape = products.shape
    if affinity == "dot_product":
        weights = products / shape[4:].numel()
    else:
        scale = theta.shape[1] ** 0.5 if use_scale and affinity == "embedded_gaussian" else 1
        weights = (products / scale).flatten(4).softmax(-1).reshape(shape)
    y = torch.einsum("nthwTHW,ncTHW->ncthw", weights, g)
    return x + block.norm(block.project(y))


@pytest.mark.parametrize("affinity", AFFINITIES)
@pytest.mark.parametrize("pool_first", [True, False])
@pytest.mark.parametrize("use_scale", [True, False])
def test_plain_block(affinity, pool_first, use_scale):
    options = {"affinity": affinity, "use_scale": use_scale}
    block = lively(pool_first=pool_first, **options)
    expected = plainly(block, clip(), **options)
    torch.testing.assert_close(block(clip()), expected, atol=1e-5, rtol=1e-5)
    other = lively(pool_first=not pool_first, **options)
    assert not torch.allclose(other(clip()), expected, atol=1e-3)


def test_what_a_block_cannot_be():
    with pytest.raises(InputError, match="allowed: embedded_gaussian, gaussian, dot_product"):
        NonLocalBlock(4, affinity="concatenation")
    with pytest.raises(InputError, match="window"):
        NonLocalBlock(4, affinity="dot_product", window=0.3)


def allowed(query, key, radius, symmetric):
    last = query + radius if symmetric else query + radius - 1
    return query - radius <= key <= last


def slowly(block, x):
    """The block with a window, place by place."""
    n, c, frames, height, width = x.shape
    theta, (phi, g) = block.theta(x), keys_and_values(block, x)
    step = 2
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
    return x + block.norm(block.project(y))


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


@pytest.mark.usefixtures("meta")
def test_parameters_with_non_local_blocks_are_as_many_as_published():
    """35.4 million: mmaction2, model zoo of I3D, i3d_imagenet-pretrained-r50-nl."""
    network = I3D(torchvision.models.resnet50(), num_frames=32)
    insert_blocks(network.layer2, count=2)
    insert_blocks(network.layer3, count=3)
    assert sum(isinstance(layer, NonLocalBlock) for layer in network.modules()) == 5
    classifier = 2048 * 400 + 400
    count = sum(p.numel() for p in network.parameters()) + classifier
    assert round(count / 1e6, 1) == 35.4


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("resnet18", [(2, 1), (3, 1)]),
        ("resnet34", [(2, 1), (2, 3), (3, 1), (3, 3), (3, 5)]),
        ("resnet50", [(2, 1), (2, 3), (3, 1), (3, 3), (3, 5)]),
        ("resnet101", [(2, 1), (2, 3), (3, 6), (3, 13), (3, 20)]),  # as the authors' code
        ("resnet152", [(2, 3), (2, 7), (3, 11), (3, 23), (3, 35)]),
    ],
)
def test_places_of_the_five_blocks(name, places):
    with torch.device("meta"):
        network = build_network(
            f"nonlocal-i3d-{name}",
            consensus=mean,
            modality=modality_of("spatial", clip_length=32, frame_interval=2),
            num_classes=2,
        )
    named = [n for n, m in network.named_modules() if isinstance(m, NonLocalBlock)]
    assert named == [f"backbone.layer{stage}.{block}.1" for stage, block in places]


def test_weights_of_blocks_that_pooled_last_are_refused(tmp_path):
    """Without a word they would mean something else: their tensors are called otherwise."""
    modality = modality_of("spatial", clip_length=8, frame_interval=1)
    network = MODELS["nonlocal-i3d-resnet18"](modality=modality, num_classes=2)
    old = {k.replace("1.project.", "1.out."): v for k, v in network.state_dict().items()}
    torch.save(old, tmp_path / "old.pth")
    with pytest.raises(InputError, match=r"project\.weight is absent"):
        MODELS["nonlocal-i3d-resnet18"](
            modality=modality, num_classes=2, weights=str(tmp_path / "old.pth")
        )


def test_all_options_are_kept_with_a_network():
    given = {"window": 0.3}
    kept = resolved_options("mask-nonlocal-i3d-resnet18", given)
    assert kept == {
        "last_stride": 2,
        "stem_stride": None,
        "inflate_both": False,
        "non_local": True,
        "window": 0.3,
        "symmetric": False,
        "pool_first": True,
        "affinity": "embedded_gaussian",
        "use_scale": True,
    }
    assert resolved_options("tsm-resnet18", {}) == {"place": "residual"}
    assert resolved_options("resnet18", {}) == {}
    modality = modality_of("spatial", clip_length=8, frame_interval=1)
    with torch.device("meta"):  # and they build it again
        MODELS["mask-nonlocal-i3d-resnet18"](modality=modality, num_classes=2, **kept)
