"""The files that a scan leaves: every row with its scores, tables, a figure, the page."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from anisomem.console.progress import phase
from anisomem.datasets import clusters
from anisomem.datasets.training_folder import shown
from anisomem.report.attempt import attempt
from anisomem.report.folder import Folder
from anisomem.scan import figures, leaks, page, tables
from anisomem.scan.found import Found
from anisomem.scan.leaks import Leaks
from anisomem.scan.notices import UNREAD
from anisomem.storage import atomic

SCAN, CALIBRATION = "scan.parquet", "calibration.parquet"
PAGE = "scan.html"
NEAREST, LEAKS, LOST = "nearest.parquet", "leaks.parquet", "unread_pictures.txt"
GROUP = 100_000  # rows that are written at a time
CLUSTERED = 100_000  # prompts that are compared with each other, which takes a minute

Clusters = npt.NDArray[np.int64]


def write(found: Found) -> None:
    """Writes all of them; what an earlier scan has left there and this one has not goes."""
    folder = found.scan.folder
    with phase("near-duplicates"):
        cluster = clusters_of(found)
    with Folder(folder, "scan") as written, phase("writing and drawing"):
        atomic.write(folder / SCAN, partial(_rows, found, cluster))
        atomic.write(folder / CALIBRATION, partial(_ordinary, found))
        written.add(folder / SCAN, folder / CALIBRATION)
        if found.scan.listed.unread:
            written.text(UNREAD, "".join(f"{line}\n" for line in found.scan.listed.unread))
        written.text("scan.md", markdown(found))
        drawn = written.figures({"histogram": partial(figures.histogram, found)})
        if leaked := leaks.read(found):
            atomic.write(folder / NEAREST, partial(_nearest, found, leaked))
            atomic.write(folder / LEAKS, partial(_leaks, found, leaked))
            written.add(folder / NEAREST, folder / LEAKS)
            if leaked.unread:
                written.text(LOST, "".join(f"{why}\n" for why in leaked.unread.values()))
        content = attempt(PAGE, partial(page.html, found, cluster, drawn.get("histogram")))
        if content is not None:
            written.text(PAGE, content)


def clusters_of(found: Found) -> Clusters:
    """The cluster of near duplicates of every distinct prompt, ``[N]``.

    Of more than :data:`CLUSTERED` prompts only the highest have one, flagged ones first; -1 stands
    for the others.
    """
    texts = found.scan.listed.texts
    rows = np.arange(len(texts)) if len(texts) <= CLUSTERED else np.sort(found.order[:CLUSTERED])
    of_all = np.full(len(texts), -1)
    of_all[rows] = clusters.near_duplicates([texts[i] for i in rows.tolist()])
    return of_all


def markdown(found: Found) -> str:
    """What is printed, as a file."""
    highest = tables.top(found, tables.SHOWN).section()
    return f"{tables.counts(found).section()}\n{highest}"


def _rows(found: Found, cluster: Clusters, file: Any) -> None:
    """Every row that was read, in order, as parquet."""
    listed, of_texts = found.scan.listed, distinct(found, cluster)
    schema = pa.schema([pa.field("id", pa.string()), *of_texts.schema])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for begin in range(0, len(listed.rows), GROUP):
            part = slice(begin, begin + GROUP)
            rows = of_texts.take(pa.array(listed.rows[part]))
            ids = pa.array(listed.ids[part], pa.string())
            writer.write_table(rows.add_column(0, schema.field("id"), ids))


def distinct(found: Found, cluster: Clusters) -> pa.Table:
    """Every distinct prompt with what was found of it, in order."""
    listed = found.scan.listed
    scores = {key: values[: found.count] for key, values in found.scores.values.items()}
    scores |= {one.detector: one.scores for one in found.confirmed}
    failure = pa.array([found.failures.get(i) for i in range(found.count)], pa.string())
    numbers = {
        "times": pa.array(listed.times, pa.int64()),
        **{key: _numbers(values) for key, values in scores.items()},
        "p": _numbers(found.p),
        "q": _numbers(found.q),
        "flagged": pa.array(found.flagged),
        "cluster": pa.array(cluster, pa.int64(), mask=cluster < 0),
        "failure": failure,
    }
    return pa.table({"prompt": pa.array(listed.texts, pa.string()), **numbers})


def _ordinary(found: Found, file: Any) -> None:
    pq.write_table(ordinary(found), file, compression="zstd")


def ordinary(found: Found) -> pa.Table:
    """The ordinary prompts with their scores, which p-values are computed from."""
    texts = found.scan.ordinary.texts
    columns: dict[str, Any] = {
        "id": [found.scan.id_of(found.count + i) for i in range(len(texts))],
        "prompt": pa.array(texts, pa.string()),
    }
    for key, values in found.scores.values.items():
        columns[key] = _numbers(values[found.count :])
    return pa.table(columns)


def _nearest(found: Found, leaked: Leaks, file: Any) -> None:
    """The training pictures nearest to each prompt's generated ones, nearest first."""
    texts, first = found.scan.listed.texts, tables.first_ids(found)
    places = [leaked.nearest_of(p) for p in range(len(leaked.rows))]
    names = leaked.folder.names
    captions = leaked.folder.captions([names[i] for i in {i for some in places for i in some}])
    rows = []
    for p, (prompt, some) in enumerate(zip(leaked.rows, places, strict=True)):
        for rank, i in enumerate(some, 1):
            caption = captions.get(names[i])
            rows.append(
                {
                    "id": first[prompt],
                    "prompt": texts[prompt],
                    "rank": rank,
                    "picture": shown(names[i]),
                    leaked.measure.quantity: float(leaked.distances[p, rank - 1]),
                    "generated": int(leaked.found.by[p, rank - 1]) + 1,
                    "caption": caption,
                    "own": leaks.same(caption, texts[prompt]) if caption else None,
                }
            )
    kinds = [("id", pa.string()), ("prompt", pa.string()), ("rank", pa.int64())]
    kinds += [("picture", pa.string()), (leaked.measure.quantity, pa.float64())]
    kinds += [("generated", pa.int64()), ("caption", pa.string()), ("own", pa.bool_())]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(kinds)), file, compression="zstd")


def _leaks(found: Found, leaked: Leaks, file: Any) -> None:
    """Every training picture, those that leak most first and those that cannot be read last."""
    texts, first, names = found.scan.listed.texts, tables.first_ids(found), leaked.folder.names
    order = [*leaked.order, *sorted(leaked.unread)]
    of = [leaks.prompt_of(leaked, i) for i in order]
    columns = {
        "picture": pa.array([shown(names[i]) for i in order], pa.string()),
        leaked.measure.quantity: _numbers(leaked.closest[order]),
        "id": pa.array([None if one is None else first[one[0]] for one in of], pa.string()),
        "prompt": pa.array([None if one is None else texts[one[0]] for one in of], pa.string()),
        "generated": pa.array([None if one is None else one[1] + 1 for one in of], pa.int64()),
        "times_nearest": pa.array(leaked.found.times[order], pa.int64()),
        "failure": pa.array([leaked.unread.get(i) for i in order], pa.string()),
    }
    pq.write_table(pa.table(columns), file, compression="zstd")


def _numbers(values: Any) -> pa.Array:
    """Numbers, null where there is none."""
    return pa.array(values, pa.float64(), mask=~np.isfinite(values))
