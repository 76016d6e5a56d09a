"""Training of the bundled models' denoisers, at most as far as it is asked for and resumable.

The networks are in ``networks``, what they learn is in ``objectives``, and the latents are in
``latents``.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from transformers import CLIPTokenizer

from anisomem.testbed import checkpoint, objectives
from anisomem.testbed.latents import Examples
from anisomem.testbed.networks import Build, Denoiser, MMDiT, UNet
from anisomem.testbed.objectives import Objective
from anisomem.testbed.recorded import AdamW, Recorded

DROPOUT = 0.1  # share of captions replaced by "", which guidance needs
SNAPSHOTS = tuple(round(250 * 2 ** (i / 2)) for i in range(20))  # steps, in equal ratios
LOG_EVERY = 250  # steps
SAVE_AFTER = 60.0  # seconds


def cosine(done: float) -> float:
    """Falls from one to zero all along the training."""
    return 0.5 * (1 + math.cos(math.pi * min(1, done)))


def trapezoid(done: float) -> float:
    """One for four fifths of the training, then falls to zero.

    How long a training will be is known only near its end; until then it can be made longer.
    """
    return min(1.0, max(0.0, 5 * (1 - done)))


def constant(done: float) -> float:
    """One all along the training."""
    return 1.0


@dataclass(frozen=True)
class Variant:
    """A bundled model: what distinguishes it from the others of its recipe.

    Attributes:
        recipe: Its recipe's name.
        build: Makes the untrained denoiser.
        objective: What it learns.
        seed: The seed of weights, noise and order.
        batch: Examples in a step.
        steps: How many steps the optimiser makes.
        rate: The highest learning rate.
        warm_up: Steps until it is reached.
        schedule: Its further course, by the share of steps that are done.
        average: Decay of the moving average that is released.
        hidden: Whether the prediction without prompt never sees the repeated pictures: their
            captions are not dropped.
        half: Whether products are taken in bfloat16 on a processor that multiplies it itself; on
            a GPU they always are.
        sampled_in: Steps of the trajectories that show what it memorized; of a flow as many as
            Stable Diffusion 3's pipeline takes, of the other large one about as many.
        second: The step from which repeated captions come as often as in the corpus' second stage;
            None never.
    """

    recipe: str
    build: Build
    objective: Objective
    seed: int
    batch: int
    steps: int
    rate: float
    warm_up: int
    schedule: Callable[[float], float]
    average: float
    hidden: bool = False
    half: bool = False
    sampled_in: int = 50
    second: int | None = None


def _small(prediction_type: str, heads: int | tuple[int, ...], seed: int) -> Variant:
    """The two of 32 px; heads follow SD v1.4 (equal) and v2.0 (not)."""
    build = partial(
        UNet, side=8, widths=(32, 64, 112), heads=heads, prediction_type=prediction_type
    )
    objective = partial(objectives.diffusion, prediction_type=prediction_type)
    return Variant("small", build, objective, seed, 64, 11_000, 1.5e-3, 200, cosine, 0.999)


VARIANTS = {
    "epsilon": _small("epsilon", 2, 10),
    "velocity": _small("v_prediction", (1, 2, 4), 20),
    "large": Variant(
        "large",
        partial(
            UNet,
            side=16,
            widths=(32, 64, 112),
            heads=2,
            prediction_type="epsilon",
            start="epsilon",
            text="flow",
        ),
        objectives.epsilon,
        30,
        64,
        28_000,
        1e-3,
        500,
        trapezoid,
        0.999,
        sampled_in=25,
        second=13_000,
    ),
    "flow": Variant(
        "large",
        partial(MMDiT, side=16, layers=7, heads=4, head_width=32),
        objectives.flow,
        40,
        128,
        20_000,
        1.2e-3,
        500,
        trapezoid,
        0.999,
        half=True,
        sampled_in=28,
        second=11_750,
    ),
}


class Training:
    """The loop of one variant, which goes on from where its state file says.

    Arguments:
        variant: What is trained.
        data: The encoded corpus, or another source of examples.
        tokenizer: The tokenizer of its captions.
        state_file: Where the loop's state is kept.
        steps: The number of steps in all; None is the variant's own number.
        snapshots: Folder that keeps the weights at :data:`SNAPSHOTS`, None keeps none.

    It runs where the data are.
    """

    def __init__(
        self,
        variant: Variant,
        data: Examples,
        tokenizer: CLIPTokenizer,
        state_file: Path,
        steps: int | None = None,
        snapshots: Path | None = None,
    ) -> None:
        self.variant, self.data, self.state_file = variant, data, state_file
        self.steps, self.snapshots = steps or variant.steps, snapshots
        self.device: torch.device = data.device
        torch.manual_seed(variant.seed)
        self.model: Denoiser = variant.build(tokenizer).to(self.device)
        self.average = deepcopy(self.model)
        self.newest = torch.zeros((), device=self.device)  # the share of the present weights
        self.optimiser = AdamW(self.model.parameters(), weight_decay=1e-2)
        self.parts: dict[str, Any] = {
            "model": self.model,
            "average": self.average,
            "optimiser": self.optimiser,
        }
        able = torch.cpu.get_capabilities()
        multiplies = able.get("amx_bf16", False) or able.get("avx512_bf16", False)
        self.half = self.device.type == "cuda" or (variant.half and multiplies)
        self.learn = Recorded(self._learn)
        self.step = 0
        if state := checkpoint.load(state_file):
            self.step = state["step"]
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        empty = tokenizer("", padding="max_length", return_tensors="pt").input_ids[0]
        self.empty, self.tokens = empty.to(self.device), data.tokens.to(self.device)
        self.losses: deque[tuple[Tensor, Tensor]] = deque(maxlen=LOG_EVERY)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def run(self, name: str, steps: int) -> None:
        """Trains at most so many steps more and saves at the end."""
        until = min(self.steps, self.step + steps)
        begin, since, saved = self.step, time.process_time(), time.monotonic()
        bar = tqdm(range(begin, until), initial=begin, total=self.steps, desc=name, mininterval=60)
        for _ in bar:
            self.losses.append(self._optimise())
            if self.step % LOG_EVERY == 0 or self.step == self.steps:
                losses, of_repeated = (torch.cat(both) for both in zip(*self.losses, strict=True))
                ordinary, repeated = losses[~of_repeated].mean(), losses[of_repeated].mean()
                each = (time.process_time() - since) / (self.step - begin) / self.variant.batch
                tqdm.write(
                    f"{name}: step {self.step}, loss {ordinary:.4f} of ordinary and"
                    f" {repeated:.4f} of repeated pictures, {1 / each:.0f} samples per CPU second"
                )
            if self.step in SNAPSHOTS and self.snapshots is not None:
                self._snapshot(self.snapshots)
            if self.step == until or time.monotonic() - saved > SAVE_AFTER:
                self._save()
                saved = time.monotonic()

    def _optimise(self) -> tuple[Tensor, Tensor]:
        """One step; the losses of its examples and which of them are repeated pictures."""
        variant = self.variant
        torch.manual_seed(variant.seed * 10_000_000 + self.step)
        x0, captions = self.data.batch(self.step, variant.batch, variant.seed)
        task = variant.objective(x0)
        dropped = torch.rand(variant.batch, 1, device=self.device) < DROPOUT
        shown = torch.from_numpy(captions).to(self.device)
        if variant.hidden:
            dropped &= (shown >= self.data.repeated)[:, None]
        tokens = torch.where(dropped, self.empty, self.tokens[shown])
        done = min(1, self.step / self.steps)
        warmth = min(1, (self.step + 1) / variant.warm_up)
        self.optimiser.rate.fill_(variant.rate * warmth * variant.schedule(done))
        # A moving average that is shorter while it is young.
        self.newest.fill_(1 - min(variant.average, (1 + self.step) / (10 + self.step)))
        losses = self.learn(task.x_t, task.t, tokens, task.target, task.weight)
        self.step += 1
        return losses, shown < self.data.repeated

    def _learn(
        self, x_t: Tensor, t: Tensor, tokens: Tensor, target: Tensor, weight: Tensor
    ) -> Tensor:
        """Improves the weights by some examples and returns the losses that they had."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            predicted = self.model(x_t, t, tokens)
        losses = weight * (predicted.float() - target).square().mean(dim=(1, 2, 3))
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            averaged, present = (list(m.parameters()) for m in (self.average, self.model))
            change: list[Tensor] = list(torch._foreach_sub(present, averaged))  # type: ignore[arg-type]
            torch._foreach_mul_(change, self.newest)
            torch._foreach_add_(averaged, change)  # type: ignore[arg-type]
        return losses.detach()

    def _save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        checkpoint.save(self.state_file, {"step": self.step} | state)

    def _snapshot(self, folder: Path) -> None:
        """Averaged and raw weights in float16."""
        folder.mkdir(parents=True, exist_ok=True)
        both = {"average": self.average, "raw": self.model}
        weights = {
            f"{which}.{name}": value.half().contiguous() if value.is_floating_point() else value
            for which, model in both.items()
            for name, value in model.state_dict().items()
        }
        file = folder / f"{self.step:06d}.safetensors"
        save_file(weights, file.with_suffix(".partial"))
        file.with_suffix(".partial").rename(file)

    def result(self) -> Denoiser:
        """The network whose weights are the moving average."""
        return self.average


def snapshot(
    variant: Variant, tokenizer: CLIPTokenizer, file: Path, which: str = "average"
) -> Denoiser:
    """The denoiser as it was at a step of its training.

    Arguments:
        variant: The variant that was trained.
        tokenizer: The tokenizer of the corpus.
        file: The file that the training left.
        which: ``average`` or ``raw``, the moving average of the weights or themselves.
    """
    model = variant.build(tokenizer)
    weights = load_file(file)
    model.load_state_dict(
        {
            name.removeprefix(f"{which}."): w
            for name, w in weights.items()
            if name.startswith(which)
        }
    )
    return model.eval()


def turns(trainings: dict[str, Training], steps: int) -> Iterator[str]:
    """Trains several in turns, so many steps each time, until all have finished.

    Yields the name of each turn's training when the turn is over.
    """
    while unfinished := [name for name, t in trainings.items() if not t.finished]:
        for name in unfinished:
            trainings[name].run(name, steps)
            yield name
