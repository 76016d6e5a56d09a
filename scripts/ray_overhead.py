"""What Ray adds to processes of this machine: the same batches by both, taking turns.

``python scripts/ray_overhead.py [--prompts N] [--turns N] [--workers N]``, with the extra ``ray``.
A turn records N captions from the start of the processes, each of which loads the model, to the
last row in the store. The cluster is there before, as it would be; its actors import torch and the
pipelines in every turn, of which local processes are copies that have them.
"""

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path

from anisomem.bench import cases
from anisomem.bench.line import spread
from anisomem.benchmark.case import Case
from anisomem.benchmark.record import record
from anisomem.models.base import DiffusionModel
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anisomem-ray-") as name:
        folder, made = Path(name), dict[str, list[Case]](local=[], ray=[])

        def case(engine: str) -> Case:
            more = f"engine={engine}", f"workers={options.workers}", "detector=[anisotropy,wen]"
            place = f"runs={folder / engine}-{len(made[engine])}"
            return cases.case(folder, [], options.prompts, *more, place)

        prepare(case("local").config)  # as a command does before it loads its model
        model: DiffusionModel = loaded(case("ray").config)

        def recorded(engine: str) -> None:
            made[engine].append(one := case(engine))
            record(one, model, one.missing())

        seconds = take_turns(
            {engine: partial(recorded, engine) for engine in made},
            options.turns,
            warm_up=nothing,
            what="recording",
        )
        ratios = [a / b for a, b in zip(seconds["ray"], seconds["local"], strict=True)]
        local, ray = (made[engine][-1].store.read().drop(columns=SECONDS) for engine in made)
        print(f"{options.prompts} prompts, {options.workers} processes, {options.turns} turns")
        print(f"local {spread(seconds['local'])} s, ray {spread(seconds['ray'])} s")
        print(f"ray / local {spread(ratios, 3)}; rows the same: {ray.equals(local)}")


if __name__ == "__main__":
    main()
