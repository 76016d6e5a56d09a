"""Completion for bash and zsh: commands and options by click, overrides by what ``conf/`` holds.

``_ANISOMEM_COMPLETE=bash_source anisomem`` prints the script that a shell reads. Click's own ones
part a word at ``=`` in bash and put a blank behind ``experiment=``, so ours stand here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from click import Command
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

from anisomem.cli.settings import defaults
from anisomem.config import catalog

VARIABLE = "_ANISOMEM_COMPLETE"
OPEN = ("=", "[", ",", ".", "/")  # what a word ends with that goes on
OWN = Path("conf/detector")  # the user's, in the current folder
OF_FILES = re.compile(r"runs|prompts|calibration|paths\.data|.*\.(path|memorized|others|prompts)")


def complete(group: Command, instruction: str) -> int:
    """Answers a shell; the exit code.

    Arguments:
        group: The command with its subcommands.
        instruction: What :data:`VARIABLE` says, such as ``bash_source``.
    """
    from click.shell_completion import shell_complete

    for shell in (_Bash, _Zsh):
        add_completion_class(shell)
    return shell_complete(group, {}, "anisomem", VARIABLE, instruction)


def items(words: Iterable[str], kind: str = "plain") -> list[CompletionItem]:
    """Words as a shell's script takes them."""
    return [CompletionItem(word, type=kind) for word in words]


def members(group: str) -> list[str]:
    """The names of a group; of detectors also those in ``conf/detector`` here."""
    own = sorted(file.stem for file in OWN.glob("*.yaml")) if group == "detector" else []
    return list(dict.fromkeys([*catalog.names(group), *own]))


def overrides(word: str, or_file: bool = False) -> list[CompletionItem]:
    """What an override that is typed so far may become.

    Arguments:
        word: What is typed.
        or_file: Whether a file may stand there by itself.
    """
    name, given, value = word.partition("=")
    if not given:
        keys = (key for key in _keys(name) if key.startswith(word))
        return items([*keys, *(_files(word) if or_file else ())])
    return items(f"{name}={one}" for one in _values(name, value))


def _keys(typed: str) -> Iterator[str]:
    """Names of settings with what follows them: ``=``, or ``.`` where more of them lie below."""
    yield from (f"{group}=" for group in catalog.GROUPS)
    yield from (f"{name}=" for name in defaults() if name not in catalog.GROUPS)
    group, *below = typed.split(".")
    if not below or group not in catalog.GROUPS:
        return
    if group in catalog.LISTS and len(below) == 1:
        yield from (f"{group}.{name}." for name in members(group))
        return
    files = below[:1] if group in catalog.LISTS else catalog.names(group)
    prefix = f"{group}.{below[0]}" if group in catalog.LISTS else group
    for key in dict.fromkeys(key for file in files for key in _settings_of(group, file)):
        yield f"{prefix}.{key}="


@cache
def _settings_of(group: str, name: str) -> tuple[str, ...]:
    """The settings that a member of a group has in its file."""
    places = [catalog.folder() / group / f"{name}.yaml", OWN / f"{name}.yaml"]
    file = next((file for file in places if file.is_file()), None)
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    indent = "  " if group in catalog.LISTS else ""
    keys = (re.match(rf"{indent}([a-z]\w*):", line) for line in lines)
    return tuple(key[1] for key in keys if key and key[1] != "defaults")


def _values(name: str, value: str) -> Iterator[str]:
    if name in catalog.LISTS:
        cut = max(value.rfind("["), value.rfind(",")) + 1
        start, last = value[:cut] or "[", value[cut:]
        taken = re.findall(r"\w+", start)
        free = (one for one in members(name) if one not in taken)
        yield from (f"{start}{one}" for one in free if one.startswith(last))
    elif name in catalog.GROUPS:
        yield from (one for one in members(name) if one.startswith(value))
    elif OF_FILES.fullmatch(name):
        yield from _files(value)
    elif (known := defaults().get(name)) and known.default in ("true", "false"):
        yield from (one for one in ("true", "false") if one.startswith(value))


def _files(typed: str) -> Iterator[str]:
    """Files and folders that begin so, folders with a slash."""
    folder, _, start = typed.rpartition("/")
    place = Path(f"{folder}/").expanduser() if folder or typed.startswith("/") else Path()
    try:
        below = sorted(place.iterdir())
    except OSError:
        return
    for file in below:
        if file.name.startswith(start) and (start or not file.name.startswith(".")):
            yield f"{typed[: len(typed) - len(start)]}{file.name}{'/' * file.is_dir()}"


class _Words(ShellComplete):
    """The line up to the cursor, which the shell hands over as it is typed."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, last = _split(os.environ["COMP_WORDS"])
        return words[1:], last

    def format_completion(self, item: CompletionItem) -> str:
        goes_on = item.value.endswith(OPEN) or "=[" in item.value
        kind = "open" if item.type == "plain" and goes_on else item.type
        return f"{kind}\t{item.value}"


def _split(line: str) -> tuple[list[str], str]:
    """The whole words of a line, and the one that is being typed, without quotes."""
    words = re.findall(r"(?:'[^']*(?:'|$)|\"[^\"]*(?:\"|$)|\\.|[^\s'\"\\])+", line)
    bare = [re.sub(r"\\(.)|['\"]", r"\1", word) for word in words]
    open_quote = line.count("'") % 2 or line.count('"') % 2
    if not words or (line[-1:].isspace() and not open_quote and not line.endswith("\\ ")):
        return bare, ""
    return bare[:-1], bare[-1]


class _Bash(_Words):
    """Bash ends words at ``=`` and ``:`` where they are not quoted, and so do its replies."""

    name = "bash"
    source_template = """\
%(complete_func)s() {
    local kind value line="${COMP_LINE:0:COMP_POINT}" typed="${COMP_WORDS[COMP_CWORD]}" whole
    whole="${line##*[[:space:]]}"
    [[ "$typed" == [=:] ]] && typed=""
    while IFS=$'\\t' read -r kind value; do
        case "$kind" in
            dir) compopt -o dirnames -o filenames; return ;;
            file) compopt -o default; return ;;
            "") continue ;;
        esac
        if [[ "$whole" != [\\'\\"]* && "$whole" != "$typed" ]]; then
            value="${value#"${whole%%"$typed"}"}"
        fi
        [[ "$whole" == [\\'\\"]* ]] || value="${value// /\\\\ }"
        [[ "$kind" == open ]] && compopt -o nospace
        COMPREPLY+=("$value")
    done < <(COMP_WORDS="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -F %(complete_func)s %(prog_name)s
"""


class _Zsh(_Words):
    """Zsh quotes what it inserts by itself."""

    name = "zsh"
    source_template = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local kind value
    local -a whole parts
    while IFS=$'\\t' read -r kind value; do
        case "$kind" in
            dir) _path_files -/; return ;;
            file) _path_files -f; return ;;
            "") continue ;;
        esac
        if [[ "$kind" == open ]]; then parts+=("$value"); else whole+=("$value"); fi
    done < <(COMP_WORDS="${(j: :)words[1,CURRENT-1]} ${PREFIX}" \\
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)
    (( $#whole )) && compadd -U -a whole
    (( $#parts )) && compadd -U -S '' -a parts
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
