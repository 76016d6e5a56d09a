"""Deterministic sampling with classifier-free guidance: its steps, and what may change them.

The formulas are those of :meth:`anisomem.models.base.DiffusionModel.trajectory`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from anisomem.models.prediction import Prediction
from anisomem.models.schedule import Schedule

#: Predictions with and, where guidance needs it, without the prompts, at latents and a timestep.
Evaluate = Callable[[Tensor, float], tuple[Prediction, Prediction | None]]
#: A guidance scale for every row, from the timestep and the rows' norms of c - u, ``[n]`` both.
Guidance = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Step:
    """A step of a trajectory.

    Attributes:
        t: The timestep of the latents.
        conditional: The prediction with the prompts at the latents before the step.
        unconditional: The output without the prompts; None where guidance does not need it.
        after: The latents after the step, ``[n, C, H, W]``.
    """

    t: float
    conditional: Prediction
    unconditional: Prediction | None
    after: Tensor


Correct = Callable[[Step], Tensor]


def steps(
    x: Tensor,
    schedule: Schedule,
    through: Sequence[tuple[float, tuple[Tensor, Tensor]]],
    guidance: float | Guidance,
    evaluate: Evaluate,
    correct: Correct | None,
) -> Iterator[Step]:
    """The steps of a model's trajectory, one after the other.

    Arguments:
        x: The noise that it begins with.
        schedule: That of the model.
        through: The timesteps, each with the scales of data and noise that it leads to.
        guidance: The guidance scale w, or what gives every row's in each step.
        evaluate: What evaluates the model.
        correct: What gives the latents to go on from, from the step that was taken.
    """
    for t, target in through:
        conditional, unconditional = evaluate(x, t)
        guided = conditional
        if unconditional is not None:
            scale: float | Tensor
            if isinstance(guidance, int | float):
                scale = guidance
            else:
                norms = (conditional.output - unconditional.output).flatten(1).norm(dim=1)
                scale = guidance(t, norms)
            guided = unconditional.guided(conditional, scale)
        alpha, sigma = guided.coefficient(target[0]), guided.coefficient(target[1])
        x = alpha * schedule.bounded(guided.x0) + sigma * guided.epsilon
        step = Step(t, conditional, unconditional, x)
        if correct is not None:
            x = correct(step)
            step = replace(step, after=x)
        yield step
