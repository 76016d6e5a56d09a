"""Evaluates the missing prompts of a case, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from anisomem import config as configuration
from anisomem.benchmark import Batch, Case
from anisomem.detection.base import Array
from anisomem.engine import Engine
from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel


class Recorder:
    """Evaluates batches of a case's prompts and adds them to its store.

    Arguments:
        case: The case.
        model: Its model, loaded.
    """

    def __init__(self, case: Case, model: DiffusionModel) -> None:
        self.case = case
        self.engine = Engine(
            model, case.detectors, case.config.noise_policy, case.config.batch_size
        )

    def __call__(self, batch: Batch) -> int:
        """Records one batch and returns its number of prompts.

        Raises:
            UserError: The model returned NaN or infinity.
        """
        seed, rows = batch
        prompts = self.case.prompts
        ids = [prompts.ids[i] for i in rows]
        components = self.engine.evaluate([prompts.texts[i] for i in rows], rows, seed)
        _check_finite(components, ids)
        self.case.store.append(ids, seed, components)
        return len(rows)


def record(case: Case, model: DiffusionModel, batches: Sequence[Batch]) -> None:
    """Records all batches; on a CPU one process a core, since small batches leave a second idle.

    How many processes share the work changes no number: batches are the same. Each loads the
    model for itself; ``model`` serves where this process does the work alone.

    Raises:
        UserError: As :class:`Recorder`.
    """
    workers = min(case.config.workers or _cores(model), len(batches))
    with (
        _recorders(case, model, workers, batches) as recorded,
        tqdm(
            total=sum(len(rows) for _, rows in batches),
            desc=case.name,
            unit="prompt",
            disable=None,
        ) as bar,
    ):
        for prompts in recorded:
            bar.update(prompts)


@contextmanager
def _recorders(
    case: Case, model: DiffusionModel, workers: int, batches: Sequence[Batch]
) -> Iterator[Iterator[int]]:
    if workers == 1:
        yield map(Recorder(case, model), batches)
        return
    # A forked child would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    arguments = (OmegaConf.to_yaml(case.config), case.folder.parent.name)
    with context.Pool(workers, _start, arguments) as pool:
        yield pool.imap_unordered(_work, batches)


_recorder: Recorder


def _start(config: str, experiment: str) -> None:
    global _recorder
    torch.set_num_threads(1)
    case = Case(DictConfig(OmegaConf.create(config)), experiment)
    _recorder = Recorder(case, configuration.build(case.config.model, "model"))


def _work(batch: Batch) -> int:
    return _recorder(batch)


def _cores(model: DiffusionModel) -> int:
    return len(os.sched_getaffinity(0)) if model.device.type == "cpu" else 1


def _check_finite(components: Mapping[str, Array], ids: Sequence[str]) -> None:
    """Raises where a component is NaN or infinite."""
    for name, values in components.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise UserError(
                f"the model returned NaN or infinity: {name} of {bad.sum()} prompts, "
                f"first {ids[int(bad.argmax())]!r}; try model.dtype=float32, and check the weights"
            )
