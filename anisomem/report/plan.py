"""What an experiment would do: prompts, evaluations, bytes, memory and time. Starts nothing.

It asks files, cards and the hub's list of files; the plan of a trade-off is
:mod:`anisomem.tradeoff.plan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from anisomem.benchmark.case import require_baseline
from anisomem.benchmark.entries import SHARD
from anisomem.config.schema import Config
from anisomem.datasets import cards
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.engine.batches import GPU_BATCH
from anisomem.engine.counting import bytes_kept, counts
from anisomem.engine.engine import Engine
from anisomem.errors import UserError
from anisomem.models import families, hub
from anisomem.models.loading import Source
from anisomem.report.table import Table
from anisomem.run import devices, labelled
from anisomem.run.clock import peak_mb, synchronise
from anisomem.run.workers import one_thread

PROBE = 32  # prompts of the batch that time and memory are measured on
PATIENCE = 5.0  # seconds for one prompt above which it is measured on that one


@dataclass(frozen=True)
class PromptCounts:
    """What they are called, how many there are, bytes to be fetched first, texts to measure on."""

    name: str
    memorized: int
    others: int
    bytes: int
    texts: Sequence[str]


def plan(configs: Sequence[Config], experiment: str) -> Table:
    """One line for each case of an experiment.

    Arguments:
        configs: The composed configurations.
        experiment: The experiment's name.
    """
    lines = [_line(config) for config in configs]
    headings = ["model", "prompts", "memorized / other", "seeds", "rows"]
    headings += ["NFE per prompt and seed", "NFE in all", "JVP in all"]
    headings += ["to download", "memory", "time"]
    notes = [
        "NFE and JVP are counted by the engine on a stand-in with closed form, for one prompt.",
        "Memory and time: measured on one batch where the model is here. Else the peak is the"
        f" weights, what {SHARD} prompts' evaluations at one noise sample take until they are"
        " components, and the activations of a full batch, which is halved where memory ends;"
        " kernels' work space, and attention maps of directional derivatives, come on top.",
    ]
    return Table(f"Plan of {experiment}", headings, lines, notes)


def _line(config: Config) -> list[str]:
    chosen = detectors(config.detector)
    for detector in chosen:
        detector.require(config.stands_for)
    require_baseline(config, chosen)
    prompts, seeds = prompts_of(config), len(config.seeds)
    labelled.require_both(prompts.name, prompts.memorized, prompts.others)
    counted = counts(chosen, config.noise_policy)
    references = config.references.count if any(d.uses_references for d in chosen) else 0
    total = (prompts.memorized + prompts.others + references) * seeds
    jvps = f" + {counted.jvps} JVP" if counted.jvps else ""
    model = _present(config, chosen, prompts.texts, total) or _absent(config, chosen)
    sizes = [size for size in (model.bytes, prompts.bytes) if size]
    download = f"{sum(sizes) / 1e9:.3g} GB" if sizes else "nothing"
    return [
        config.network[0],
        prompts.name,
        f"{prompts.memorized} / {prompts.others}"
        + (f" + {references} references" if references else ""),
        str(seeds),
        str(len(chosen)),
        f"{counted.nfe}{jvps}, and {counted.shared_nfe} for all",
        f"{total * counted.nfe + seeds * counted.shared_nfe:,}",
        f"{total * counted.jvps:,}",
        download if model.bytes is not None else "unknown offline",
        model.memory,
        model.time,
    ]


def prompts_of(config: Config) -> PromptCounts:
    """Reads prompts from their files; where they are not here, from the set's card or the hub.

    Raises:
        UserError: A dataset of the hub without a card, which only a download could count.
    """
    dataset = config.dataset
    card = cards.read(dataset["name"]) if dataset.get("name") in cards.names() else None
    if card is None and (path := dataset.get("path")) and not Path(path).exists():
        raise UserError(f"a dry run downloads nothing, and {path!r} is neither file nor folder")
    if card is None or not card.hub:
        try:
            prompts = labelled.prompts(config)
        except UserError:
            if card is None:
                raise
        else:
            prompts = prompts.subset(labelled.limited(prompts, config.limit, config.limit_seed))
            memorized = int((prompts.labels == 1).sum())
            return PromptCounts(
                prompts.name, memorized, len(prompts) - memorized, 0, prompts.texts
            )
    folder = cards.folder(dataset["data"])
    missing = sum(source.bytes for source in card.sources if source.find(folder) is None)
    sizes = card.memorized, card.others
    if dataset.get("memorized_by") == "sd20":  # the card counts as for the other model
        sizes = card.others, card.memorized
    if config.limit and config.limit < sum(sizes):  # to within one a block
        memorized = max(2, round(config.limit * sizes[0] / sum(sizes)))
        sizes = memorized, config.limit - memorized
    return PromptCounts(str(dataset["name"]), *sizes, missing, ["a photograph"])


@dataclass(frozen=True)
class ModelDemand:
    """What a model asks for.

    Attributes:
        bytes: How many are to be downloaded, None where the hub does not answer.
        memory, time: In words.
    """

    bytes: int | None
    memory: str
    time: str


def _present(
    config: Config, detectors: Sequence[Detector], texts: Sequence[str], total: int
) -> ModelDemand | None:
    """Measured on one batch; None where the model is not here."""
    if not all(hub.present(*network) for network in config.networks):
        return None
    model = devices.loaded(config)
    engine = Engine(model, detectors, config.noise_policy, config.batch_size)

    def seconds(some: Sequence[str]) -> float:
        begin = perf_counter()
        engine.evaluate(some, range(len(some)), config.seeds[0])
        synchronise(model)
        return perf_counter() - begin

    with one_thread():  # as a run on a CPU computes
        alone = seconds(texts[:1])
        batch = texts[: PROBE if alone < PATIENCE else 1]
        peak = peak_mb(model, lambda: seconds(batch))
        each = seconds(batch) / len(batch) if alone < PATIENCE else alone
    return ModelDemand(0, f"{peak / 1e3:.2g} GB", f"{each * total:.0f} s in one process")


def _absent(config: Config, detectors: Sequence[Detector]) -> ModelDemand:
    """Asks the hub's list of files, and the architecture where we have it."""
    path, *_ = config.network
    dtype = Source(path, dtype=config.model["dtype"]).precision
    outline, memory = families.outline(path), "unknown"
    if outline:
        batch = config.batch_size or GPU_BATCH
        weights = outline.parameters * dtype.itemsize * len(config.networks)
        held = SHARD * bytes_kept(detectors, outline.latent_shape, dtype)
        each = outline.activations(dtype)
        parts = [f"{size / 1e9:.2g} GB" for size in (weights + held + batch * each, weights, held)]
        memory = "{}: {} + {} + {batch} × {each:.2g} GB".format(
            *parts, batch=batch, each=each / 1e9
        )
    lacking = [network for network in config.networks if not hub.present(*network)]
    sizes = [hub.size(*network) for network in lacking]
    known = [size for size in sizes if size is not None]
    return ModelDemand(sum(known) if len(known) == len(sizes) else None, memory, "unknown")
