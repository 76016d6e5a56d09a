"""Where components are kept: a parquet row per prompt, seed and noise sample, a column each.

A batch of prompts becomes one *shard*, a file named after the sha256 of its content. It appears
whole or not at all, so a killed run loses the batches in flight and nothing else; a shard whose
content does not match its name is damaged and counts as not recorded. Any number of processes may
append at once. When everything is recorded, the shards are merged into one file.

A folder may come from elsewhere, so whatever stands under a shard's name is looked at before it is
believed: a link to nothing, a pipe or a folder there is damaged likewise.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.errors import UserError
from anisomem.storage import atomic, digests

if TYPE_CHECKING:  # what is finished is printed again without it
    import pandas as pd

IDENTITY = "identity.json"
KEY = ["prompt_id", "seed", "sample"]
TOGETHER = 256  # shards whose rows are moved into one table while more are read
TRIES = 100  # of reading a folder in which another process merges
FAILURE = "failure"  # column: why a prompt has no numbers, null where it has
SECONDS = "seconds"  # column: of the batch it was evaluated in, divided by the batch's rows

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Origin:
    """How a batch was evaluated, a column each; a run may be continued elsewhere.

    Attributes:
        batch_size: Latents in a forward pass, after any halving.
        device: The accelerator or processor, by name.
        git_commit: The git commit of this package, None outside a checkout.
        revision: Commit of a model from the hub, else None.
    """

    batch_size: int
    device: str
    git_commit: str | None
    revision: str | None


ORIGIN = {"batch_size": pa.int32()} | dict.fromkeys(
    ("device", "git_commit", "revision"), pa.string()
)

#: What every shard has, besides a column a component.
LAYOUT = {"prompt_id": pa.string(), "seed": pa.int64(), "sample": pa.int32()}
LAYOUT |= {FAILURE: pa.string(), SECONDS: pa.float64(), **ORIGIN}


class ScoreStore:
    """The components of one run in a folder.

    Arguments:
        folder: Where the shards lie; made on the first append.
        content: The run's identity, see :mod:`anisomem.run.identity`.

    Raises:
        UserError: The folder holds the components of another identity.
    """

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.folder = folder
        self.content = json.loads(json.dumps(content))  # as it reads back
        self._file = folder / IDENTITY
        if os.path.lexists(self._file):
            stored = _described(self._file)
            if differ := digests.differences(stored, self.content):
                raise UserError(
                    f"{folder} holds a run that differs in {', '.join(differ)}; choose another "
                    "folder with runs=FOLDER"
                )

    @classmethod
    def stored(cls, folder: Path) -> ScoreStore:
        """The store in a folder, whatever its identity.

        Raises:
            UserError: There is none.
        """
        if not os.path.lexists(folder / IDENTITY):
            raise UserError(f"no components at {str(folder)!r}")
        return cls(folder, _described(folder / IDENTITY))

    @property
    def files(self) -> list[Path]:
        """What the store consists of."""
        return [self._file, *self._paths()]

    def start(self) -> None:
        """Writes what the run is, so that a store without a row can be told from none."""
        atomic.write_text(self._file, json.dumps(self.content, indent=1, sort_keys=True))

    def append(
        self,
        ids: Sequence[str],
        seed: int,
        components: Mapping[str, Array],
        seconds: float,
        origin: Origin,
    ) -> None:
        """Adds a batch of prompts at one seed; one without a finite number counts as failed.

        Arguments:
            ids: The prompts' ids.
            seed: The seed of the noise.
            components: Name to ``[B, n]``; n may differ.
            seconds: How long the batch took.
            origin: How it was evaluated.
        """
        n = max(values.shape[1] for values in components.values())
        rows = len(ids) * n
        columns: dict[str, Any] = {
            "prompt_id": np.repeat(np.asarray(ids, dtype=object), n),
            "seed": np.full(rows, seed),
            "sample": np.tile(np.arange(n, dtype=np.int32), len(ids)),
            FAILURE: pa.array(np.repeat(_failures(components), n), pa.string()),
            SECONDS: np.full(rows, seconds / rows),
            **{
                name: pa.array([value] * rows, ORIGIN[name])
                for name, value in asdict(origin).items()
            },
        }
        for name, values in sorted(components.items()):  # whatever the detectors' order
            padded = np.full((len(ids), n), np.nan)
            padded[:, : values.shape[1]] = values
            columns[name] = padded.ravel()
        self.add(pa.table(columns))

    def read(self) -> pd.DataFrame:
        """All rows that are whole, each once, in the order of their key."""
        import pandas as pd

        rows = self.rows()
        if rows is None:
            return pd.DataFrame(columns=[*KEY, FAILURE, SECONDS, *ORIGIN])
        return rows.to_pandas()

    def rows(self) -> pa.Table | None:
        """The same as they are stored; None where there are none."""
        _, tables = self._shards()
        return self._each_once(tables) if tables else None

    def merge(self) -> None:
        """Brings all shards into one; killed at any moment, nothing is lost or counted twice.

        What a killed process left half written goes with them.
        """
        atomic.remove_abandoned(self.folder)
        paths, tables = self._shards()
        if len(paths) < 2:
            return
        merged = self._write(self._each_once(tables), compression="zstd")
        for path in paths:
            if path != merged:
                path.unlink(missing_ok=True)

    def add(self, table: pa.Table) -> None:
        """Adds rows as a shard, as they are: to compress a batch's takes longer than all else."""
        if not os.path.lexists(self._file):
            self.start()
        self._write(table, compression="none", use_dictionary=False, write_statistics=False)

    def _write(self, table: pa.Table, **how: Any) -> Path:
        """Writes rows as a shard, under the name of its content."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **how)
        content = sink.getvalue().to_pybytes()
        path = self.folder / f"{sha256(content).hexdigest()}.parquet"
        atomic.write_bytes(path, content)
        return path

    def _paths(self) -> list[Path]:
        """The shards' files, without those that another process is about to write."""
        return sorted(self.folder.glob("[!.]*.parquet"))

    def _shards(self) -> tuple[list[Path], list[pa.Table]]:
        """The whole shards and their rows; a damaged one is set aside and said.

        Raises:
            UserError: A shard must not be read, or the folder does not come to rest.
        """
        for _ in range(TRIES):
            # A shard that another process has just merged is gone: its rows are elsewhere.
            with suppress(FileNotFoundError):
                return self._read_shards()
        raise UserError(f"{self.folder} changes while it is read; try again")

    def _read_shards(self) -> tuple[list[Path], list[pa.Table]]:
        whole: list[Path] = []
        tables: list[pa.Table] = []
        few: list[pa.Table] = []
        for path in self._paths():
            if (table := _table(path)) is not None:
                whole.append(path)
                few.append(table)
            if len(few) == TOGETHER:  # a table of few rows is mostly what surrounds them
                tables.append(self._together(few).combine_chunks())
                few = []
        return whole, [*tables, *few]

    def _each_once(self, tables: Sequence[pa.Table]) -> pa.Table:
        """The rows of some shards, each once, in the order of their key."""
        rows = self._together(tables)
        # Two processes may have recorded the same prompt; either's rows are as good, but a number
        # is better than a failure.
        order = [*KEY, FAILURE]
        keys = rows.select(order).to_pandas()
        keys = keys.sort_values(order, kind="stable", na_position="first").drop_duplicates(KEY)
        if len(keys) == rows.num_rows and keys.index.is_monotonic_increasing:
            return rows  # merged already
        return rows.combine_chunks().take(pa.array(keys.index.to_numpy()))

    def _together(self, tables: Sequence[pa.Table]) -> pa.Table:
        try:
            return pa.concat_tables(tables)
        except pa.ArrowException:
            raise UserError(
                f"{self.folder} holds shards of different components, which no run writes"
            ) from None


def _described(file: Path) -> dict[str, Any]:
    """The content of an identity file.

    Raises:
        UserError: It says something else than a run writes.
    """
    content = atomic.read_json(file)
    kinds = {"version": int, "prompts": str, "components": dict, "sources": dict}
    if any(type(content[name]) is not kind for name, kind in kinds.items() if name in content):
        raise atomic.damaged(file)
    samples = content.get("components", {}).values()
    references = content.get("references", [])  # prompts; of a measure a digest of pictures
    texts = [references] if isinstance(references, str) else references
    if not isinstance(texts, list):
        raise atomic.damaged(file)
    texts = [*texts, *content.get("sources", {}).values()]
    if {*map(type, samples)} - {int} or {*map(type, texts)} - {str}:
        raise atomic.damaged(file)
    return content


def _table(path: Path) -> pa.Table | None:
    """A shard's rows, or None where it is no file or its content is not what its name says."""
    if path.is_file() or not os.path.lexists(path):
        content = atomic.read_bytes(path)
        if sha256(content).hexdigest() == path.stem and (table := _parsed(content)) is not None:
            return table
    warnings.warn(f"{path} is damaged; what it held is recorded again", stacklevel=2)
    with suppress(OSError):  # in a folder that may only be read it stays
        os.replace(path, path.with_suffix(".damaged"))
    return None


def _parsed(content: bytes) -> pa.Table | None:
    """The rows of a shard's content, None where it has not the columns that every shard has."""
    try:
        table = pq.read_table(pa.BufferReader(content))
        layout = pa.schema([*LAYOUT.items()])
        numbers = table.drop_columns(layout.names).schema.types
        whole = table.select(layout.names).schema.equals(layout)
        return table if whole and set(numbers) <= {pa.float64()} else None
    except (pa.ArrowException, KeyError, OSError):
        return None


def _failures(components: Mapping[str, Array]) -> npt.NDArray[np.object_]:
    """Why each prompt of a batch has no score: its first component that is not finite, ``[B]``."""
    reasons = np.full(len(next(iter(components.values()))), None, object)
    for name, values in reversed(list(components.items())):
        reasons[np.isinf(values).any(axis=1)] = f"{name} is infinite"
        reasons[np.isnan(values).any(axis=1)] = f"{name} is NaN"
    return reasons


def arrays(
    frame: pd.DataFrame, ids: Sequence[str], seed: int, samples: Mapping[str, int]
) -> dict[str, Array]:
    """The components of one noise seed, name to ``[N, n]`` in the order of ``ids``.

    Arguments:
        frame: What :meth:`ScoreStore.read` returned; every prompt must be in it.
        ids: The prompts' ids.
        seed: The seed of the noise.
        samples: The components wanted, with their number of noise samples n.

    Raises:
        UserError: A component was not recorded.
    """
    import pandas as pd

    if lacking := sorted(set(samples) - set(frame.columns)):
        raise UserError(f"the store has no component {lacking[0]}; run its detector")
    at_seed = frame[frame["seed"] == seed].set_index(KEY[:1] + KEY[2:])
    values = {}
    for name, n in samples.items():
        rows = pd.MultiIndex.from_product([ids, range(n)])
        values[name] = at_seed[name].reindex(rows).to_numpy(np.float64).reshape(len(ids), n)
    return values
