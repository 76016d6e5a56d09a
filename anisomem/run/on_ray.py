"""Actors of a Ray cluster that share the tasks of a run: one a GPU, or one a core.

This process stays the one that hands out tasks and keeps what they give, so a cluster needs no
common disk. An actor that is lost, with its node or alone, is replaced as soon as the cluster has
room, and its task is done again.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import anisomem
from anisomem.config.schema import Config
from anisomem.errors import UserError
from anisomem.run.provenance import PACKAGES
from anisomem.run.workers import Lost, begun, sendable

ADDRESS = "RAY_ADDRESS"  # of a cluster; Ray's own variable
PATIENCE = 600  # seconds until a cluster that places no actor is given up
REACHED = 5  # seconds until an address counts as one where nobody answers
LOSSES = 3  # of one task, or of an actor that starts and what replaces it: no coincidence
LOOK = 1  # seconds in which Ctrl-C is noticed while no task is in flight

_prepared: list[Any] = []  # actors that nobody has taken


def connect() -> None:
    """Joins the cluster that ``RAY_ADDRESS`` names or this machine runs, else starts one here.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    if find_spec("ray") is None:
        raise UserError(
            "engine=ray needs Ray, which is not installed: pip install 'anisomem[ray]'; "
            "engine=local shares the work among processes of this machine"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report home
    import ray

    if ray.is_initialized():
        return
    _prepared.clear()  # they were of a cluster that this process has left
    address, terminated = os.environ.get(ADDRESS), signal.getsignal(signal.SIGTERM)
    try:
        if address:
            _require_answer(address)
        ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        place = f"{ADDRESS}={address}" if address else "this machine"
        raise UserError(
            f"no Ray cluster is to be had at {place} ({_first_line(error)}); ray status says "
            f"what there is, and without {ADDRESS} this machine's is taken or started"
        ) from None
    has = ray.cluster_resources()
    place, nodes = ray.get_runtime_context().gcs_address, sum(n["Alive"] for n in ray.nodes())
    print(
        f"anisomem: Ray at {place}: nodes {nodes}, cores {has.get('CPU', 0):g}, "
        f"GPUs {has.get('GPU', 0):g}",
        file=sys.stderr,
    )
    if terminated is signal.default_int_handler:  # the command line's; Ray has one of its own
        signal.signal(signal.SIGTERM, terminated)


def _require_answer(address: str) -> None:
    """Checks that somebody listens; Ray itself would ask for minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@dataclass(frozen=True)
class Places:
    """Where actors compute.

    Attributes:
        count: How many at most.
        gpu: Whether each holds a GPU, else a core.
        device: What the model is told; None is what its settings say.
    """

    count: int
    gpu: bool
    device: str | None


def places(config: Config, kind: str, tasks: int) -> Places:
    """The actors of a run.

    Arguments:
        config: The settings of the run.
        kind: The kind of device that its model is on in this process.
        tasks: How much there is to do, beyond which an actor would only load the model.

    Raises:
        UserError: Settings that name devices themselves, or a cluster without what they ask for.
    """
    import ray

    require(config)
    set_to, has = config.model.get("device"), ray.cluster_resources()
    gpu = kind == "cuda" or (set_to == "auto" and has.get("GPU", 0) >= 1)
    count = config.workers or int(has.get("GPU" if gpu else "CPU", 0))
    if not count:
        raise UserError(
            "the Ray cluster has no GPU; give model.device=cpu for its cores, or workers=N where "
            "it grows when asked"
            if gpu
            else "the Ray cluster has no core; give workers=N where it grows when asked"
        )
    device = None if set_to is None else ("cuda" if gpu else "cpu")
    return Places(min(count, tasks), gpu, device)


def require(config: Config) -> None:
    """Checks that the settings leave the devices to Ray.

    Raises:
        UserError: They do not.
    """
    if config.devices:
        raise UserError("engine=ray hands out the cluster's GPUs itself; leave devices out")
    if str(config.model.get("device")).startswith("cuda:"):
        raise UserError(
            f"engine=ray hands out the cluster's GPUs itself; give model.device=cuda instead of "
            f"model.device={config.model['device']}"
        )


def prepare(config: Config, tasks: int, modules: Sequence[str]) -> None:
    """Starts actors that import what a model needs, while this process loads its own.

    :class:`Actors` takes them. Not where there are GPUs: which process holds one is known when the
    model is.

    Arguments:
        config: The settings of the run.
        tasks: How many there are, beyond which an actor would have nothing to do.
        modules: What they import.
    """
    import ray

    has = ray.cluster_resources()
    if has.get("GPU") or config.model.get("device") == "cuda":
        return
    count = min(tasks, config.workers or int(has.get("CPU", 0)))
    for _ in range(len(_prepared), count):
        _prepared.append(actor := _kind(gpu=False).remote())
        actor.load.remote(modules)


def _kind(gpu: bool) -> Any:
    """Ray's own of an actor that holds a core, and a GPU or none."""
    import ray

    return ray.remote(_Actor).options(
        num_cpus=1, num_gpus=int(gpu), max_restarts=0, max_task_retries=0
    )


@dataclass
class _Pending:
    """What an actor is at: a task, or nothing while it starts, as the n-th of its place."""

    actor: Any
    task: Any = None
    starting: int = 0


class Actors:
    """An executor of a Ray cluster, which :func:`connect` has joined.

    Arguments:
        start: Makes in an actor what does tasks there, see :class:`anisomem.run.workers.Work`.
        places: How many actors, and what each holds.
    """

    def __init__(
        self, start: Callable[[str | None], Callable[[Any], Any]], places: Places
    ) -> None:
        import ray

        self._ray, self._places, self._start = ray, places, start
        self._pending: dict[Any, _Pending] = {}  # by the reference of what comes of it
        self._idle: list[Any] = []
        self._losses: Counter[int] = Counter()  # of a task, by its id(); tasks outlive this
        self._patience = PATIENCE

    @property
    def room(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> bool:
        return any(not one.starting for one in self._pending.values())

    def __enter__(self) -> Self:
        for _ in range(self._places.count):
            self._add()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def hand_out(self, task: Any) -> None:
        actor = self._idle.pop()
        self._pending[actor.do.remote(task)] = _Pending(actor, task)

    def finished(self) -> list[tuple[Any, Any]]:
        patience = None if self.busy else LOOK
        done, _ = self._ray.wait([*self._pending], num_returns=1, timeout=patience)
        self._patience = PATIENCE if done else self._patience - LOOK
        if self._patience <= 0:
            return [(None, self._unplaced())]
        return [one for reference in done for one in self._became(reference)]

    def kill(self) -> None:
        pending = [one.actor for one in self._pending.values()]
        for actor in [*self._idle, *pending, *_prepared]:
            self._ray.kill(actor)
        self._idle.clear()
        _prepared.clear()

    def _add(self, starting: int = 1) -> None:
        gpu = self._places.gpu
        actor = _prepared.pop() if _prepared and not gpu else _kind(gpu).remote()
        begin = actor.begin.remote(self._start, self._places.device, os.getcwd(), software())
        self._pending[begin] = _Pending(actor, starting=starting)

    def _became(self, reference: Any) -> list[tuple[Any, Any]]:
        """What has come of something that was pending, for whoever hands out tasks."""
        one = self._pending.pop(reference)
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # a result that cannot be sent
            return [(one.task, RuntimeError(_last_line(error)))]
        except self._ray.exceptions.RayError as error:
            return self._lost(one, error)
        if isinstance(outcome, _Raised):
            outcome = outcome.here()
        if one.starting and isinstance(outcome, Exception):
            return [(None, outcome)]
        self._idle.append(one.actor)
        return [] if one.starting else [(one.task, outcome)]

    def _lost(self, one: _Pending, error: Exception) -> list[tuple[Any, Any]]:
        self._ray.kill(one.actor)  # where only the connection was lost
        if one.starting:
            if one.starting >= LOSSES:
                return [
                    (
                        None,
                        UserError(
                            f"actors of the Ray cluster end as they start: {_last_line(error)}"
                        ),
                    )
                ]
            self._add(one.starting + 1)
            return []
        self._losses[id(one.task)] += 1
        if self._losses[id(one.task)] >= LOSSES:
            return [
                (
                    one.task,
                    UserError(
                        f"the same part of the work has ended {LOSSES} actors of the Ray cluster "
                        f"({_last_line(error)}); nothing recorded is lost, run the same command "
                        "again, with less memory in use where that has ended"
                    ),
                )
            ]
        print(
            f"\nanisomem: an actor of the Ray cluster was lost ({type(error).__name__}); what it "
            "was at is done again",
            file=sys.stderr,
        )
        self._add()
        return [(one.task, Lost())]

    def _unplaced(self) -> UserError:
        has = self._ray.available_resources()
        unit = "GPU" if self._places.gpu else "CPU"
        return UserError(
            f"the Ray cluster has placed no actor for {PATIENCE} seconds; each needs a core"
            f"{' and a GPU' * self._places.gpu}, and {has.get(unit, 0):g} {unit} are free"
        )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


@dataclass(frozen=True)
class _Raised:
    """What went wrong in an actor, and where, which an error does not take along."""

    error: Exception
    trace: str

    def here(self) -> Exception:
        """The error, with the other process's traceback before its own."""
        self.error.__cause__ = RuntimeError(f"in an actor of the Ray cluster\n{self.trace}")
        return self.error


class _Actor:
    """One process of the cluster; hands back what goes wrong, since Ray wraps what is raised."""

    def load(self, modules: Sequence[str]) -> None:
        """Imports them; what does not work here is said when the actor begins."""
        for name in modules:
            with suppress(Exception):
                import_module(name)

    def begin(
        self,
        start: Callable[[str | None], Callable[[Any], Any]],
        device: str | None,
        folder: str,
        expected: Mapping[str, str],
    ) -> _Raised | None:
        """Loads the model.

        Arguments:
            start: Makes what does tasks.
            device: For the model.
            folder: That the command runs in, where a detector of the user's may lie.
            expected: What the command runs with, see :func:`software`.
        """
        try:
            mine = software()
            for name, here in expected.items():
                if mine[name] != here:
                    raise UserError(
                        f"node {socket.gethostname()} of the Ray cluster has {name} {mine[name]}, "
                        f"and this command runs {here}, which may record other digits; install "
                        "the same"
                    )
            if os.path.isdir(folder):
                os.chdir(folder)
            self._do = begun(start, device)
        except Exception as error:
            return _Raised(sendable(error), traceback.format_exc())
        return None

    def do(self, task: Any) -> Any:
        """Does a task; its result, or what it raised."""
        try:
            return self._do(task)
        except Exception as error:
            return _Raised(sendable(error), traceback.format_exc())


def software() -> dict[str, str]:
    """What must be alike on all nodes for the same digits: this package's source, and versions."""
    total, root = sha256(), Path(anisomem.__file__).parent
    for file in sorted(root.rglob("*.py")):
        total.update(
            f"{file.relative_to(root)} {sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    source = f"{version('anisomem')} ({total.hexdigest()[:10]})"
    return {"anisomem": source, **{name: version(name) for name in PACKAGES}}
