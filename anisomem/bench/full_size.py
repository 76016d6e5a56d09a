"""What one full-size model with random weights costs: a forward pass, a prompt, ten prompts.

The bundled models are too small to tell; these have the published architectures, so numbers of
evaluations and bytes are right and scores mean nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from anisomem.bench import cases
from anisomem.bench.line import CostLine, spread
from anisomem.detection.base import Detector, groups
from anisomem.engine.engine import Engine
from anisomem.models.pipeline import PipelineModel
from anisomem.run.clock import Peak, nothing, synchronise, take_turns
from anisomem.run.provenance import device_name

NOTE = (
    "Random weights: times and memory are those of the pretrained model, nothing else is."
    " Medians (turns: {turns}) with least and greatest in brackets, {threads} threads. Every"
    " detector alone with one noise sample, the shared evaluations of its noise seed included."
    " docs/costs.md says how each is measured."
)
SIZES = (1, 10)  # prompts


def lines(
    folder: Path, model: Sequence[str], network: PipelineModel, sizes: Sequence[int], turns: int
) -> list[CostLine]:
    """Parameters, seconds of a forward pass and of every detector, and peak memory.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        network: The model, built.
        sizes: Numbers of prompts to time each detector on.
        turns: How often every measurement is made.
    """
    # Published weights cost what others do, and not every model has them.
    case = cases.case(folder, [*model, "model.stands_for=sd14"], max(2, *sizes))
    texts, config = case.prompts.texts, case.config
    batch_size, warm_up = config.batch_size, None
    if network.device.type == "cpu":
        batch_size = batch_size or 1  # larger ones take more memory, not less time
        warm_up = nothing  # a turn takes minutes
    with Peak(network) as peak:
        measured = [_forward(network, texts, turns)]
        for members in _distinct(case.configured):
            evaluation = _Evaluation(network, members, config.noise_policy, batch_size)
            contenders = {str(n): evaluation.evaluating(texts[:n], config.seeds[0]) for n in sizes}
            seconds = take_turns(contenders, turns, members[0].name, warm_up)
            measured.append(evaluation.line(seconds))
    return [_parameters(network), *measured, _peak(network, peak.mb)]


def _distinct(detectors: Sequence[Detector]) -> list[list[Detector]]:
    """Groups detectors by what they record of one noise sample, without the terms of others."""
    by_recorded = groups([replace(detector, n=1) for detector in detectors if detector.n])
    names = [set(members[0].component_names) for members in by_recorded.values()]
    return [
        members
        for members, own in zip(by_recorded.values(), names, strict=True)
        if not any(own < other for other in names)
    ]


class _Evaluation:
    """One set of components, evaluated anew for every timing."""

    def __init__(
        self,
        network: PipelineModel,
        members: Sequence[Detector],
        noise_policy: str,
        batch_size: int | None,
    ) -> None:
        self.network, self.members = network, members
        self.noise_policy, self.batch_size = noise_policy, batch_size
        self.counts: dict[int, tuple[int, int, int]] = {}

    def evaluating(self, texts: Sequence[str], seed: int) -> Callable[[], None]:
        def evaluate() -> None:
            engine = Engine(self.network, self.members, self.noise_policy, self.batch_size)
            nfe, jvps = self.network.nfe, self.network.jvps
            engine.evaluate(texts, range(len(texts)), seed)
            synchronise(self.network)
            self.batch_size = engine.batches.size  # memory that has ended does not again
            spent = (self.network.nfe - nfe, engine.batches.shared_nfe, self.network.jvps - jvps)
            self.counts[len(texts)] = spent

        return evaluate

    def line(self, seconds: dict[str, list[float]]) -> CostLine:
        prompts = max(self.counts)
        nfe, shared, jvps = self.counts[prompts]
        derivatives = f", {jvps / prompts:g} JVPs" if jvps else ""
        return CostLine(
            f"{self.members[0].name}: seconds on {' / '.join(seconds)} prompts",
            " / ".join(spread(times) for times in seconds.values()),
            f"{(nfe - shared) / prompts:g} NFE{derivatives} per prompt + {shared} NFE shared",
            device_name(self.network.device),
            {"seconds": seconds, "nfe_shared_nfe_jvps": self.counts},
        )


def _forward(network: PipelineModel, texts: Sequence[str], turns: int) -> CostLine:
    conditioning, t = network.encode(texts[:1]), network.timesteps()[0]

    def predict(n: int) -> Callable[[], None]:
        x = network.initial_noise(0, n).to(network.device, network.dtype)

        @torch.no_grad()
        def forward() -> None:
            network.predict(x, t, conditioning[[0] * n])
            synchronise(network)

        return forward

    seconds = take_turns({str(n): predict(n) for n in (1, 2)}, turns, "forward pass")
    return CostLine(
        f"seconds of a forward pass on 1 / 2 latents of {network.latent_shape}",
        " / ".join(spread(times) for times in seconds.values()),
        "1 / 2 NFE",
        device_name(network.device),
        {"seconds": seconds},
    )


def _parameters(network: PipelineModel) -> CostLine:
    counts = {
        name: sum(p.numel() for module in modules for p in module.parameters())
        for name, modules in network.networks.items()
    }
    return CostLine(
        "parameters of " + " / ".join(counts),
        " / ".join(f"{count:,}" for count in counts.values()),
        str(network.dtype).removeprefix("torch."),
        device_name(network.device),
        counts,
    )


def _peak(network: PipelineModel, megabytes: float) -> CostLine:
    where = "of the GPU" if network.device.type == "cuda" else "of the process"
    return CostLine(
        f"peak memory {where} in MB",
        f"{megabytes:.0f}",
        "",
        device_name(network.device),
        {"megabytes": megabytes},
    )
