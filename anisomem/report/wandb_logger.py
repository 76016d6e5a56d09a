"""Weights & Biases gets a finished run once, as a whole.

It only mirrors what ``report`` has written; nothing is read back from there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import wandb

from anisomem.benchmark.results import Results, rows_of
from anisomem.errors import UserError, one_of
from anisomem.report import tables
from anisomem.report.card import card

MODES = ("online", "offline")
LONGEST = 100  # characters of a set's name in an artifact's, which has at most 128


@dataclass
class WandbLogger:
    """Logs an experiment to a project; logged again, it replaces what was there.

    Arguments:
        project, entity: Where it goes.
        mode: ``online``, or ``offline`` into the run's folder for ``wandb sync``.

    Raises:
        UserError: An unknown mode, or no key for ``online``: at once, before anything is recorded.
    """

    project: str
    entity: str | None
    mode: Literal["online", "offline"]

    def __post_init__(self) -> None:
        one_of("logger.mode", self.mode, MODES)
        try:
            known = self.mode == "offline" or wandb.login()
        except wandb.errors.Error:
            known = False
        if not known:
            raise UserError(
                "logger=wandb has no key: run `wandb login`, set WANDB_API_KEY, or use "
                "logger=wandb logger.mode=offline"
            )

    def log(
        self, all_results: Sequence[Results], folder: Path, drawn: Mapping[str, Mapping[str, Path]]
    ) -> None:
        """Sends settings, final metrics, the table, figures and components.

        Arguments:
            all_results: The results of what was run.
            folder: The experiment's folder, which holds the report.
            drawn: Figures by case and name.
        """
        rows = tables.records(rows_of(all_results))
        table = wandb.Table(list(rows[0]), [list(row.values()) for row in rows])
        figures = {
            f"{case}/{name}": wandb.Image(str(path))
            for case, figures in drawn.items()
            for name, path in figures.items()
        }
        identities = "".join([folder.name, *(results.case.identity for results in all_results)])
        with wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            name=folder.name,
            id=sha256(identities.encode()).hexdigest()[:16],
            resume="allow",
            dir=folder,
            config={results.name: card(results) for results in all_results},
            settings=wandb.Settings(silent=True, disable_git=True, console="off"),
        ) as run:
            run.summary.update(_metrics(rows))
            run.log({"table": table, **figures})
            for results in all_results:
                name = f"{artifact_name(results.name)}-{results.case.identity[:10]}"
                artifact = wandb.Artifact(name, "components")
                for file in results.case.store.files:
                    artifact.add_file(str(file))
                run.log_artifact(artifact)


def artifact_name(text: str) -> str:
    """A text as the name of an artifact, which has ASCII letters, digits, and ``-_.`` only."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[:LONGEST]


def _metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``prompts/detector/n=1/auc`` and the like, unrounded; what is not resolvable is left out."""
    keys = ("prompts", "detector", "n")
    return {
        f"{row['prompts']}/{row['detector']}/n={row['n']}/{name}": value
        for row in rows
        for name, value in row.items()
        if name not in keys and value is not None
    }
