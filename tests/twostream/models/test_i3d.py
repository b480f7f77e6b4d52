import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.i3d import I3D, inflate_conv, inflate_norm
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
