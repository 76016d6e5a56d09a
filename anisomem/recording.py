"""Evaluates the missing prompts of a case, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any, TypeVar

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

T = TypeVar("T")


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
    """Records all batches, see :func:`shared_out`.

    Raises:
        UserError: As :class:`Recorder`, or a process died.
    """
    start = partial(_recorder, OmegaConf.to_yaml(case.config), case.folder.parent.name)
    total = sum(len(rows) for _, rows in batches)
    workers = case.config.workers or cores(model)
    work_through(batches, Recorder(case, model), start, workers, total, case.name, "prompt")


def _recorder(config: str, experiment: str) -> Recorder:
    case = Case(DictConfig(OmegaConf.create(config)), experiment)
    return Recorder(case, configuration.build(case.config.model, "model"))


def work_through(
    tasks: Sequence[T],
    here: Callable[[T], int],
    start: Callable[[], Callable[[T], int]],
    workers: int,
    total: int,
    title: str,
    unit: str,
) -> None:
    """Does all tasks; on a CPU in a process a core, since small batches leave a second idle.

    How many processes share the work changes no bit: tasks are the same, and each process
    computes in one thread. Each loads the model for itself.

    Arguments:
        tasks: What is to be done; each is pickled.
        here: Does one in this process and returns how much it was, where it works alone; made
            where others do the work too, since that checks the settings.
        start: Makes the same in another process; is pickled.
        workers: Processes at most.
        total: How much all tasks are.
        title, unit: Of the progress bar.

    Raises:
        UserError: A process died, or what a task raises.
    """
    with (
        _shared_out(tasks, here, start, min(workers, len(tasks))) as done,
        tqdm(total=total, desc=title, unit=unit, disable=None) as bar,
    ):
        for amount in done:
            bar.update(amount)


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
def _shared_out(
    tasks: Sequence[T],
    here: Callable[[T], int],
    start: Callable[[], Callable[[T], int]],
    workers: int,
) -> Iterator[Iterator[int]]:
    if workers == 1:
        with one_thread():
            yield map(here, tasks)
        return
    # A forked child would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (start,)) as pool:
        try:
            futures = [pool.submit(_work, task) for task in tasks]
            yield (future.result() for future in as_completed(futures))
        except BrokenProcessPool:
            raise UserError(
                "a recording process died (killed, or out of memory); nothing recorded is lost, "
                f"run the same command again, with fewer than workers={workers} if memory is short"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_worker: Callable[[Any], int]


def _start(start: Callable[[], Callable[[Any], int]]) -> None:
    global _worker
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    torch.set_num_threads(1)
    _worker = start()


def _end_with_parent() -> None:
    """A killed parent leaves nobody who collects what its workers do."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(task: object) -> int:
    return _worker(task)


def cores(model: DiffusionModel) -> int:
    """Processes that share the work if the user does not say."""
    return len(os.sched_getaffinity(0)) if model.device.type == "cpu" else 1
