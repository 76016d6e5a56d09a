"""The words ``name=value`` of a command line, as Hydra's grammar reads them or as plain text.

Hydra reads letters, digits and ``/-_.+:%@?|`` as they are and the rest by rules of its own. Where
those make no sense of a value, it is text; settings that hold a path or a name always are.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from anisomem.config import catalog
from anisomem.config.schema import Schema
from anisomem.errors import UserError

PATHS = re.compile(
    r"runs|prompts|calibration|pictures|paths\.data|(baseline_)?model\.path"
    r"|dataset\.(path|memorized|others)|references\.prompts"
    r"|measure\.\w+\.weights"
)
#: Text too, though no path.
NAMES = re.compile(r"dataset\.name|scan\.(columns\.\w+|split|revision|config)")
SETTINGS = frozenset(field.name for field in fields(Schema))
QUOTES = ("'", '"')
LONGEST = 255  # bytes of a file's name


@dataclass(frozen=True)
class Override:
    """One setting as it was typed, and as it is read.

    Attributes:
        key: The setting, without Hydra's ``+``.
        value: The value as it is read.
        text: What Hydra is given.
    """

    key: str
    value: Any
    text: str


def read(words: Sequence[str], several: bool = False) -> list[Override]:
    """The overrides that some words are.

    Arguments:
        words: The words of the command line.
        several: A setting may have several values with commas between them.

    Raises:
        UserError: A word that is none, with how to quote it.
    """
    return [_read_one(word, words[i + 1 :], several) for i, word in enumerate(words)]


def experiment(words: Sequence[str]) -> str | None:
    """The experiment that they choose."""
    chosen = [one.value for one in read(words) if one.key == "experiment"]
    return chosen[-1] if chosen else None


def path(text: str, what: str) -> str:
    """The path of a file or folder, ``~`` expanded.

    Raises:
        UserError: None that a file system can hold.
    """
    if not text:
        raise UserError(f"{what} is empty; give a path")
    if "\0" in text:
        raise UserError(f"{what} has a NUL in it, which no path can have")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{what} is not UTF-8 text: {text!r}; rename it") from None
    if long := [part for part in encoded.split(b"/") if len(part) > LONGEST]:
        raise UserError(
            f"{what} has a name of {len(long[0])} bytes, {text[:40]!r}..., and file systems hold "
            f"{LONGEST}; give a shorter one"
        )
    if len(encoded) > 4095:
        raise UserError(f"{what} has {len(encoded)} bytes, and a path holds 4095")
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise UserError(f"{what}: no user {text.partition('/')[0]!r}") from None


def quoted(text: str) -> str:
    """Text as Hydra's grammar reads it, whatever it is made of."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    ends = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{ends * chr(92)}'"


def _read_one(word: str, following: Sequence[str], several: bool) -> Override:
    name, separator, value = word.partition("=")
    if not separator or not name:
        raise UserError(f"an override reads name=value, got {word!r}{_meant(word, following)}")
    if name.startswith("~"):
        raise UserError(f"a setting cannot be taken away, as {word!r} does; give it a value")
    if "\0" in word:
        raise UserError(f"{name} has a NUL in it: {word!r}")
    if not word.isascii():
        _require_utf8(word)
    key = name.lstrip("+")
    if key.startswith("hydra"):
        return Override(key, value, word)
    if "${" in value:
        raise UserError(
            f'{key} is not looked up from {value!r}; write the value itself, or "{key}=$NAME" for '
            "an environment variable"
        )
    if PATHS.fullmatch(key) or NAMES.fullmatch(key):
        return _text(name, key, value, several)
    try:
        return _parsed(name, key, word, several)
    except RecursionError:
        raise UserError(f"{key} is nested too deeply: {value[:20]}...") from None
    except (HydraException, ValueError) as error:
        return _unread(name, key, value, following, error)


def _meant(word: str, following: Sequence[str]) -> str:
    """What a word without a value was meant to be, as it is written; "" where it is not known."""
    name = word.rstrip(":=")
    written = [
        f"'{group}=[{name}]'" if group in catalog.LISTS else f"{group}={name}"
        for group in catalog.GROUPS
        if name in catalog.names(group)
    ]
    if written:
        return f"; write {' or '.join(written)}"
    if name in catalog.GROUPS or name in SETTINGS:
        value = next((one for one in following if one not in ("=", ":")), "VALUE")
        return f"; write {name}={value}, without blanks"
    if os.path.splitext(word)[1] and os.path.isfile(word):
        return f"; write dataset=prompts_file {shlex.quote(f'dataset.path={word}')}"
    return ""


def _require_utf8(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UserError(f"{word!r} is not UTF-8 text") from None


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _parsed(name: str, key: str, word: str, several: bool) -> Override:
    """Parses a word by Hydra's grammar.

    Raises:
        HydraException, ValueError: It makes no sense there.
        UserError: Several values where there can be one.
    """
    override = _parser().parse_override(word)
    if not override.is_sweep_override():
        value = override.value()
        plain = isinstance(value, str) and re.fullmatch(r"\w+", value, re.ASCII)
        if isinstance(value, dict) or key.startswith("dataset.columns."):
            word = f"++{key}={word.partition('=')[2]}"  # a mapping may name what is not there yet
        elif plain and not _typed(value) and key == name:
            word = f"{key}={value}"
        return Override(key, value, word)
    if not several:
        text = word.partition("=")[2]
        raise UserError(
            f"{key} has several values, {text}; a list is '{name}=[{text}]', and anisomem "
            f"multirun {word} runs each"
        )
    return Override(key, None, word)


def _typed(value: str) -> bool:
    """Whether text without its quotes would be a number, truth value or null."""
    return not isinstance(_parser().parse_override(f"x={value}").value(), str)


def _text(name: str, key: str, value: str, several: bool) -> Override:
    """A setting that is text whatever it looks like."""
    texts = [value]
    if value.startswith(QUOTES) or "\\" in value or value in ("null", "None"):
        try:
            override = _parser().parse_override(f"x={value}")
        except HydraException:
            pass
        else:
            if override.is_sweep_override() and several:
                return Override(key, None, f"{name}={value}")
            if override.value() is None:
                return Override(key, None, f"{name}=null")
            if isinstance(override.value(), str):
                texts = [override.value()]
    elif several:
        texts = value.split(",")
    if PATHS.fullmatch(key):
        texts = [path(text, key) for text in texts]
    return Override(key, texts[0], f"{name}={','.join(quoted(text) for text in texts)}")


def _unread(
    name: str, key: str, value: str, following: Sequence[str], error: Exception
) -> Override:
    """What Hydra's grammar makes no sense of: text, or a list or mapping to be quoted.

    Raises:
        UserError: How to write it.
    """
    if isinstance(error, ValueError):
        raise UserError(f"{key} is a number of {len(value)} digits, {value[:20]}...") from None
    if not re.fullmatch(r"[\w.@/-]+", name, re.ASCII):
        raise UserError(f"an override reads name=value, got {name}={value!r}") from None
    if not value.startswith(("[", "{", *QUOTES)):
        return _parsed(name, key, f"{name}={quoted(value)}", several=False)
    for more in following:  # what the shell has split at blanks
        if _balanced(value):
            break
        value = f"{value} {more}"
    else:
        if not _balanced(value):
            raise UserError(
                f"{key} has an open bracket or quote in {value!r}; write '{name}=[a,b]' or "
                f"'{name}={{a: b}}'"
            ) from None
    for written in (value, _with_quotes(value)):
        try:
            _parser().parse_override(f"x={written}")
        except HydraException:
            continue
        raise UserError(
            f"{key} cannot be read as it stands; write '{name}={written}', single quotes included"
        )
    raise UserError(
        f"{key} cannot be read from {value!r}; write '{name}=[a,b]' or '{name}={{a: b}}', what "
        'holds more than letters, digits and /-_.+ in double quotes: "é"'
    )


def _balanced(value: str) -> bool:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", value)
    return all(bare.count(a) <= bare.count(b) for a, b in ("[]", "{}")) and not (
        set(bare) & set(QUOTES)
    )


def _with_quotes(value: str) -> str:
    """A list or mapping with double quotes around what is more than letters and digits."""

    def put(match: re.Match[str]) -> str:
        atom = match[0].strip()
        return match[0] if re.fullmatch(r"[\w/.+-]+", atom, re.ASCII) else f'"{atom}"'

    return re.sub(r"[^\[\]{},:\"'\s][^\[\]{},:\"']*", put, value)
