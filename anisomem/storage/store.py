"""Where components are kept: one parquet row per prompt, seed, noise sample and component."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.storage import atomic

SCHEMA = pa.schema(
    [
        ("prompt_id", pa.dictionary(pa.int32(), pa.string())),
        ("seed", pa.int64()),
        ("sample", pa.int32()),
        ("component", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.float64()),
    ]
)

Array = npt.NDArray[np.float64]


class ScoreStore:
    """Append-only shards of components in a folder; a batch of prompts is one shard.

    A shard appears whole or not at all, so an interrupted run loses the batch in flight and
    nothing else.

    Arguments:
        folder: Where the shards lie; made on the first append.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, ids: Sequence[str], seed: int, components: Mapping[str, Array]) -> None:
        """Adds every component of some prompts at one seed, ``[B, n]`` each."""
        columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
        for name, values in components.items():
            batch, n = values.shape
            columns["prompt_id"] += list(np.repeat(list(ids), n))
            columns["seed"] += [seed] * (batch * n)
            columns["sample"] += list(range(n)) * batch
            columns["component"] += [name] * (batch * n)
            columns["value"] += values.ravel().tolist()
        table = pa.table(columns, schema=SCHEMA)
        shard = self.folder / f"{uuid.uuid4().hex}.parquet"
        atomic.write(shard, lambda temporary: pq.write_table(table, temporary))

    def done(self) -> dict[int, set[str]]:
        """The ids of the recorded prompts, by seed."""
        found: dict[int, set[str]] = {}
        for table in self._shards():
            for seed in table["seed"].unique().to_pylist():
                rows = table.filter(pa.compute.equal(table["seed"], seed))
                found.setdefault(seed, set()).update(rows["prompt_id"].to_pylist())
        return found

    def read(self, ids: Sequence[str], seed: int) -> dict[str, Array]:
        """Every component at one seed, name to ``[N, n]`` in the order of ``ids``."""
        row = {prompt: i for i, prompt in enumerate(ids)}
        values: dict[str, Array] = {}
        for table in self._shards():
            frame = table.to_pandas()
            frame = frame[frame["seed"] == seed]
            for name, group in frame.groupby("component", observed=True):
                n = int(group["sample"].max()) + 1
                column = values.setdefault(str(name), np.full((len(ids), n), np.nan))
                at = group["prompt_id"].map(row).to_numpy()
                column[at, group["sample"].to_numpy()] = group["value"].to_numpy()
        return values

    def _shards(self) -> list[pa.Table]:
        return [pq.read_table(path) for path in sorted(self.folder.glob("*.parquet"))]
