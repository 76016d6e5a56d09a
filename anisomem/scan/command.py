"""``anisomem scan``: reads prompts, records what is missing, judges, writes and prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial

from anisomem.config import catalog, compose
from anisomem.config.overrides import experiment, read
from anisomem.console.progress import phase
from anisomem.datasets import places
from anisomem.errors import UserError
from anisomem.scan import checkpoints
from anisomem.scan.complete import complete
from anisomem.scan.found import Found
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
    paths = checkpoints.listed(overrides)
    each = checkpoints.of_each(overrides, paths) if paths else [overrides]
    with phase("reading the configuration", brief=True):
        usual = [] if chosen else [f"experiment={_usual(overrides)}"]
        configs = [config for words in each for config in compose.cases([*usual, *words])]
        _refuse_dataset(overrides)
        if paths and len(configs) != len(paths):
            raise UserError("a curve over checkpoints is of one case, and the experiment has more")
    with phase("reading the prompts and what is recorded", brief=True):
        scans: list[Scan] = []
        for config in configs:
            read_once = scans[0].scanned if paths and scans else None
            scans.append(Scan(config, chosen or catalog.SCAN, read_once))
        if paths:
            checkpoints.require_comparable(scans, paths)
    if configs[0].dry_run:
        for one in scans[:1] if paths else scans:  # of a curve all are alike
            before(one)
        print(plan(scans).printed_turned())
        return 0
    if len(paths) > 1:
        return _curve(scans, paths)
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
    _written(partial(_keep, found))
    print(f"All prompts: {scan.folder / SCAN}; page: {scan.folder / PAGE}")
    return 0


def _curve(scans: Sequence[Scan], paths: Sequence[str]) -> int:
    """Scans every checkpoint, and prints what they give back side by side."""
    names = checkpoints.names(paths)
    before(scans[0])
    every: list[Found] = []
    for number, (scan, name) in enumerate(zip(scans, names, strict=True), 1):
        print(f"anisomem: checkpoint {number} of {len(scans)}: {name}", file=sys.stderr)
        found = complete(scan)
        if failed(found):
            return 1
        _written(partial(_keep, found))
        every.append(found)
    curve, folder = checkpoints.points(every, paths), checkpoints.folder_of(scans)
    print(checkpoints.table(curve, every).printed())
    _written(partial(checkpoints.write, folder, curve, every))
    for name, scan in zip(names, scans, strict=True):
        print(f"{name}: {scan.folder / PAGE}")
    print(f"The curve: {folder / f'{checkpoints.CURVE}.png'}")
    return 0


def _keep(found: Found) -> None:
    found.scan.keep_settings()
    write(found)


def _written(files: Callable[[], None]) -> None:
    """Writes, but to a folder that may only be read."""
    try:
        files()
    except CannotWriteError as error:
        if not error.forbidden:
            raise
        print(f"anisomem: its files are as they were: {error}", file=sys.stderr)
