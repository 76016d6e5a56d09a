"""Makes runs and scans of a packet's rows, as data that may be a stranger's.

Nothing that a packet names is imported but this package's own detectors, whose options are checked
as a user's are. No place that it names is looked at: neither model nor prompt file is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import MEASURED, Results
from anisomem.config import catalog, compose, own
from anisomem.config.schema import Config
from anisomem.datasets import kept
from anisomem.datasets.prompts import PromptSet
from anisomem.datasets.unlabelled import Unlabelled
from anisomem.detection.base import Detector
from anisomem.detection.configured import detectors
from anisomem.errors import UserError
from anisomem.evidence import bounds, stated
from anisomem.evidence.rows import COMPONENTS, ORDINARY
from anisomem.evidence.stated import Stated
from anisomem.run import identity, stored
from anisomem.run.base import CONFIG, PROMPTS
from anisomem.scan.found import Found
from anisomem.scan.notices import UNREAD
from anisomem.scan.scan import Kept, Scan, Stage
from anisomem.scan.sources import Calibration
from anisomem.storage import atomic, digests
from anisomem.storage.store import IDENTITY, KEY, ScoreStore

MOST_DRAWN = 2**32  # prompts in all draws of the bootstrap
#: What a packet's settings may look up; all else that a run's do is left out of them.
LOOKED_UP = re.compile(
    rf"\$\{{(testbed:({'|'.join(catalog.PLACES)})|weights|oc\.env:ANISOMEM_DATA,null)\}}"
)
OURS = ("anisomem.baselines.", "anisomem.detection.anisotropy")  # where detectors stand
FOREIGN = ("dataset", "mitigation", "measure", "logger", "strengths")  # settings that are not read

Clusters = npt.NDArray[np.int64]


def of_run(folder: Path, redacted: bool) -> Results:
    """A packet's run.

    Arguments:
        folder: Where its files lie.
        redacted: Whether its prompts are hidden.

    Raises:
        UserError: A file is damaged, or not of the same run as the others.
    """
    config, nodes = _settings(folder)
    for name in (PROMPTS, MEASURED):
        if (folder / name).exists():
            bounds.require_sound(folder / name)
    prompts, store = kept.read(folder / PROMPTS), _store(folder / COMPONENTS)
    given = _stated(folder / stated.FILE, config)
    case = _Packed(config, folder, prompts, store, _configured(folder, nodes, given, redacted))
    _require_named(folder, case.content)
    _require_same_settings(folder / CONFIG, config, case.content)
    case.require_recorded(PROMPTS)
    _require_rows(case.store, case.ids, case.config)
    if config.draws * len(prompts) > MOST_DRAWN:
        raise UserError(f"{folder / CONFIG}: draws={config.draws:,} are more than a packet's")
    results = Results(case)
    results.require_finished()
    stated.require_shape(given, len(results.prompts), folder / stated.FILE)
    return results


class _Packed(Case):
    """A case as a packet has it."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        prompts: PromptSet,
        store: ScoreStore,
        configured: list[Detector],
    ) -> None:
        self.configured = configured
        references = store.content.get("references", [])
        if not isinstance(references, list):
            raise bounds.broken(store.folder)
        super().__init__(config, folder.parent.name, references, prompts, store)


class _PackedScan(Scan):
    """A scan as a packet has it: of a stage that confirms there is one store."""

    def second(self, rows: Sequence[int]) -> Stage | None:
        if not self.costly:
            return None
        folders = sorted(self.folder.glob("confirmed-*"))
        if len(folders) != 1:
            raise UserError(f"{self.folder} has {len(folders)} stores of detectors that confirm")
        content = _store(folders[0]).content
        expected = {**self.content, "components": content.get("components")}
        if differ := digests.differences(expected, content):
            raise UserError(f"{folders[0]} is of another scan, which differs in {differ[0]}")
        return Stage(self, self.config.with_detectors(self.costly), folders[0], rows)


def of_scan(folder: Path, redacted: bool) -> tuple[Found, Clusters | None]:
    """A packet's scan, and its clusters where its prompts are hidden; as :func:`of_run`."""
    config, nodes = _settings(folder)
    if named := of_ones_own(config.model, nodes):
        raise UserError(f"{folder}: a scan's packet has no {named}")
    listed, cluster = _listed(folder, redacted)
    rows = bounds.table(folder / ORDINARY, {"prompt": pa.string()})
    source = bounds.said(rows, "source", folder / ORDINARY)
    texts = rows["prompt"].to_pylist()
    store = _store(folder / COMPONENTS)
    measured = folder / MEASURED
    bounds.require_sound(measured)
    scan = _PackedScan(
        config,
        folder.parent.name,
        kept=Kept(listed, Calibration(source, texts, 0, 0, ()), store),
    )
    _require_named(folder, scan.content)
    _require_same_settings(folder / CONFIG, config, scan.content)
    _require_rows(scan.first.store, scan.first.ids, config)
    found = Found(scan)
    if second := found.second:
        _require_rows(second.store, second.ids, config)
    if found.failures and config.on_failure != "keep":
        raise UserError(f"{folder}: prompts failed, which its settings do not allow")
    return found, cluster


def _listed(folder: Path, redacted: bool) -> tuple[Unlabelled, Clusters | None]:
    kinds = {"id": pa.string(), "prompt": pa.string()}
    kinds |= {"cluster": pa.int64()} if redacted else {}
    rows = bounds.table(folder / PROMPTS, kinds, optional={"cluster"})
    encoded = rows["prompt"].combine_chunks().dictionary_encode()
    places = np.asarray(encoded.indices.to_numpy(), np.int64)
    texts = encoded.dictionary.to_pylist()
    unread = folder / UNREAD
    lines = atomic.read_bytes(unread).decode(errors="replace") if unread.exists() else ""
    name = bounds.said(rows, "name", folder / PROMPTS)
    cluster = None
    if redacted:
        cluster = np.full(len(texts), -1)
        cluster[places] = rows["cluster"].fill_null(-1).to_numpy()
    return Unlabelled(name, rows["id"].to_pylist(), places, texts, lines.splitlines()), cluster


def _settings(folder: Path) -> tuple[Config, Mapping[str, Any]]:
    """The settings of a run, and its detectors' as they are written.

    Raises:
        UserError: They are damaged, or look up or name what those of a run do not.
    """
    file = folder / CONFIG
    plain = stored.plain(file)
    plain = {name: value for name, value in plain.items() if name not in FOREIGN}
    for text in stored.texts(plain):
        if "${" in LOOKED_UP.sub("", text) or text.count("${") > 1:
            raise UserError(f"{file} holds {text[:200]!r}, which no packet looks up")
    nodes = plain.get("detector")
    if not isinstance(plain.get("model"), dict) or not isinstance(nodes, dict):
        raise bounds.broken(file)
    try:
        return compose.completed(plain), nodes
    except (ValueError, TypeError, KeyError, AttributeError):
        raise bounds.broken(file) from None


def of_ones_own(model: Mapping[str, Any], nodes: Mapping[str, Any]) -> str | None:
    """What of a scan is not this package's, in words: a detector or the model; None of nothing."""
    if unknown := unknown_detectors(nodes):
        return f"detector of one's own, {unknown[0]!r}"
    target = str(model.get("_target_"))
    return f"model of one's own, {target!r}" if own.is_own(target) else None


def unknown_detectors(nodes: Mapping[str, Any]) -> list[str]:
    """The names of the detectors that are not this package's, or hold one that is not."""
    return [name for name in nodes if not _is_known(nodes, name)]


def _is_known(nodes: Mapping[str, Any], name: str, holder: str | None = None) -> bool:
    """Whether a detector, and what it holds, are this package's, and nothing else is named."""
    if name not in nodes:
        return name in catalog.names("detector")
    node = nodes[name]
    if not isinstance(node, Mapping) or name == holder:
        return False
    target = node.get("_target_")
    named = list(own.targets(dict(node)))
    if named != [target] or not _is_ours(str(target)):
        return False
    if any(key.startswith("_") and key != "_target_" for key in stored.keys(dict(node))):
        return False
    held = node.get("members") or []
    return isinstance(held, list) and all(
        isinstance(one, str)
        and "members" not in nodes.get(one, {})
        and _is_known(nodes, one, name)
        for one in held
    )


def _is_ours(target: str) -> bool:
    """Whether a dotted name is of a detector of this package."""
    module, _, name = target.rpartition(".")
    if not module.startswith(OURS):
        return False
    try:
        made = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(made, type) and issubclass(made, Detector) and not name.startswith("_")


def _configured(
    folder: Path, nodes: Mapping[str, Any], given: Sequence[Stated], redacted: bool
) -> list[Detector]:
    """The detectors of a run, those that nobody can compute as they are stated.

    Raises:
        UserError: Scores are stated that can be computed, or are not that cannot.
    """
    unknown = unknown_detectors(nodes)
    chosen: dict[str, list[Detector]] = {name: [] for name in nodes}
    for one in detectors({name: node for name, node in nodes.items() if name not in unknown}):
        chosen[one.name].append(one)
    hidden = [
        name for name, some in chosen.items() if redacted and any(d.uses_texts for d in some)
    ]
    wanted = [name for name in nodes if name in {*unknown, *hidden}]
    if list(dict.fromkeys(one.name for one in given)) != wanted:
        raise UserError(
            f"{folder / stated.FILE} must state the scores of {', '.join(wanted) or 'nothing'} "
            "alone, since the others can be computed"
        )
    for name in wanted:
        some = [one for one in given if one.name == name]
        if name in hidden and [d.key for d in chosen[name]] != [d.key for d in some]:
            raise UserError(f"{folder / stated.FILE} states other rows of {name} than were asked")
        chosen[name] = list(some)
    return [one for some in chosen.values() for one in some]


def _stated(file: Path, config: Config) -> list[Stated]:
    if not file.exists():
        return []
    bounds.require_sound(file)
    try:
        return stated.read(json.loads(atomic.read_bytes(file)), config.seeds)
    except (ValueError, TypeError, RecursionError):
        raise bounds.broken(file) from None


def _store(folder: Path) -> ScoreStore:
    """A store, whose shard is what its name says.

    Raises:
        UserError: It is not, or there are several.
    """
    if (described := folder / IDENTITY).is_file():
        bounds.require_sound(described)
    store = ScoreStore.stored(folder)
    shards = sorted(folder.glob("*.parquet"))
    if len(shards) > 1:
        raise UserError(f"{folder} has {len(shards)} files of rows, and pack writes one")
    for file in shards:
        bounds.require_sound(file)
        if sha256(file.read_bytes()).hexdigest() != file.stem:
            raise UserError(f"{file} is not what its name says")
    return store


def _require_rows(store: ScoreStore, ids: Sequence[str], config: Config) -> None:
    """Checks that a store has the rows of its entries, each once, and no others.

    Raises:
        UserError: It lacks one, or has one more.
    """
    samples = store.content.get("components", {})
    if not samples:
        return
    rows = store.rows()
    expected = len(ids) * len(config.seeds) * max(samples.values())
    held = rows.num_rows if rows else 0
    stored_rows = sum(pq.read_metadata(file).num_rows for file in store.files[1:])
    known = rows is not None and bool(
        pc.all(pc.is_in(rows["prompt_id"], pa.array(list(ids), pa.string()))).as_py()
    )
    if not (held == stored_rows == expected and known) or not _counted(rows, config, samples):
        raise UserError(
            f"{store.folder} has {stored_rows:,} rows, and its prompts, seeds and noise samples "
            f"are {expected:,}; or they are of others"
        )


def _counted(rows: pa.Table, config: Config, samples: Mapping[str, int]) -> bool:
    """Whether rows, each once, have the seeds and samples that they should have."""
    seeds = pc.all(pc.is_in(rows["seed"], pa.array(config.seeds, pa.int64()))).as_py()
    most = max(samples.values())
    inside = pc.and_(pc.greater_equal(rows["sample"], 0), pc.less(rows["sample"], most))
    whole = (
        rows.num_columns
        and set(samples) <= set(rows.column_names)
        and set(KEY) <= {*rows.column_names}
    )
    return bool(seeds and pc.all(inside).as_py() and whole)


def _require_named(folder: Path, content: Mapping[str, Any]) -> None:
    """Checks that a folder is called by what it holds.

    Raises:
        UserError: It is not.
    """
    if folder.name.rpartition("-")[2] != digests.digest(content)[:10]:
        raise UserError(
            f"{folder} is called by another identity than {digests.digest(content)}, which its "
            "rows have"
        )


def _require_same_settings(file: Path, config: Config, content: Mapping[str, Any]) -> None:
    """Checks that settings are those that a run's identity is made of.

    What lay at the model's place, and in its adapters, is in the identity by its content, and
    cannot be compared.

    Raises:
        UserError: One is another.
    """
    described, model = identity.of_settings(config), dict(content.get("model", {}))
    for place in ("path", "trajectories", "adapters"):
        described["model"].pop(place, None)
        model.pop(place, None)
    stored_as = {name: content.get(name) for name in described} | {"model": model}
    if differ := digests.differences(described, stored_as):
        raise UserError(f"{file} says another {differ[0]} than the identity beside it")
