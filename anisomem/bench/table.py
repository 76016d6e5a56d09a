"""What ``anisomem table`` costs on very many prompts: seconds, and memory at the peak.

The command runs in a process of its own, on components of random numbers. How long it takes on few
is in ``commands``.
"""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import psutil

from anisomem.bench import cases
from anisomem.bench.commands import COMMAND
from anisomem.bench.line import CostLine
from anisomem.bench.scoring import fill
from anisomem.benchmark.case import Case
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import MEASURED
from anisomem.datasets import kept
from anisomem.run.base import PROMPTS
from anisomem.run.provenance import processor

DETECTORS = ("anisotropy", "anisotropy_norm", "anisotropy_cos", "anisotropy_equal")
BETWEEN = 0.02  # seconds between two looks at the memory in use
PROMPTS_BEFORE, DRAWS_BEFORE = 100_000, 10_000
BEFORE = "120 s of processor time on a busy machine for one detector, 8,657 MB"


def line(folder: Path, prompts: int, draws: int) -> CostLine:
    """Seconds and peak memory of the command on a finished run.

    Arguments:
        folder: A folder for throw-away files.
        prompts: How many prompts the run has, every one a cluster of its own.
        draws: How many draws its bootstrap takes.
    """
    case = finished(folder, prompts, draws)
    seconds, megabytes = table(case.folder)
    return CostLine(
        f"anisomem table of {len(DETECTORS)} detectors: {prompts:,} prompts, {draws:,} draws",
        f"{seconds:.1f} s, {megabytes:.0f} MB at the peak",
        "≤ 20 s at 100,000",
        processor(),
        {"seconds": seconds, "megabytes": megabytes},
        BEFORE if (prompts, draws) == (PROMPTS_BEFORE, DRAWS_BEFORE) else "–",
    )


def finished(folder: Path, prompts: int, draws: int) -> Case:
    """A run as it is when everything is recorded, without a model."""
    detectors = f"detector=[{','.join(DETECTORS)}]"
    samples = [f"detector.{name}.n=1" for name in DETECTORS]
    where = f"runs={folder / 'table'}", f"draws={draws}"
    case = cases.case(folder, [], prompts, detectors, *samples, *where)
    fill(case)
    case.keep_settings()
    kept.write(case.prompts, case.folder / PROMPTS)
    Measured(truncated_prompts=0, provenance={"device": "cpu"}).write(case.folder / MEASURED)
    return case


def table(run: Path) -> tuple[float, float]:
    """Seconds of ``anisomem table`` in a process of its own, and its megabytes at the peak."""
    command = [sys.executable, "-c", COMMAND, "table", str(run)]
    begin, peak = perf_counter(), 0
    process = psutil.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
            process.wait(BETWEEN)
        except (psutil.NoSuchProcess, psutil.TimeoutExpired):
            continue
    if process.returncode:
        raise RuntimeError(f"anisomem table {run} failed")
    return perf_counter() - begin, peak / 1e6
