"""A store that is kept nowhere: components of what is asked for once.

Its rows are those that a :class:`~anisomem.storage.store.ScoreStore` would hold, in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from anisomem.storage.store import ScoreStore

NOWHERE = Path(os.devnull)  # nothing can lie below it


class MemoryStore(ScoreStore):
    """The components of one run, gone with it.

    Arguments:
        content: The run's identity, see :mod:`anisomem.run.identity`.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.folder = NOWHERE
        self.content = json.loads(json.dumps(content))  # as that of a folder reads back
        self._tables: list[pa.Table] = []

    @property
    def files(self) -> list[Path]:
        return []

    def start(self) -> None:
        """There is nothing to be told from none."""

    def merge(self) -> None:
        """There are no files to be one."""

    def add(self, table: pa.Table) -> None:
        self._tables.append(table)

    def _shards(self) -> tuple[list[Path], list[pa.Table]]:
        return [], self._tables
