"""What the first up-sampling block of a U-Net makes of its input, recorded while it computes.

Activations are reduced as soon as they are there; recording changes no prediction. Its attention
is in ``unet_attention``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def pooling(unet: nn.Module) -> Iterator[list[Tensor]]:
    """Meanwhile the activations of the first up-sampling block's residual layers are recorded.

    A layer puts its input, the time and what it has made of both through the same nonlinearity;
    it is the last one's output that stays.

    Yields:
        The largest over positions of each layer's activation, ``[n, channels]`` a layer, in their
        order; filled by a pass.
    """
    layers = unet.get_submodule("up_blocks.0.resnets")
    pooled: list[Tensor] = [torch.empty(0)] * len(list(layers.children()))

    def kept(place: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, given: Any, activation: Tensor) -> None:
            if activation.ndim == 4:  # the time has no positions
                precise = torch.promote_types(activation.dtype, torch.float32)
                pooled[place] = activation.amax(dim=(2, 3)).to(precise)

        return keep

    hooks = [
        layer.get_submodule("nonlinearity").register_forward_hook(kept(place))
        for place, layer in enumerate(layers.children())
    ]
    try:
        yield pooled
    finally:
        for hook in hooks:
            hook.remove()
