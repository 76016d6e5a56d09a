"""What every command of ``anisomem`` has: help, ``-v`` and ``-q``, and its arguments' types.

The commands are in the files named after them, and the group that holds them is ``main``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from anisomem.cli import completion
from anisomem.cli.settings import defaults
from anisomem.console import terminal
from anisomem.errors import UserError, one_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP = ("-h", "--help")
LOUDNESS = "anisomem.loudness"  # where a context keeps which of -v and -q was given
WORDS = "anisomem.words"  # where it keeps the command line


class Helpful(click.Command):
    """A command whose help is printed as its results are, guarded against a closed stdout."""

    def get_help_option(self, ctx: click.Context) -> click.Option:
        return click.Option(
            HELP,
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_help,
            help="Show this and exit.",
        )

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*self.params, *loudness(), self.get_help_option(ctx)]


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print(ctx.get_help())
        ctx.exit()


def loudness() -> list[click.Option]:
    """``-v`` and ``-q``, which may stand before the command or behind it."""
    return [
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            is_eager=True,
            callback=_louder,
            help="Say what is done (-vv: in detail), and where unexpected errors arise.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_quieter,
            help="Show results, warnings about them and errors alone.",
        ),
    ]


def _louder(ctx: click.Context, _: click.Parameter, value: int) -> None:
    if value and not ctx.resilient_parsing:
        _once(ctx, "-v")
        terminal.louder(detailed=value > 1)


def _quieter(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        _once(ctx, "-q")
        terminal.quieter()


def is_quiet() -> bool:
    """Whether the command at work was given ``-q``."""
    return click.get_current_context().meta.get(LOUDNESS) == "-q"


def typed() -> str:
    """The command at work as a shell takes it; "" where none is."""
    context = click.get_current_context(silent=True)
    words = context.meta.get(WORDS) if context else None
    return shlex.join(["anisomem", *words]) if words else ""


def _once(ctx: click.Context, given: str) -> None:
    """Refuses the contrary of what was given before."""
    before = ctx.meta.setdefault(LOUDNESS, given)
    if before != given:
        raise click.UsageError("-v says more and -q less, give one of them", ctx)


class Command(Helpful):
    """A command of ``anisomem``.

    Arguments:
        examples: Command lines that can be typed as they stand.
        settings: The overrides most used with it, by name.
        usual: Which of these settings have another default in ``conf/config.yaml``, with its
            value.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        settings: Sequence[str] = (),
        usual: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self.examples, self.settings, self.usual = examples, settings, usual or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.settings:
            with formatter.section("Settings most used, with their defaults"):
                formatter.write_dl(self._settings())
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")

    def _settings(self) -> list[tuple[str, str]]:
        known = defaults()
        return [
            (f"{name}={self.usual.get(name, known[name].default)}", known[name].note)
            for name in self.settings
        ]


class Choice(click.ParamType[str]):
    """One of some words; another one is told the nearest.

    Arguments:
        what: What the words are, in a word.
        words: The words that are taken.
    """

    name = "choice"

    def __init__(self, what: str, words: Sequence[str]) -> None:
        self.what, self.words = what, words

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        one_of(self.what, value, self.words)
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return completion.items(word for word in self.words if word.startswith(incomplete))


class Named(click.ParamType[str]):
    """A name that is checked where it is used, and completed from a configuration group.

    Arguments:
        groups: The groups of which it may be a member.
        more: Other words that it may be.
    """

    name = "name"

    def __init__(self, *groups: str, more: Sequence[str] = ()) -> None:
        self.groups, self.more = groups, more

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        known = [name for group in self.groups for name in completion.members(group)]
        return completion.items(
            name for name in dict.fromkeys([*known, *self.more]) if name.startswith(incomplete)
        )


class PathWord(click.ParamType[Path]):
    """The path of a file or folder.

    Arguments:
        kind: ``file`` or ``dir``, which completion offers.
    """

    name = "path"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        if value == "":  # which would be the current folder
            self.fail("empty; expected a path", param, ctx)
        return Path(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return completion.items([incomplete], self.kind)


FILE, FOLDER = PathWord("file"), PathWord("dir")


class Checked(click.ParamType[Any]):
    """A value that a function reads.

    Arguments:
        read: Makes the value from text; raises ValueError with what is expected.
    """

    name = "value"

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def positive(text: str) -> int:
    """A positive integer.

    Raises:
        ValueError: It is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a positive integer, got {text!r}")
    return int(text)


#: Which commands read a setting that others would ignore.
READ_BY: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("fdr", "prompts", "scan"), ("scan",)),
    **dict.fromkeys(("calibration", "pictures"), ("demo", "scan")),
    "measure": ("demo", "mitigate", "scan"),
    "strengths": ("mitigate",),
    "trial": ("demo", "generate", "mitigate"),
    "dry_run": ("geometry", "mitigate", "multirun", "run", "scan", "sweep"),
}


class OverrideWord(click.ParamType[str]):
    """A setting and its value, which are checked where the configuration is composed.

    One that the command would not read is refused here.

    Arguments:
        or_file: Whether a file may stand there by itself.
    """

    name = "override"

    def __init__(self, or_file: bool = False) -> None:
        self.or_file = or_file

    def convert(self, value: str, param: Any, ctx: click.Context | None) -> str:
        if ctx and (readers := _other_readers(value, ctx)):
            raise UserError(
                f"anisomem {ctx.command.name} does not read {value.partition('=')[0]}; it is for"
                f" anisomem {', '.join(readers)}"
            )
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        offered = completion.overrides(incomplete, self.or_file)
        return [item for item in offered if not _other_readers(item.value, ctx)]


def _other_readers(word: str, ctx: click.Context) -> Sequence[str]:
    """The commands that read the setting of an override, where the one at work does not."""
    if "=" not in word and not word.endswith("."):  # a file; completion ends a setting so
        return ()
    readers = READ_BY.get(re.split(r"[.=@]", word.lstrip("+~"), maxsplit=1)[0], ())
    return () if ctx.command.name in readers else readers


OVERRIDE = OverrideWord()


def overrides(
    text: str, or_file: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument that takes overrides.

    Arguments:
        text: Its line of help.
        or_file: Whether a file may stand there by itself.
    """
    kind = OverrideWord(or_file)
    shown = "[FILE] [NAME=VALUE]..." if or_file else "[NAME=VALUE]..."
    return click.argument("overrides", nargs=-1, type=kind, metavar=shown, help=text)
