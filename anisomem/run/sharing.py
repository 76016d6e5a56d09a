"""Who computes a run's tasks: this process, several of this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from anisomem.config.schema import Config
from anisomem.run import devices, on_ray
from anisomem.run.base import state_of_model
from anisomem.run.processes import Processes, begin_server
from anisomem.run.workers import Executor, Work, do_all, require_same

if TYPE_CHECKING:
    from anisomem.models.base import DiffusionModel

T = TypeVar("T")
R = TypeVar("R")
NEEDED = "anisomem.models.families", "anisomem.engine.engine"  # torch and the pipelines with them


def prepare(config: Config, tasks: int) -> None:
    """Lets other processes import what a model needs, while this one loads its own.

    Those of an accelerator do so for themselves, see :class:`anisomem.run.processes.Processes`.

    Arguments:
        config: The settings of the run.
        tasks: How many there are; a single one needs no other process.

    Raises:
        UserError: Ray or its cluster is not there.
    """
    if tasks > 1 and config.engine == "ray":
        _join_cluster(config)
        on_ray.prepare(config, tasks, NEEDED)
    elif tasks > 1:
        _begin_server(config)


def loaded(config: Config) -> DiffusionModel:
    """A run's model in this process; what its engine lacks is said first.

    Raises:
        UserError: Ray or its cluster is not there, or a device, or the model is not to be had.
    """
    if config.engine == "ray":
        _join_cluster(config)
    else:
        _begin_server(config)
    return devices.loaded(config)


def _join_cluster(config: Config) -> None:
    on_ray.require(config)
    on_ray.connect()


def _begin_server(config: Config) -> None:
    if config.workers != 1 and not devices.drivers():
        begin_server(*NEEDED)


def state_of_start(config: Config, state: Mapping[str, str]) -> dict[str, str]:
    """What every process that starts must find alike, see :func:`require_same_start`.

    Arguments:
        config: The settings of the run.
        state: The same as the run was begun with, :attr:`anisomem.run.base.Run.state`.

    Raises:
        UserError: It has changed since.
    """
    require_same(state_of_model(config), state)
    return state_of_model(config, config.engine == "ray")


def require_same_start(config: Config, state: Mapping[str, str]) -> None:
    """Checks in another process that it finds what the one that started it has found.

    On another machine the times of files say nothing, so there their contents count.

    Raises:
        UserError: Code or files differ.
    """
    require_same(state_of_model(config, config.engine == "ray"), state)


def share(
    tasks: Sequence[T],
    work: Work[T, R],
    config: Config,
    model: DiffusionModel,
    total: int,
    title: str,
    unit: str,
) -> None:
    """Does all tasks where the settings say, see :func:`anisomem.run.workers.do_all`.

    Arguments:
        tasks: What is to be done.
        work: How.
        config: The settings of the run.
        model: Its model, as :func:`loaded`; it makes room where others compute.
        total: How much all tasks are.
        title, unit: Of the progress bar.

    Raises:
        UserError: As ``do_all``, or a cluster without what the settings ask for.
    """
    executor: Executor | None = None
    if config.engine == "ray":
        places = on_ray.places(config, model.device.type, len(tasks))
        executor = on_ray.Actors(work.start, places)
    elif len(named := devices.of_processes(config, model)[: len(tasks)]) > 1:
        executor = Processes(work.start, named, copied=model.device.type == "cpu")
    with ExitStack() as aside:
        for one in (model, model.baseline) if executor else ():
            if one:
                aside.enter_context(one.aside())
        do_all(tasks, work, executor, total, title, unit)
