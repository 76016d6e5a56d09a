"""What Ray adds to processes of this machine: the same batches by both, taking turns.

``python scripts/ray_overhead.py [--prompts N] [--turns N] [--workers N]``, with the extra ``ray``.
A turn is a process of its own that records N captions as the command does: from its start, with
the imports and the model, to the last row in the store. The cluster is there before, as it would
be.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from anisomem.bench import cases
from anisomem.bench.line import spread
from anisomem.benchmark.case import Case
from anisomem.run import on_ray
from anisomem.run.clock import nothing, take_turns
from anisomem.run.sharing import loaded, prepare
from anisomem.storage.store import SECONDS


def main() -> None:
    """Prints seconds of both, their ratio turn by turn, and whether the rows are the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=4096)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--record", type=Path, help="one turn, recorded in this folder")
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help="of the turn")
    options = parser.parse_args()
    if options.record:
        record_one(_case(options.record, options.engine, options.prompts, options.workers))
        return
    with tempfile.TemporaryDirectory(prefix="anisomem-ray-") as name:
        made: dict[str, list[Path]] = {"local": [], "ray": []}

        def turn(engine: str) -> None:
            made[engine].append(place := Path(name) / f"{engine}-{len(made[engine])}")
            place.mkdir()
            words = [*sys.argv, "--record", str(place), "--engine", engine]
            subprocess.run([sys.executable, *words], check=True)

        on_ray.connect()
        import ray

        os.environ[on_ray.ADDRESS] = ray.get_runtime_context().gcs_address
        contenders = {engine: partial(turn, engine) for engine in made}
        seconds = take_turns(contenders, options.turns, warm_up=nothing, what="recording")
        ratios = [a / b for a, b in zip(seconds["ray"], seconds["local"], strict=True)]
        local, shared = (
            _case(made[engine][-1], engine, options.prompts, options.workers)
            .store.read()
            .drop(columns=SECONDS)
            for engine in ("local", "ray")
        )
        print(f"{options.prompts} prompts, {options.workers} processes, {options.turns} turns")
        print(f"local {spread(seconds['local'])} s, ray {spread(seconds['ray'])} s")
        print(f"ray / local {spread(ratios, 3)}; rows the same: {shared.equals(local)}")


def record_one(case: Case) -> None:
    """Records a case as :func:`anisomem.benchmark.complete.complete` does, and nothing else."""
    case.store.start()
    missing = case.missing()
    prepare(case.config, len(missing))
    from anisomem.benchmark.record import record

    record(case, loaded(case.config), missing)


def _case(folder: Path, engine: str, prompts: int, workers: int) -> Case:
    """The same captions at a place of its own."""
    more = f"engine={engine}", f"workers={workers}", "detector=[anisotropy,wen]"
    return cases.case(folder, [], prompts, *more, f"runs={folder / 'runs'}")


if __name__ == "__main__":
    main()
