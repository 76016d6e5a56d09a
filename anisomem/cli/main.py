"""``anisomem``: the group of commands, what they share, and the guard around them.

Each command is a file beside this one. The guard is :func:`anisomem.errors.reported`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from types import ModuleType

import click
from click.exceptions import Exit

from anisomem.cli import (
    audit,
    bench,
    board,
    check_detector,
    compare,
    completion,
    demo,
    evaluate,
    fetch,
    generate,
    geometry,
    listing,
    mitigate,
    multirun,
    new_detector,
    pack,
    released,
    report,
    run,
    scan,
    scores,
    sweep,
    table,
    verify,
)
from anisomem.cli.command import WORDS, Helpful
from anisomem.cli.settings import defaults
from anisomem.console import terminal
from anisomem.errors import UserError, reported, unknown

log = logging.getLogger(__name__)

#: The commands as the help lists them.
SECTIONS = {
    "Audit a model": [scan],
    "Evaluate detectors": [run, sweep, multirun, geometry],
    "Read finished runs": [table, scores, compare, report],
    "Scores from elsewhere": [evaluate],
    "Hand on evidence": [pack, verify, board],
    "Generate and mitigate": [demo, generate, mitigate],
    "Prompt sets": [fetch, audit],
    "Detectors": [listing, new_detector, check_detector],
    "Exchange and costs": [released, bench],
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code.

    0; 1 where prompts failed or a card was refused; 2 after a mistake of the user's, which is one
    line; 3 after an error that nobody expected, one line with its traceback in a file; 130 after
    an interruption, by Ctrl-C or SIGTERM; 141 where the reader of the output has gone.

    Arguments:
        arguments: The words of the command line; None takes those of this process.
    """
    if arguments is None:  # a process of its own, which Slurm, containers and timeout(1) end so
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with terminal.restored():
            return reported(partial(_obey, words))
    finally:
        if arguments is None:  # Python's own end looks for cycles among all that was imported
            gc.freeze()


def _obey(words: list[str]) -> int:
    """Does what the command line says; the exit code."""
    terminal.quiet_libraries()
    with terminal.guarded():
        if instruction := os.environ.get(completion.VARIABLE):
            return completion.complete(group, instruction)
        try:
            with group.make_context("anisomem", list(words)) as context:
                context.meta[WORDS] = words
                return group.invoke(context) or 0
        except Exit as end:  # after a help text
            return end.exit_code
        except click.UsageError as error:
            raise _in_our_words(error) from None


def _in_our_words(error: click.UsageError) -> UserError:
    """A mistake in the command line itself, in one line that says what can be typed."""
    context = error.ctx
    help_ = f"{context.command_path if context else 'anisomem'} --help"
    match error:
        case click.NoSuchCommand() if "=" in error.command_name:
            return UserError(f"settings stand behind a command: anisomem run {error.command_name}")
        case click.NoSuchCommand() if error.command_name in ("help", "version"):
            return UserError(f"that is an option: anisomem --{error.command_name}")
        case click.NoSuchCommand():
            return unknown("command", error.command_name, group.commands)
        case click.NoSuchOption() if context:
            options = (p for p in context.command.get_params(context) if p.opts[0][0] == "-")
            known = [max(option.opts, key=len) for option in options]
            if (setting := error.option_name.lstrip("-").replace("-", "_")) in defaults():
                return UserError(f"settings have no dashes; write {setting}=VALUE")
            return unknown("option", error.option_name, known)
        case click.MissingParameter() if error.param and context:
            return UserError(f"{context.command_path} needs {_named(error.param)}; see {help_}")
        case click.BadParameter() if error.param:
            return UserError(f"{_named(error.param)}: {error.message}")
        case click.BadOptionUsage():
            return UserError(f"{error.message[0].lower()}{error.message[1:].rstrip('.')}")
    return UserError(f"{error.message[:1].lower()}{error.message[1:].rstrip('.')}; see {help_}")


def _named(param: click.Parameter) -> str:
    """An option or argument as it is typed."""
    if isinstance(param, click.Argument):
        return (param.metavar or param.human_readable_name).strip("[].")
    return max(param.opts, key=len)


class _Group(Helpful, click.Group):
    """The group, whose help lists its commands in sections."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, files in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    (f"{command.name:{width}}", command.short_help or "")
                    for file in files
                    for command in commands_of(file)
                )
        with formatter.section("Begin with"):
            formatter.write_text("anisomem run experiment=quickstart")


def commands_of(file: ModuleType) -> list[click.Command]:
    """The commands of a file."""
    return [one for one in vars(file).values() if isinstance(one, click.Command)]


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    print(version())
    ctx.exit()


def version() -> str:
    """The version, with the commit in a checkout."""
    from importlib.metadata import version as installed
    from pathlib import Path

    import anisomem
    from anisomem.run.provenance import git_commit

    commit = git_commit(Path(anisomem.__file__).parent)
    return f"anisomem {installed('anisomem')}{f', commit {commit}' if commit else ''}"


@click.group(
    cls=_Group,
    no_args_is_help=False,
    context_settings={"max_content_width": 100},
    commands=[one for files in SECTIONS.values() for file in files for one in commands_of(file)],
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, and the commit in a checkout.",
)
def group() -> None:
    """A benchmark for memorization detectors of text-to-image diffusion models.

    Settings are overrides, name=value; anisomem COMMAND --help shows the most used.
    """
