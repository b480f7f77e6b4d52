import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostream.models.i3d import I3D
from twostream.models.inflation import inflate_conv, inflate_norm
from twostream.vision import torchvision


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
