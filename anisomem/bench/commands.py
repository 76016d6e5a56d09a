"""How long the command takes to answer, and that a finished run needs no torch.

The work that a run does is measured in ``evaluations`` and ``growth``, and scoring in ``scoring``.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from anisomem.bench import cases
from anisomem.bench.line import CostLine, spread
from anisomem.console.terminal import QUIET
from anisomem.run.base import CONFIG
from anisomem.run.clock import take_turns
from anisomem.run.provenance import processor

#: The command as it is installed, with a last line that says whether torch was imported.
COMMAND = (
    "import sys; from anisomem.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
    "print('torch' in sys.modules, file=sys.stderr)\n"
    "sys.exit(code)"
)


#: What version 0.1 took on two quiet cores of an AMD EPYC; the quickstart has 890 prompts a model.
BEFORE = {
    "--help": "0.04 s",
    "list detectors": "0.19 s",
    "run": "8.64 s; the quickstart 27 s",
    "table": "the quickstart 7.4 s",
    "table --out": "the quickstart 27 s",
}
TARGETS = {
    "--help": "≤ 0.1 s",
    "list detectors": "≤ 0.3 s",
    "run": "≤ 1.5 s, without torch",
    "table": "≤ 2.5 s",
    "table --out": "≤ 8 s",
}


def lines(
    folder: Path, model: Sequence[str], prompts: int, draws: int, turns: int
) -> list[CostLine]:
    """Wall time of commands that need no model, each in a process of its own.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        prompts: How many prompts the run has.
        draws: How many draws its bootstrap takes.
        turns: How often every command is timed.
    """
    runs = folder / "commands"
    overrides = cases.overrides(folder, model, prompts, f"draws={draws}", f"runs={runs}")
    answer("run", *overrides)  # what comes after it finds it finished
    (recorded,) = {file.parent.parent for file in runs.glob(f"*/*/{CONFIG}")}
    commands = {
        "--help": ["--help"],
        "list detectors": ["list", "detectors"],
        "run": ["run", *overrides],
        "table": ["table", str(recorded)],
        "table --out": ["table", str(recorded), "--out", str(folder / "report")],
    }
    torch = dict.fromkeys(commands, "")

    def call(name: str, arguments: Sequence[str]) -> None:
        torch[name] = "with torch" if answer(*arguments) else "without torch"

    contenders = {name: partial(call, name, given) for name, given in commands.items()}
    seconds = take_turns(contenders, turns, "commands")
    of = f": {prompts} prompts, {draws:,} draws"
    titles = {
        "run": f"anisomem run again when finished{of}",
        "table": f"anisomem table, recomputed from the store{of}",
        "table --out": f"anisomem table --out, with all tables, figures and the page{of}",
    }
    measured = [
        CostLine(
            titles.get(name, f"anisomem {name}"),
            f"{spread(seconds[name])} s, {torch[name]}",
            TARGETS[name],
            processor(),
            {"seconds": seconds[name], "torch": torch[name] == "with torch"},
            BEFORE[name],
        )
        for name in commands
    ]
    return [*measured, _first_bar(overrides, turns)]


def _first_bar(overrides: Sequence[str], turns: int) -> CostLine:
    """How long a terminal shows nothing after a run has been begun."""
    seconds = [until_shown("run", *overrides, "seeds=[43]") for _ in range(turns)]
    return CostLine(
        "anisomem run until a terminal shows the first progress",
        f"{spread(seconds)} s",
        "≤ 3 s",
        processor(),
        {"seconds": seconds},
    )


def until_shown(*arguments: str) -> float:
    """Seconds until ``anisomem`` shows anything on a terminal that is its stderr."""
    shown, terminal = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name != QUIET}
    begin = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    try:
        os.read(shown, 1)
        return perf_counter() - begin
    finally:
        process.kill()
        process.wait()
        os.close(shown)
        os.close(terminal)


def answer(*arguments: str) -> bool:
    """Runs ``anisomem`` in a process of its own and returns whether that imported torch."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise RuntimeError(f"anisomem {' '.join(arguments)} failed: {done.stderr}")
    return done.stderr.splitlines()[-1] == "True"
