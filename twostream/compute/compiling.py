"""torch.compile for evaluation: a minute at the start, then faster batches."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from twostream_base.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def compile_for_eval(network: Network) -> Network:
    """Return a network with the very same weights and layers, whose evaluation is compiled.

    Training `network` or loading weights into either changes both. Logits differ in their last
    bits. What is compiled is `features`, where a network has them apart from its classifier.
    """
    twin = copy.copy(network)  # shares parameters, buffers and layers
    name = "features" if hasattr(network, "features") else "forward"
    run = torch.compile(getattr(network, name))

    def run_or_explain(*arguments: Any) -> Any:
        try:
            return run(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"--compile: the network cannot be compiled here ({reason}); a C++ compiler is "
                "needed, or leave --compile out"
            ) from error

    setattr(twin, name, run_or_explain)
    return twin
