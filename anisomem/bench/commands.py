"""How long the command takes to answer, and that a finished run needs no torch.

The work that a run does is measured in ``evaluations`` and ``growth``, and scoring in ``scoring``.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anisomem.bench import cases
from anisomem.bench.line import CostLine, spread
from anisomem.run.clock import take_turns
from anisomem.run.provenance import processor

#: The command as it is installed, with a last line that says whether torch was imported.
COMMAND = (
    "import sys; from anisomem.cli.main import main\n"
    "code = main(sys.argv[1:])\n"
    "print('torch' in sys.modules, file=sys.stderr)\n"
    "sys.exit(code)"
)


def lines(
    folder: Path, model: Sequence[str], prompts: int, draws: int, turns: int
) -> list[CostLine]:
    """Wall time of the help, a list, and a finished run again, each in a process of its own.

    Arguments:
        folder: A folder for throw-away files.
        model: Overrides that choose the model.
        prompts: How many prompts the run has.
        draws: How many draws its bootstrap takes.
        turns: How often every command is timed.
    """
    run = ("run", *cases.overrides(folder, model, prompts, f"draws={draws}"))
    answer(*run)  # what comes after it finds it finished
    torch = {"--help": "", "list detectors": "", "run": ""}

    def call(name: str, arguments: Sequence[str]) -> None:
        torch[name] = "with torch" if answer(*arguments) else "without torch"

    commands = {"--help": ["--help"], "list detectors": ["list", "detectors"], "run": run}
    contenders = {name: partial(call, name, given) for name, given in commands.items()}
    seconds = take_turns(contenders, turns, "commands")
    again = f"anisomem run again when finished: {prompts} prompts, {draws:,} draws"
    titles = {name: f"anisomem {name}" for name in commands} | {"run": again}
    targets = dict.fromkeys(commands, "≤ 1 s") | {"run": "without torch"}
    return [
        CostLine(
            titles[name],
            f"{spread(seconds[name])} s, {torch[name]}",
            targets[name],
            processor(),
            {"seconds": seconds[name], "torch": torch[name] == "with torch"},
        )
        for name in commands
    ]


def answer(*arguments: str) -> bool:
    """Runs ``anisomem`` in a process of its own and returns whether that imported torch."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise RuntimeError(f"anisomem {' '.join(arguments)} failed: {done.stderr}")
    return done.stderr.splitlines()[-1] == "True"
