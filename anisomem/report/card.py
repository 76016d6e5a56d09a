"""The card of a case: what stands beside its table for whoever has to trust it."""

import re
from typing import Any

from omegaconf import OmegaConf

from anisomem.benchmark.case import Case
from anisomem.storage import identity
from anisomem.storage.store import ORIGIN, SECONDS

SCHEMA = 1  # raised when a field changes its meaning


def card(case: Case) -> dict[str, Any]:
    """How the numbers came about: settings, identity, prompts, machine, software, cost."""
    counts = {
        "planned": len(case.planned),
        "references": len(case.references),
        "done": len(case.prompts),
        "failed": case.failures,
        "sha256": case.store.content["prompts"],
        "labels_sha256": identity.of_labels(case.planned),
        "memorized": int((case.prompts.labels == 1).sum()),
        "not_memorized": int((case.prompts.labels == 0).sum()),
    }
    work = None
    if case.samples:
        work = {
            "process_seconds": float(case.frame[SECONDS].sum()),
            **{name: case.frame[name].dropna().unique().tolist() for name in ORIGIN},
        }
    return {
        "schema": SCHEMA,
        "name": case.name,
        "identity": case.identity,
        "model": _model(case),
        # Unresolved: where the bundled models lie on one machine concerns nobody.
        "settings": OmegaConf.to_container(case.config),
        "prompts": counts,
        "recording": work,
        **case.measured(),
    }


def _model(case: Case) -> dict[str, Any]:
    """Which weights: by name, and by the hub's commit or the sha256 of a local folder."""
    measured = case.measured()
    place = str(case.store.content["model"].get("path", ""))
    return {
        "name": case.model,
        "repository": measured.get("repository"),
        "revision": measured.get("revision"),
        "sha256": place if re.fullmatch("[0-9a-f]{64}", place) else None,
    }
