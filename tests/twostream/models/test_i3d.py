import torch
from torch import nn

from twostream.models.i3d import I3D
from twostream.vision import torchvision


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
