"""What becomes of tasks on a Ray cluster: a stand-in of Ray's, and a cluster of two nodes."""

import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import psutil
import pytest

from anisomem.benchmark import record
from anisomem.benchmark.case import Case
from anisomem.benchmark.complete import complete
from anisomem.config import compose
from anisomem.errors import UserError
from anisomem.run import on_ray
from anisomem.run.on_ray import LOSSES, Actors, Places
from anisomem.run.workers import Work, do_all
from anisomem.storage.store import SECONDS


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class StandIn:
    """Ray as far as it is used, in this process: calls are made when somebody waits for them.

    ``dies(actor, task)`` says whether an actor dies of a task, or of starting, which is None.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, dies=lambda actor, task: False, room=2, resources=None):
        self.dies, self.room, self.calls, self.alive = dies, room, {}, set()
        self.made, self.resources = 0, resources or {"CPU": 2.0}

    def remote(self, kind):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=partial(self.new, kind)))

    def new(self, kind):
        number, actor = self.made, kind()
        self.made += 1
        self.alive.add(number)
        methods = {
            name: SimpleNamespace(remote=partial(self.call, number, getattr(actor, name)))
            for name in ("load", "begin", "do")
        }
        return SimpleNamespace(number=number, **methods)

    def call(self, number, method, *arguments):
        reference = object()
        self.calls[reference] = number, method, arguments
        return reference

    def wait(self, references, num_returns, timeout):
        placed = sorted(self.alive)[: self.room]  # others wait for room
        ready = [r for r in references if self.calls[r][0] in placed]
        if not ready and timeout is None:
            raise AssertionError("would wait for ever")
        return ready[:1], references

    def get(self, reference):
        number, method, arguments = self.calls.pop(reference)
        task = arguments[0] if len(arguments) == 1 else None
        if self.dies(number, task):
            self.alive.discard(number)
            raise RayError("The actor died\nwhatever for")
        return method(*arguments)

    def kill(self, actor):
        self.alive.discard(actor.number)

    def cluster_resources(self):
        return self.resources

    available_resources = cluster_resources


@pytest.fixture
def stand_in(monkeypatch):
    def use(*arguments, **more):
        made = StandIn(*arguments, **more)
        monkeypatch.setitem(sys.modules, "ray", made)
        return made

    return use


def square(device):
    return lambda task: (device, task**2)


def done(start=square, places=None, tasks=range(7)):
    """What is kept of every task, by actors that are made for it."""
    kept = []
    places = places or Places(2, False, "cpu")
    work = Work(None, start, lambda task, result: kept.append((task, result)) or 1)
    do_all(tasks, work, Actors(start, places), len(tasks), "squares", "task")
    return kept


EXPECTED = [(task, ("cpu", task**2)) for task in range(7)]


def test_every_task_is_done_once_by_all_actors(stand_in):
    ray = stand_in()
    assert sorted(done()) == EXPECTED
    assert ray.made == 2 and not ray.alive  # none stays behind


def test_a_lost_actor_is_replaced_and_its_task_done_again(stand_in, capsys):
    ray = stand_in(lambda actor, task: (actor, task) in {(0, 2), (1, 3), (2, 3)})
    assert sorted(done()) == EXPECTED
    assert ray.made == 5
    assert capsys.readouterr().err.count("an actor of the Ray cluster was lost") == 3


def test_actors_that_were_prepared_are_taken_and_none_stays_behind(stand_in):
    ray = stand_in()
    config = compose.cases(["model=testbed_epsilon", "engine=ray", "workers=3"])[0]
    on_ray.prepare(config, 1, ["os"])
    assert ray.made == 1  # more would have nothing to do
    on_ray.prepare(config, 7, ["os"])
    assert ray.made == 3
    assert sorted(done()) == EXPECTED
    assert ray.made == 3 and not ray.alive


def test_what_cannot_be_imported_is_not_said_before_an_actor_begins(stand_in):
    actor = on_ray._Actor()
    actor.load(["no_such_module", "colorsys"])
    assert "colorsys" in sys.modules


def test_none_is_prepared_where_actors_may_hold_a_gpu(stand_in):
    ray = stand_in(resources={"CPU": 2.0, "GPU": 1.0})
    on_ray.prepare(compose.cases(["model=testbed_epsilon", "engine=ray"])[0], 7, ["os"])
    assert ray.made == 0


def test_work_goes_on_where_the_cluster_has_no_room_for_another(stand_in):
    """A node is gone: what replaces its actor is placed when there is room again, or never."""
    ray = stand_in(room=1)
    assert sorted(done(places=Places(3, False, "cpu"))) == EXPECTED
    assert ray.made == 3


def test_a_task_that_ends_every_actor_ends_the_work_after_what_is_in_flight(stand_in):
    stand_in(lambda actor, task: task == 3)
    kept = []
    work = Work(None, square, lambda task, result: kept.append(task) or 1)
    with pytest.raises(UserError, match=f"has ended {LOSSES} actors .*whatever for"):
        do_all(range(7), work, Actors(square, Places(2, False, "cpu")), 7, "squares", "task")
    assert set(kept) < set(range(7)) and 3 not in kept


def test_actors_that_end_as_they_start_end_the_work(stand_in):
    ray = stand_in(lambda actor, task: task is None)
    with pytest.raises(UserError, match=r"end as they start: whatever for"):
        done()
    assert ray.made == 2 * LOSSES


def test_a_node_that_is_lost_while_its_actors_start_ends_nothing(stand_in):
    ray = stand_in(lambda actor, task: task is None and actor < 2 * LOSSES, room=4 * LOSSES)
    assert sorted(done(places=Places(2 * LOSSES, False, "cpu"))) == EXPECTED
    assert ray.made == 4 * LOSSES


def test_ctrl_c_ends_at_once_where_no_actor_has_been_placed(stand_in, monkeypatch):
    ray = stand_in(room=0)
    wait, looks = ray.wait, []

    def wait_and_interrupt(*arguments, **more):
        looks.append(more["timeout"])
        signal.raise_signal(signal.SIGINT)
        return wait(*arguments, **more)

    monkeypatch.setattr(ray, "wait", wait_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        done()
    assert looks == [on_ray.LOOK] and not ray.alive


def test_a_cluster_that_places_nothing_is_given_up(stand_in):
    stand_in(room=0, resources={"GPU": 0.0})
    with pytest.raises(
        UserError, match=r"placed no actor for 600 seconds; .* and a GPU, and 0 GPU"
    ):
        done(places=Places(1, True, "cuda"))


def test_what_a_task_or_a_start_raises_is_said(stand_in):
    def refuses(device):
        raise UserError("no such model")

    def fails(device):
        def fail(task):
            raise ZeroDivisionError("by zero")

        return fail

    stand_in()
    with pytest.raises(UserError, match="no such model"):
        done(refuses)
    with pytest.raises(ZeroDivisionError, match="by zero") as caught:
        done(fails)
    assert "in fail\n" in str(caught.value.__cause__)


def test_what_is_in_flight_is_kept_where_a_result_cannot_be(stand_in):
    stand_in()
    kept = []

    def keep(task, result):
        if task == 2:
            raise UserError("no room on the disk")
        kept.append(task)
        return 1

    actors = Actors(square, Places(2, False, "cpu"))
    with pytest.raises(UserError, match="no room on the disk"):
        do_all(range(7), Work(None, square, keep), actors, 7, "squares", "task")
    assert kept == [0, 1, 3, 4]


def test_a_node_with_other_software_is_refused(stand_in, monkeypatch):
    stand_in()
    begin = on_ray._Actor.begin

    def elsewhere(self, start, device, folder, expected):
        return begin(self, start, device, folder, expected | {"torch": "9.9"})

    monkeypatch.setattr(on_ray._Actor, "begin", elsewhere)
    with pytest.raises(UserError, match=r"has torch .*, and this command runs 9\.9"):
        done()


def config(device="auto", workers=None, named=()):
    return SimpleNamespace(model={"device": device}, workers=workers, devices=list(named))


@pytest.mark.parametrize(
    ("settings", "kind", "resources", "expected"),
    [
        (config(), "cpu", {"CPU": 6.0}, Places(6, False, "cpu")),
        (config(), "cpu", {"CPU": 6.0, "GPU": 4.0}, Places(4, True, "cuda")),
        (config("cpu"), "cpu", {"CPU": 6.0, "GPU": 4.0}, Places(6, False, "cpu")),
        (config("cuda", workers=9), "cuda", {"CPU": 6.0}, Places(9, True, "cuda")),  # it grows
        (config(None), "cpu", {"CPU": 6.0, "GPU": 4.0}, Places(6, False, None)),
    ],
)
def test_an_actor_for_every_gpu_or_else_every_core(stand_in, settings, kind, resources, expected):
    stand_in(resources=resources)
    assert on_ray.places(settings, kind, 100) == expected
    assert on_ray.places(settings, kind, 3) == replace(expected, count=3)  # no more than tasks


def test_what_a_cluster_cannot_give_is_said_before_anything_is_recorded(stand_in, monkeypatch):
    stand_in(resources={"CPU": 2.0})
    with pytest.raises(UserError, match=r"has no GPU; give model\.device=cpu"):
        on_ray.places(config("cuda"), "cuda", 9)
    with pytest.raises(UserError, match="leave devices out"):
        on_ray.require(config(named=["cuda:0"]))
    with pytest.raises(UserError, match=r"give model\.device=cuda instead"):
        on_ray.require(config("cuda:1"))
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed: pip install 'anisomem\[ray\]'"):
        on_ray.connect()


def test_an_address_where_nobody_answers_is_one_line(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv(on_ray.ADDRESS, "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster is to be had at RAY_ADDRESS=127.0.0.1:1"):
        on_ray.connect()


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two nodes with a core each, and the second node."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    each = {"num_cpus": 1, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=each | {"include_dashboard": False})
    second = cluster.add_node(**each)
    monkeypatch.setenv(on_ray.ADDRESS, cluster.address)
    try:
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_rows_are_the_same_to_the_bit_though_an_actor_and_a_node_are_killed(
    two_nodes, large_run, tmp_path, monkeypatch, capsys
):
    cluster, second = two_nodes
    words = [*large_run, "detector=[anisotropy]", "draws=100", "timing_repeats=0", "gallery=0"]
    cases = {
        engine: Case(compose.cases([*words, *more, f"runs={tmp_path / engine}"])[0], "shared")
        for engine, more in {"local": ["workers=1"], "ray": ["engine=ray"]}.items()
    }
    complete(cases["local"])
    head = psutil.Process(cluster.head_node.all_processes["raylet"][0].process.pid)
    ids, keep, killed = Counter(), record.keep, set()

    def keep_and_kill(case, batch, recorded):
        count = keep(case, batch, recorded)
        ids.update(batch.ids)
        if len(ids) // count == 2:  # the head's actor, once
            for process in head.children():
                if "_Actor" in " ".join(process.cmdline()):
                    os.kill(process.pid, signal.SIGKILL)
                    killed.add("actor")
        if len(ids) // count == 4:  # and the node of the other
            cluster.remove_node(second, allow_graceful=False)
            killed.add("node")
        return count

    monkeypatch.setattr(record, "keep", keep_and_kill)
    complete(cases["ray"])
    local, shared = (cases[name].store.read().drop(columns=SECONDS) for name in ("local", "ray"))
    assert len(local) == 320 * 4 and shared.equals(local)
    assert set(ids.values()) == {1}  # what was done again is kept once
    assert killed == {"actor", "node"}
    # The node's actor is said to be lost too, unless it had nothing to do just then.
    assert "an actor of the Ray cluster was lost" in capsys.readouterr().err
