"""A scan by its folder, which needs neither its model nor the file that it was of."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.datasets.unlabelled import Unlabelled
from anisomem.errors import UserError
from anisomem.run import ordinary, stored
from anisomem.run.base import CONFIG
from anisomem.scan.found import Found
from anisomem.scan.notices import UNREAD
from anisomem.scan.scan import Kept, Scan, Stage
from anisomem.scan.sources import Calibration
from anisomem.scan.written import CALIBRATION, SCAN, distinct
from anisomem.storage import atomic
from anisomem.storage.store import ScoreStore


def scan(folder: Path, allowed: Collection[str] = ()) -> Scan:
    """The scan that a folder holds.

    Arguments:
        folder: Where it lies.
        allowed: What its configuration may name besides, see :func:`anisomem.run.stored.read`.

    Raises:
        UserError: It was not finished, or its files are damaged or of another scan.
    """
    config = stored.read(folder / CONFIG, allowed)
    source = config.calibration or config.references.prompts
    source = source or ordinary.default(config.model.get("path"))
    texts = table(folder / CALIBRATION, ["prompt"])["prompt"].to_pylist()
    store = ScoreStore.stored(folder / "components")
    kept = Kept(prompts(folder), Calibration(source, texts, 0, 0, ()), store)
    return Scan(config, folder.parent.name, kept=kept)


def prompts(folder: Path) -> Unlabelled:
    """The prompts as they were given, of which ``scan.parquet`` has every row.

    Raises:
        UserError: It is not there or damaged.
    """
    rows = table(folder / SCAN, ["id", "prompt"])
    encoded = rows["prompt"].combine_chunks().dictionary_encode()
    unread = atomic.read_bytes(folder / UNREAD) if os.path.lexists(folder / UNREAD) else b""
    return Unlabelled(
        folder.name.rpartition("-")[0],
        rows["id"].to_pylist(),
        np.asarray(encoded.indices.to_numpy(), np.int64),
        encoded.dictionary.to_pylist(),
        unread.decode(errors="replace").splitlines(),
    )


def table(file: Path, texts: list[str] | None = None) -> pa.Table:
    """A parquet file of a scan.

    Arguments:
        file: Where it lies.
        texts: The columns of texts that are read; all columns if not given.

    Raises:
        UserError: It is not there or damaged.
    """
    try:
        content = pq.read_table(pa.BufferReader(atomic.read_bytes(file)), columns=texts)
    except FileNotFoundError:
        raise UserError(
            f"{file.parent} has no {file.name}, so its scan is not finished; its command again "
            "continues"
        ) from None
    except (pa.ArrowException, OSError, ValueError):
        raise atomic.damaged(file) from None
    for name in texts or ():
        if name not in content.column_names or content[name].type != pa.string():
            raise atomic.damaged(file)
        if content[name].null_count:
            raise atomic.damaged(file)
    return content


def finished(scan: Scan) -> Found:
    """What a stored scan has found; its files say the same.

    Raises:
        UserError: Something is not recorded, prompts failed that were not to be kept, or the files
            are of other settings.
    """
    _require_complete(scan, scan.first)
    found = Found(scan)
    if found.second:
        _require_complete(scan, found.second)
    if found.failures and scan.config.on_failure != "keep":
        raise UserError(f"{scan.folder}: prompts failed; scan it again with on_failure=keep")
    written = table(scan.folder / SCAN)
    now = distinct(found, np.zeros(found.count, np.int64))
    now = now.take(pa.array(scan.listed.rows)).drop_columns(["cluster"])
    if not _same(now, written):
        raise UserError(
            f"{scan.folder}: {SCAN} is of other settings than {CONFIG}; its command again writes "
            "it anew"
        )
    return found


def _require_complete(scan: Scan, stage: Stage) -> None:
    if missing := sum(len(batch.ids) for batch in stage.missing()):
        raise UserError(
            f"{scan.folder} lacks {missing} prompts; run the same command again to continue"
        )


def _same(now: pa.Table, written: pa.Table) -> bool:
    """Whether a table has the columns and values that it should have, to nine digits."""
    if set(written.column_names) != {"id", "cluster", *now.column_names}:
        return False
    for name in now.column_names:
        a, b = now[name], written[name]
        if pa.types.is_floating(a.type):
            x, y = (_floats(column) for column in (a, b))
            if not np.allclose(x, y, rtol=1e-9, atol=0, equal_nan=True):
                return False
        elif not a.combine_chunks().equals(b.combine_chunks()):
            return False
    return True


def _floats(column: Any) -> Any:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
