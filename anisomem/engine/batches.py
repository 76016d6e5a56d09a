"""A model evaluated in batches that fit its memory.

It knows neither detectors nor needs, so mitigations take it too.
"""

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Prediction

T = TypeVar("T")
log = logging.getLogger(__name__)

CPU_BATCH, GPU_BATCH = 64, 256  # latents a forward pass starts with; halved where memory ends


class Batches:
    """A model evaluated in batches, with what is evaluated once for every prompt.

    Arguments:
        model: The model that is evaluated.
        noise_policy: ``shared`` or ``per_prompt``, see :class:`anisomem.engine.engine.Engine`.
        size: Latents in a forward pass, or None to choose.

    Attributes:
        size: Latents in a forward pass, after any halving.
    """

    def __init__(
        self, model: DiffusionModel, noise_policy: str = "shared", size: int | None = None
    ) -> None:
        self.model, self.noise_policy = model, noise_policy
        self.size = size or (CPU_BATCH if model.device.type == "cpu" else GPU_BATCH)
        self._unconditional: dict[tuple[int, int, float], Prediction] = {}

    @cached_property
    def empty(self) -> Conditioning:
        """The conditioning of no prompt, one row."""
        return self.model.encode([""])

    @property
    def shared_nfe(self) -> int:
        """Evaluations so far that serve every prompt."""
        return len(self._unconditional)

    def predict_unconditional(self, x: Tensor, t: float) -> Prediction:
        """The prediction without prompt."""
        return self.model.predict(x, t, self.empty[[0] * len(x)])

    def unconditional_on_noise(self, x: Tensor, t: float, draw: tuple[int, int]) -> Prediction:
        """The prediction without prompt on pure noise, evaluated once where all share it.

        Arguments:
            x: The noise, ``[n, C, H, W]``.
            t: The timestep of all rows.
            draw: Seed and number of the noise sample.
        """
        if self.noise_policy == "per_prompt":
            parts = self.in_batches(len(x), lambda rows: self.predict_unconditional(x[rows], t))
            return _finite(Prediction.cat(parts))
        key = (*draw, t)
        if key not in self._unconditional:
            self._unconditional[key] = _finite(self.predict_unconditional(x[:1], t))
        return self._unconditional[key].expand(len(x))

    def in_batches(self, n: int, part: Callable[[slice], T], width: int = 1) -> list[T]:
        """``part`` of consecutive rows; where memory ends, the batch is halved for good.

        Arguments:
            n: The number of rows.
            part: What is to be done with some of them.
            width: Latents that it evaluates for each row.
        """
        parts, begin = [], 0
        while begin < n:
            try:
                end = begin + max(1, self.size // width)
                parts.append(part(slice(begin, min(n, end))))
                begin = end
                continue
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise UserError(
                        "out of memory at batch size 1; use a smaller model, model.dtype=float16, "
                        "or model.device=cpu"
                    ) from None
            # Only here, outside the handler, are the failed pass's tensors free to go.
            self.size //= 2
            torch.cuda.empty_cache()
            log.warning("out of memory: batch size is now %d", self.size)
        return parts


def _finite(prediction: Prediction) -> Prediction:
    """The prediction itself, or an error: a model that fails on no prompt fails on all."""
    if not prediction.raw.isfinite().all():
        raise UserError(
            "the model returns NaN or infinity without any prompt; try model.dtype=float32, "
            "and check the weights"
        )
    return prediction


def again(rows: slice, n: int) -> slice | list[int]:
    """Rows of ``n`` that are taken again and again; where it can be a slice, which copies nothing.

    Arguments:
        rows: Which of the repeated ones.
        n: How many there are before they are repeated.
    """
    first = rows.start // n * n
    if rows.stop <= first + n:
        return slice(rows.start - first, rows.stop - first)
    return [row % n for row in range(rows.start, rows.stop)]
