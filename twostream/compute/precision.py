"""Arithmetic of the network: float32, or bfloat16 where the device is made for it."""

from __future__ import annotations

import torch

# What torch asks a CPU for; builds without a question say nothing about that feature.
CPU_FEATURES = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def find_precision(name: str, device: torch.device) -> str:
    """Resolve `auto`: `bf16` on GPUs and CPUs that compute it in hardware, else `fp32`.

    A CPU counts when it has AMX or AVX-512's bfloat16 instructions; on others bfloat16 can be
    slower than float32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and any(getattr(torch.cpu, f, lambda: False)() for f in CPU_FEATURES):
        return "bf16"
    return "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Context in which a network computes in `precision`; its weights stay float32."""
    enabled = precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
