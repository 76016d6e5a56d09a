"""Gradient descent on one tensor a prompt, every row for itself.

What is descended is the caller's: ``anisotropy``, ``wen`` and ``sail`` bring their loss.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anisomem.errors import one_of
from anisomem.mitigation.base import DIVERGED, Effort, require_count, require_number

if TYPE_CHECKING:
    from torch.optim import Optimizer

log = logging.getLogger(__name__)

OPTIMISERS = ("adam", "adamw", "sgd")
#: From the tensors of some rows, and which rows they are, to the objective of each, ``[b]``.
Objective = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Descent:
    """How the optimiser descends, and when it stops.

    Attributes:
        optimiser: ``adam``, ``adamw`` (PyTorch's weight decay, 0.01) or ``sgd``.
        lr: Learning rate.
        steps: The largest number of steps.
        threshold: A row whose objective is not above it stops; None takes all steps.

    Raises:
        UserError: A value out of range.
    """

    optimiser: str
    lr: float
    steps: int
    threshold: float | None

    def __post_init__(self) -> None:
        one_of("optimiser", self.optimiser, OPTIMISERS)
        require_number("lr", self.lr)
        require_count("steps", self.steps)
        if self.threshold is not None:
            require_number("threshold", self.threshold, float("-inf"), allowed=True)

    def __call__(
        self,
        start: Tensor,
        objective: Objective,
        width: int,
        mask: Tensor | None = None,
        race: bool = False,
    ) -> tuple[Tensor, list[Effort]]:
        """The tensors that are kept, and what they took.

        Every step evaluates the objective and takes its gradient; a last evaluation says what was
        reached. A row whose objective or gradient is NaN or infinite keeps the last tensor whose
        objective is finite.

        Arguments:
            start: ``[B, ...]`` in float32 or better.
            objective: What to lower.
            width: Latents that it evaluates for a row, and differentiates.
            mask: 1 where the gradient counts, ``[B, ...]``, and 0 elsewhere, where nothing moves
                but by weight decay.
            race: The first rows to reach the threshold end it for all.
        """
        current = start.clone().requires_grad_()
        optimiser = self._optimiser(current)
        kept = start.clone()
        rows = [_Row() for _ in start]
        active = list(range(len(start)))
        for step in range(self.steps + 1):
            last = step == self.steps
            index = torch.tensor(active, device=start.device)
            with torch.set_grad_enabled(not last):
                values = objective(current[index], index)
            going = []
            for at, (i, value) in enumerate(zip(active, values.tolist(), strict=True)):
                row = rows[i]
                row.steps = step
                if not isfinite(value):
                    self._diverged(row)
                    continue
                kept[i] = current[i].detach()
                row.values.append(value)
                if self.threshold is not None and value <= self.threshold:
                    row.reached, row.note = True, f"reached {self.threshold:g}"
                else:
                    going.append(at)
            won = race and any(rows[i].reached for i in active)
            active = [active[at] for at in going]
            if last or won or not active:
                break
            (gradient,) = torch.autograd.grad(values[going].sum(), current)
            for i in [i for i in active if not gradient[i].isfinite().all()]:
                self._diverged(rows[i])
                active.remove(i)
            if not active:
                break
            current.grad = gradient.nan_to_num(0, 0, 0)
            if mask is not None:
                current.grad *= mask
            optimiser.step()
        for i in active:
            if self.threshold is not None:
                rows[i].note = f"still above {self.threshold:g}"
        return kept, [row.effort(width) for row in rows]

    def most(self, width: int) -> Effort:
        """What a row takes where all steps are taken."""
        return Effort(width * (self.steps + 1), width * self.steps, iterations=self.steps)

    def _diverged(self, row: _Row) -> None:
        row.note = f"{DIVERGED} at step {row.steps}, kept the last finite one"
        log.warning("%s; lower the learning rate, now %g", row.note, self.lr)

    def _optimiser(self, parameter: Tensor) -> Optimizer:
        match self.optimiser:
            case "adam":
                return torch.optim.Adam([parameter], lr=self.lr)
            case "adamw":
                return torch.optim.AdamW([parameter], lr=self.lr)
        return torch.optim.SGD([parameter], lr=self.lr)


class _Row:
    """What happens to one row."""

    def __init__(self) -> None:
        self.steps, self.note, self.reached = 0, "", False
        self.values: list[float] = []

    def effort(self, width: int) -> Effort:
        return Effort(
            nfe=width * (self.steps + 1),
            backward=width * self.steps,
            iterations=self.steps,
            before=self.values[0] if self.values else None,
            after=self.values[-1] if self.values else None,
            note=self.note,
        )
