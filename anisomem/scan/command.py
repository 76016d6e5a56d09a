"""``anisomem scan``: reads prompts, records what is missing, judges, writes and prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from anisomem.config import catalog, compose
from anisomem.config.overrides import experiment, read
from anisomem.console.progress import phase
from anisomem.datasets import places
from anisomem.errors import UserError
from anisomem.scan.complete import complete
from anisomem.scan.notices import before, failed
from anisomem.scan.plan import plan
from anisomem.scan.scan import Scan
from anisomem.scan.tables import printed
from anisomem.scan.written import PAGE, SCAN, write
from anisomem.storage.atomic import CannotWriteError


def scan(words: Sequence[str]) -> int:
    """Scans what the words choose, or continues it, and prints what was found; the exit code.

    Arguments:
        words: The words of the command line; one that is a path is the file of prompts.

    Raises:
        UserError: Settings that are wrong, or prompts that cannot be had.
    """
    overrides = with_prompts(words)
    chosen = experiment(overrides)
    given = overrides if chosen else [f"experiment={_usual(overrides)}", *overrides]
    with phase("reading the configuration", brief=True):
        configs = compose.cases(given)
        _refuse_dataset(overrides)
    with phase("reading the prompts and what is recorded", brief=True):
        scans = [Scan(config, chosen or catalog.SCAN) for config in configs]
    if configs[0].dry_run:
        for one in scans:
            before(one)
        print(plan(scans).printed_turned())
        return 0
    return max(_one(one) for one in scans)


def _usual(overrides: Sequence[str]) -> str:
    """The experiment where none is chosen: with a second model the one that compares with it."""
    given = {one.key: one.value for one in read(overrides)}
    compares = given.get("baseline_model.path") and "detector" not in given
    return catalog.SCAN_RELATIVE if compares else catalog.SCAN


def with_prompts(words: Sequence[str]) -> list[str]:
    """The words as overrides; one without a name that is a place of prompts names them.

    Raises:
        UserError: Several places.
    """
    named = [word for word in words if "=" not in word and _is_place(word)]
    if len(named) > 1:
        raise UserError(
            f"a scan reads one place, got {' and '.join(map(shlex.quote, named))}; a folder or a "
            "pattern in quotes, 'parts/*.csv', names several files"
        )
    return [f"prompts={word}" if word in named else word for word in words]


def _is_place(word: str) -> bool:
    """Whether a word is a path, or called like one, or a prompt set's name."""
    if word.startswith(("~", ".", "/")) or places.is_list(word) or "/" in word:
        return True
    return word in catalog.names("dataset") or os.path.lexists(word)


def _refuse_dataset(overrides: Sequence[str]) -> None:
    for one in compose.checked(overrides):
        if one.key.partition(".")[0] == "dataset":
            meant = one.value if one.key in ("dataset", "dataset.path") else "FILE"
            raise UserError(f"a scan reads prompts without labels; give prompts={meant}")


def _one(scan: Scan) -> int:
    before(scan)
    found = complete(scan)
    if failed(found):
        return 1
    print(printed(found))
    try:
        scan.keep_settings()
        write(found)
    except CannotWriteError as error:
        if not error.forbidden:
            raise
        print(f"anisomem: its files are as they were: {error}", file=sys.stderr)
    print(f"All prompts: {scan.folder / SCAN}; page: {scan.folder / PAGE}")
    return 0
