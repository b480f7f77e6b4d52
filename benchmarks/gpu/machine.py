"""What the machine offers: `twostream doctor`, and torch's distributed training on one device."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu.networks import build, random_clips, set_gradient
from benchmarks.gpu.target import Target, run_command
from twostream.compute.distributed import barrier, broadcast_from_rank_0, gather_in_order


def machine(target: Target) -> Iterator[dict[str, Any]]:
    """What doctor finds to be missing, and what card this is."""
    output, seconds = run_command("doctor", "--json", cwd=target.folder)
    gpu = target.is_gpu
    yield {
        "seconds": seconds,
        "not_ok": [row["what"] for row in json.loads(output)["findings"] if not row["ok"]],
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if gpu else "none",
        "cores": os.cpu_count(),
        "bf16": gpu and torch.cuda.is_bf16_supported(including_emulation=False),
    }


def distributed(target: Target) -> Iterator[dict[str, Any]]:
    """One process in a group: NCCL, DDP's gradient, our exchange of objects, SyncBatchNorm in bf16.

    torchrun with one process connects nothing, so the group is joined here by hand. The CPU has no
    SyncBatchNorm.
    """
    backend = "nccl" if target.is_gpu else "gloo"
    rendezvous = f"file://{target.folder / 'rendezvous'}"
    if target.is_gpu:
        torch.cuda.set_device(target.device.index or 0)
    dist.init_process_group(backend, init_method=rendezvous, rank=0, world_size=1)
    torch.manual_seed(0)
    network, modality = build("resnet18", "motion", target)
    clips = random_clips(8, 1, modality, size=112 if target.is_gpu else 32)
    labels = torch.arange(8)

    def loss_of(trained: nn.Module, precision: str) -> float:
        return set_gradient(trained, clips, labels, target=target, precision=precision)

    loss = loss_of(network, "fp32")
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    ddp_loss = loss_of(DistributedDataParallel(network), "fp32")
    difference = max(
        ((parameter.grad - gradient).abs().max() / gradient.abs().max()).item()
        for parameter, gradient in zip(network.parameters(), gradients, strict=True)
    )
    barrier()
    exchanged = broadcast_from_rank_0(lambda: {"a": 1}), gather_in_order([1, 2])
    yield {
        "ok": abs(loss - ddp_loss) < 1e-3 * loss
        and difference < 1e-2
        and exchanged == ({"a": 1}, [1, 2]),
        "backend": backend,
        "loss": loss,
        "ddp_loss": ddp_loss,
        "gradient_difference": difference,
    }
    if target.is_gpu:
        synced = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        sync_loss = loss_of(DistributedDataParallel(synced), "bf16")
        yield {"ok": abs(sync_loss - loss) < 0.05 * loss, "sync_bn_bf16_loss": sync_loss}
    dist.destroy_process_group()
