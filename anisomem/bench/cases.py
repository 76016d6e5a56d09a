"""Cases to measure on: throw-away captions in the wording of the bundled models'.

Only the prompts and their configuration are made here; whoever measures records them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.benchmark.case import Case
from anisomem.config import catalog, compose
from anisomem.testbed.captions import random_caption

CONCEPTS = ("cat", "dog", "owl", "fox", "tree", "rose", "moon", "star", "boat", "train", "apple")
WORDINGS = 10_000  # distinct captions; of more prompts they come again with a number
METRIC = ("detector=[anisotropy]", "detector.anisotropy.n=1")


def case(folder: Path, model: Sequence[str], prompts: int, *more: str) -> Case:
    """A case of distinct captions, every second one labelled memorized, run in one process.

    Arguments:
        folder: Where its prompts and its runs lie.
        model: Overrides that choose the model; the bundled epsilon model where there are none.
        prompts: How many.
        more: Further overrides.
    """
    return Case(compose.cases(overrides(folder, model, prompts, *more))[0], "bench")


def overrides(folder: Path, model: Sequence[str], prompts: int, *more: str) -> list[str]:
    """What ``anisomem run`` would be given for :func:`case`, whose prompt file is written."""
    file = folder / f"captions-{prompts}.parquet"
    if not file.exists():
        _write_captions(file, prompts)
    return [
        *model,
        "dataset=prompts_file",
        f"dataset.path={file}",
        f"references.prompts={catalog.references('epsilon')}",
        "seeds=[42]",
        "workers=1",
        "timing_repeats=0",
        f"runs={folder / 'runs'}",
        *more,
    ]


def _write_captions(file: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < min(count, WORDINGS):
        texts[random_caption((str(rng.choice(CONCEPTS)),), rng).text] = None
    wordings = list(texts)
    numbered = (f"{wordings[i % WORDINGS]} {i // WORDINGS}" for i in range(WORDINGS, count))
    columns = {
        "id": [f"p{i}" for i in range(count)],
        "prompt": [*wordings, *numbered],
        "label": [("memorized", "not_memorized")[i % 2] for i in range(count)],
        "cluster": list(range(count)),
        "block": ["captions"] * count,
        "kind": ["ordinary"] * count,
    }
    pq.write_table(pa.table(columns), file)
