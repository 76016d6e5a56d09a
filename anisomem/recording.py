"""Evaluates the missing prompts of a case, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import perf_counter

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from anisomem import config as configuration
from anisomem.benchmark import Batch, Case
from anisomem.engine import Engine
from anisomem.errors import UserError
from anisomem.models.base import DiffusionModel
from anisomem.provenance import device_name, git_commit
from anisomem.storage.store import Origin


class Recorder:
    """Evaluates batches of a case's prompts and adds them to its store.

    Arguments:
        case: The case.
        model: Its model, loaded.
    """

    def __init__(self, case: Case, model: DiffusionModel) -> None:
        self.case = case
        self.device, self.commit = device_name(model.device), git_commit(Path(__file__).parent)
        self.engine = Engine(
            model, case.detectors, case.config.noise_policy, case.config.batch_size
        )

    def __call__(self, batch: Batch) -> int:
        """Records one batch and returns its number of prompts.

        Raises:
            UserError: The model returned NaN or infinity without any prompt.
        """
        seed, rows = batch
        texts, ids = self.case.texts, [self.case.ids[i] for i in rows]
        collector = self.case.tensors.collector(ids, seed)
        begin = perf_counter()
        components = self.engine.evaluate([texts[i] for i in rows], rows, seed, collector)
        seconds = perf_counter() - begin
        collector.write()
        origin = Origin(
            self.engine.batch_size, self.device, self.commit, self.engine.model.revision
        )
        self.case.store.append(ids, seed, components, seconds, origin)
        return len(rows)


def record(case: Case, model: DiffusionModel, batches: Sequence[Batch]) -> None:
    """Records all batches; on a CPU one process a core, since small batches leave a second idle.

    How many processes share the work changes no bit: batches are the same, and each process
    computes in one thread. Each loads the model for itself; ``model`` serves where this process
    does the work alone.

    Raises:
        UserError: As :class:`Recorder`, or a process died.
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
def one_thread() -> Iterator[None]:
    """Torch computes in one thread meanwhile: small latents only lose by a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _recorders(
    case: Case, model: DiffusionModel, workers: int, batches: Sequence[Batch]
) -> Iterator[Iterator[int]]:
    recorder = Recorder(case, model)  # here also where others do the work: it checks the settings
    if workers == 1:
        with one_thread():
            yield map(recorder, batches)
        return
    # A forked child would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    arguments = (OmegaConf.to_yaml(case.config), case.folder.parent.name)
    with ProcessPoolExecutor(workers, context, _start, arguments) as pool:
        try:
            futures = [pool.submit(_work, batch) for batch in batches]
            yield (future.result() for future in as_completed(futures))
        except BrokenProcessPool:
            raise UserError(
                "a recording process died (killed, or out of memory); nothing recorded is lost, "
                f"run the same command again, with fewer than workers={workers} if memory is short"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_recorder: Recorder


def _start(config: str, experiment: str) -> None:
    global _recorder
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    torch.set_num_threads(1)
    case = Case(DictConfig(OmegaConf.create(config)), experiment)
    _recorder = Recorder(case, configuration.build(case.config.model, "model"))


def _end_with_parent() -> None:
    """A killed parent leaves nobody who collects what its workers do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(batch: Batch) -> int:
    return _recorder(batch)


def _cores(model: DiffusionModel) -> int:
    return len(os.sched_getaffinity(0)) if model.device.type == "cpu" else 1
