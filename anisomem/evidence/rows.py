"""Copies what was recorded of a finished run or scan, and nothing else, into a packet's folder.

A copy has the rows of its own prompts in one shard, and no path, picture or text more than tables
and pages are made of.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from anisomem.benchmark import gallery
from anisomem.benchmark.measured import Measured
from anisomem.benchmark.results import MEASURED, Results
from anisomem.config.schema import Config
from anisomem.datasets import kept
from anisomem.datasets.prompts import Prompts
from anisomem.errors import UserError
from anisomem.evidence import redaction, stated
from anisomem.run import identity
from anisomem.run.base import CONFIG, PROMPTS
from anisomem.scan import pictures
from anisomem.scan.found import Found
from anisomem.scan.notices import UNREAD
from anisomem.scan.scan import Stage
from anisomem.scan.stored import table
from anisomem.scan.tables import source_of
from anisomem.scan.written import SCAN
from anisomem.storage import atomic, digests
from anisomem.storage.store import ScoreStore

RUNS, SCANS = "runs", "scans"  # folders of a packet
COMPONENTS, ORDINARY = "components", "ordinary.parquet"
GALLERY = "gallery.npz"
SAID = b"anisomem"  # in the metadata of a scan's files: what their rows do not say
HIDDEN_ROW = "a row that could not be read"


def of_run(results: Results, packet: Path, salt: str | None, unknown: Collection[str]) -> None:
    """Copies a run.

    Arguments:
        results: Of a finished one.
        packet: The packet's folder.
        salt: What prompts are hidden with; None where they are shown.
        unknown: Names of the detectors whose scores are stated.
    """
    case = results.case
    content, prompts = dict(case.content), case.prompts
    if salt is not None:
        prompts = redaction.hidden_set(prompts, salt)
        content["prompts"] = identity.describe_prompts(prompts)
        if case.references:
            content["references"] = redaction.hidden_all(case.references, salt)
    place = packet / RUNS / f"{prompts.name}-{digests.digest(content)[:10]}"
    _settings(case.config, place)
    kept.write(prompts, place / PROMPTS)
    if results.measured.content:
        results.measured.write(place / MEASURED)
    references = case.ids[len(case.prompts) :]
    names = dict(zip([*case.prompts.ids, *references], [*prompts.ids, *references], strict=True))
    _store(case.store, content, place / COMPONENTS, names, case.config.seeds)
    chosen = [d for d in results.configured if d.name in unknown]
    if chosen:
        said = {"detectors": [stated.described(results, detector) for detector in chosen]}
        atomic.write_text(place / stated.FILE, json.dumps(said) + "\n")
    if salt is None and gallery.read(results):
        shutil.copyfile(results.folder / GALLERY, place / GALLERY)


def of_scan(found: Found, packet: Path, salt: str | None) -> None:
    """Copies a scan; arguments as of :func:`of_run`."""
    scan = found.scan
    content, listed, ordinary = dict(scan.first.store.content), scan.listed, scan.ordinary.texts
    texts, ids, unread = list(listed.texts), list(listed.ids), list(listed.unread)
    if salt is not None:
        texts, ids = redaction.hidden_all(texts, salt), redaction.hidden_all(ids, salt)
        ordinary = redaction.hidden_all(ordinary, salt)
        unread = [HIDDEN_ROW] * len(unread)
        places = [scan.id_of(row) for row in range(scan.size)]
        content["prompts"] = identity.describe_prompts(
            Prompts("prompts", places[: len(texts)], texts)
        )
        content["calibration"] = identity.describe_prompts(
            Prompts("calibration", places[len(texts) :], ordinary)
        )
    place = packet / SCANS / f"{listed.name}-{digests.digest(content)[:10]}"
    _settings(scan.config, place)
    Measured.read(scan.folder / MEASURED).write(place / MEASURED)
    for stage, name in _stages(found):
        own = {**content, "components": dict(stage.samples)}
        names = {key: key for key in stage.ids}
        _store(stage.store, own, place / name, names, scan.config.seeds)
    if unread:
        atomic.write_text(place / UNREAD, "".join(f"{line}\n" for line in unread))
    rows = {"id": pa.array(ids), "prompt": pa.array([texts[i] for i in listed.rows.tolist()])}
    if salt is not None:  # the texts would tell them
        rows["cluster"] = table(scan.folder / SCAN)["cluster"]
    _write_table(pa.table(rows), place / PROMPTS, {"name": listed.name})
    source = {"source": source_of(found)}
    _write_table(pa.table({"prompt": pa.array(ordinary)}), place / ORDINARY, source)
    if salt is None and pictures.read(found):
        shutil.copyfile(scan.folder / pictures.FILE, place / pictures.FILE)


def _stages(found: Found) -> Sequence[tuple[Stage, str]]:
    first = (found.scan.first, COMPONENTS)
    return [first, (found.second, found.second.store.folder.name)] if found.second else [first]


def _write_table(rows: pa.Table, file: Path, said: Mapping[str, str]) -> None:
    named = rows.replace_schema_metadata({SAID: json.dumps(said).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(named, sink, compression="zstd", write_page_checksum=True)
    atomic.write_bytes(file, sink.getvalue().to_pybytes())


def _settings(config: Config, place: Path) -> None:
    """Writes settings, without the prompts whose tensors the run has kept."""
    text = config.text
    if config.tensors:
        text = OmegaConf.to_yaml(OmegaConf.create({**config.composed, "tensors": []}))
    atomic.write_text(place / CONFIG, text)


def _store(
    store: ScoreStore,
    content: Mapping[str, Any],
    folder: Path,
    names: Mapping[str, str],
    seeds: Sequence[int],
) -> None:
    """Copies the rows of some entries, under other names.

    Raises:
        UserError: An entry is called as another one is now, which no set of prompts does.
    """
    if len(set(names.values())) < len(names):
        raise UserError(f"{store.folder}: two prompts have one id once they are hidden")
    copy = ScoreStore(folder, content)
    copy.start()
    rows = store.rows()
    if rows is None:
        return
    known = pa.array(list(names), pa.string())
    wanted = pc.is_in(rows["prompt_id"], known)
    rows = rows.filter(pc.and_(wanted, pc.is_in(rows["seed"], pa.array(seeds, pa.int64()))))
    renamed = pa.array([names[key] for key in rows["prompt_id"].to_pylist()], pa.string())
    at = rows.column_names.index("prompt_id")
    copy.add(rows.set_column(at, "prompt_id", renamed).combine_chunks())
