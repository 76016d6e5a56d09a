"""Steps of a training whose work on a GPU is recorded once and then replayed.

A step of a small network is some thousands of kernels of a few microseconds each; starting them
one by one from Python takes several times as long as they do.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels


class Recorded:
    """A function of tensors that are equal in shape from call to call, as a CUDA graph.

    On other devices it is called as it is.

    Arguments:
        function: Waits for nothing that the GPU computes; what it changes besides its result are
            tensors that stay where they are.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.calls = 0
        self.inputs: list[Tensor] = []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Tensor

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The function's result, in memory of its own."""
        if not inputs[0].is_cuda:
            return self.function(*inputs)
        if self.calls < WARM_UP:
            self.calls += 1
            return self._aside(*inputs)
        if self.graph is None:
            self.inputs = [tensor.clone() for tensor in inputs]
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.result = self.function(*self.inputs)
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.result.clone()

    def _aside(self, *inputs: Tensor) -> Tensor:
        """A call on a stream of its own, as recordings are made."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = self.function(*inputs)
        current.wait_stream(stream)
        return result


class AdamW(torch.optim.AdamW):
    """The optimiser of a step that can be recorded: its rate is a tensor beside the parameters.

    Arguments:
        parameters: All on one device.
        weight_decay: As of torch's.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float) -> None:
        held = list(parameters)
        self.rate = torch.zeros((), device=held[0].device)
        gpu = self.rate.is_cuda
        super().__init__(held, self.rate, weight_decay=weight_decay, fused=gpu, capturable=gpu)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of torch's, but for the rate, which the loop sets, and what the device asks for.

        A state that was saved on another kind of device says what that one asked for.
        """
        given, own = state_dict["param_groups"], self.param_groups
        asked = [{key: group[key] for key in ("fused", "capturable")} for group in own]
        groups = [group | here for group, here in zip(given, asked, strict=True)]
        super().load_state_dict(state_dict | {"param_groups": groups})
        for group in self.param_groups:
            group["lr"] = self.rate
