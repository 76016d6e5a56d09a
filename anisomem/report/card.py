"""The card of a case: what stands beside its table for whoever has to trust it.

The table is in ``tables``. The card is also the configuration that Weights & Biases gets.
"""

import re
from dataclasses import asdict
from typing import Any

from anisomem.benchmark.results import Results
from anisomem.report import published
from anisomem.run import identity
from anisomem.storage.store import ORIGIN, SECONDS

SCHEMA = 1  # raised when a field changes its meaning


def card(results: Results) -> dict[str, Any]:
    """How the numbers came about: settings, identity, prompts, machine, software, cost."""
    counts = {
        "name": results.case.prompts.name,
        "planned": len(results.case.prompts),
        "references": len(results.case.references),
        "done": len(results.prompts),
        "failed": results.failures,
        "sha256": results.case.content["prompts"],
        "labels_sha256": identity.of_labels(results.case.prompts),
        "memorized": int((results.prompts.labels == 1).sum()),
        "not_memorized": int((results.prompts.labels == 0).sum()),
    }
    work = None
    if results.case.samples:
        work = {
            "process_seconds": float(results.frame[SECONDS].sum()),
            **{name: results.frame[name].dropna().unique().tolist() for name in ORIGIN},
        }
    return {
        "schema": SCHEMA,
        "name": results.name,
        "identity": results.case.identity,
        "model": _model(results),
        # Unresolved: where the bundled models lie on one machine concerns nobody.
        "settings": results.config.composed,
        "gamma": {row.key: asdict(row.gamma) for row in results.table if row.gamma},
        "published": published.records(results),
        "prompts": counts,
        "recording": work,
        **results.measured.content,
    }


def _model(results: Results) -> dict[str, Any]:
    """Which weights: by name, the hub's commit or the sha256 of a local folder, and their own."""
    measured = results.measured.provenance
    place = str(results.case.content["model"].get("path", ""))
    return {
        "name": results.model,
        "repository": measured.get("repository"),
        "revision": measured.get("revision"),
        "sha256": place if re.fullmatch("[0-9a-f]{64}", place) else None,
        "weights": measured.get("weights"),
        **{name: measured[name] for name in ("adapters",) if name in measured},
        "baseline": measured.get("baseline_model"),
    }
