"""What a trial would sample: pictures, evaluations, downloads, time. Starts nothing.

A run's own plan is :mod:`anisomem.report.plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch

from anisomem.config.schema import Config
from anisomem.measures.retrigger import Retrigger
from anisomem.mitigation.base import Effort, Mitigation
from anisomem.mitigation.scoring import HELD_OUT
from anisomem.models import hub
from anisomem.report.plan import prompts_of
from anisomem.report.table import Table
from anisomem.run import devices
from anisomem.run.clock import synchronise
from anisomem.run.workers import one_thread
from anisomem.tradeoff.settings import expanded, measures
from anisomem.tradeoff.trial import AT_ONCE

SCORED = 4 * (1 + HELD_OUT)  # evaluations for the scores of a picture
PROBE_STEPS = 5  # of the trajectory that time is measured on
BACKWARD = 2  # a gradient takes about as long as so many evaluations


def plan(configs: Sequence[Config], experiment: str) -> Table:
    """One line for each case of an experiment.

    Arguments:
        configs: The composed configurations.
        experiment: The experiment's name.

    Raises:
        UserError: A mitigation that a model which is here does not allow.
    """
    headings = ["model", "prompts", "memorized / other", "settings", "pictures"]
    headings += ["NFE to sample and score", "NFE to mitigate", "gradients", "to download", "time"]
    notes = [
        "Counts are at most: a descent may stop early, and a memorized prompt without a training"
        " picture at hand is left out. Time, where the model is here, from a short trajectory, a"
        f" gradient taken for {BACKWARD} evaluations; a search for what re-triggers is counted,"
        " other measures, and what they download, come on top.",
    ]
    return Table(f"Plan of {experiment}", headings, [_line(one) for one in configs], notes)


def _line(config: Config) -> list[str]:
    settings, prompts, trial = expanded(config), prompts_of(config), config.trial
    mitigations = [setting.build() for setting in settings]
    memorized = min(prompts.memorized, trial.memorized or prompts.memorized)
    others = min(prompts.others, trial.others or prompts.others)
    each = (memorized + others) * len(config.seeds)
    most = sum((mitigation.most for mitigation in mitigations), Effort())
    sampled = each * len(settings) * (2 * trial.steps + SCORED)
    beside = trial.steps * sum(mitigation.beside for mitigation in mitigations)
    spent, gradients = each * (most.nfe + beside), each * most.backward
    for one in (one for one in measures(config) if isinstance(one, Retrigger)):
        searched = memorized * len(settings) * one.steps * one.batch
        again = memorized * len(config.seeds)  # a mitigation is applied twice, and sampled once
        sampled += again * len(settings) * 2 * trial.steps
        spent += searched + again * (2 * most.nfe + beside)
        gradients += searched + again * 2 * most.backward
    time = "unknown"
    if hub.present(*config.network):
        seconds = _seconds(config, mitigations) * (sampled + spent + BACKWARD * gradients)
        time, download = f"{seconds / 60:.0f} min in one process", f"{prompts.bytes / 1e9:.3g} GB"
    else:
        size = hub.size(*config.network)
        download = "unknown offline" if size is None else f"{(size + prompts.bytes) / 1e9:.3g} GB"
    return [
        config.network[0],
        prompts.name,
        f"{memorized} / {others}",
        str(len(settings)),
        f"{each * len(settings):,}",
        f"{sampled:,}",
        f"{spent:,}",
        f"{gradients:,}",
        download,
        time,
    ]


def _seconds(config: Config, mitigations: Sequence[Mitigation]) -> float:
    """The seconds of one evaluation among those of a full batch, by a model that allows them."""
    model = devices.loaded(config)
    for mitigation in mitigations:
        mitigation.require(model)
    x = model.initial_noise(0, AT_ONCE).to(model.device)
    prompts = model.encode(["a"] * AT_ONCE)
    with one_thread(), torch.inference_mode():
        model.sample(x, prompts, 1)  # warms up
        begin = perf_counter()
        model.sample(x, prompts, PROBE_STEPS)
        synchronise(model)
        return (perf_counter() - begin) / (2 * PROBE_STEPS * AT_ONCE)
