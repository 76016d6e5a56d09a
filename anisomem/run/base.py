"""A run: one model on one prompt set, as it is asked for, and the folder that keeps it.

Its children are ``Case`` in ``benchmark``, ``Trial`` in ``tradeoff``, ``Recording`` in
``geometry`` and ``Scan`` in ``scan``; what makes two runs the same is in ``identity``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from anisomem.config import own
from anisomem.config.schema import Config
from anisomem.datasets.prompts import Prompts
from anisomem.models import adapters
from anisomem.run import identity
from anisomem.storage import atomic, digests
from anisomem.storage.foreign import located

CONFIG = "config.yaml"  # the settings, in a run's folder
PROMPTS = "prompts.parquet"  # the prompt set, which may have moved since


P = TypeVar("P", bound=Prompts)


class Run(Generic[P]):
    """One model on one prompt set.

    Arguments:
        config: The settings of the run.
        experiment: The folder below ``config.runs`` that it lies in.
        prompts: What it is asked about.
        content: What its identity is made of, see :mod:`anisomem.run.identity`.
        folder: Where it is kept already, and is only read from; neither its model nor code of the
            user's is looked at then.

    Attributes:
        name: The name in tables and file names; that of the prompt set, unless told otherwise.
        model: The model's name in tables.
        state: What every process of the run must find alike, see :func:`state_of_model`.
        identity: Digest of ``content``.
        folder: Where it is kept.
    """

    def __init__(
        self,
        config: Config,
        experiment: str,
        prompts: P,
        content: Mapping[str, Any],
        folder: Path | None = None,
    ) -> None:
        self.config, self.prompts, self.content = config, prompts, content
        self.name, self.model = prompts.name, config.model_name
        self.state = {} if folder else state_of_model(config)
        self.identity = digests.digest(content)
        usual = Path(config.runs) / experiment / f"{self.name}-{self.identity[:10]}"
        self.folder = folder or usual

    @property
    def title(self) -> str:
        """What figures are headed with."""
        return f"{self.model} on {self.name}"

    @property
    def earlier_folder(self) -> Path | None:
        """Where version 2 has kept the same run; None where nothing lies there."""
        content = identity.as_version_2(self.content, str(self.config.model.get("_target_")))
        folder = self.folder.with_name(f"{self.prompts.name}-{digests.digest(content)[:10]}")
        return folder if folder.is_dir() and not os.path.lexists(self.folder) else None

    def keep_settings(self) -> None:
        """Writes the settings into the folder."""
        atomic.write_text(self.folder / CONFIG, self.config.text)


def state_of_model(config: Config, by_content: bool = False) -> dict[str, str]:
    """What every process of a run must find alike: the user's code, and a local model's files.

    A model of the hub, or one that is made by code alone, has no files here.

    Arguments:
        config: The settings of the run.
        by_content: Whether files are read, which takes seconds, else their sizes and times count.

    Raises:
        UserError: The model's place is none, or holds too many files.
    """
    baseline = config.baseline_model
    paths = {"files": config.model.get("path"), "baseline files": baseline.path}
    for name, given in (("", config.model.get("adapters")), ("baseline ", baseline.adapters)):
        for i, adapter in enumerate(adapters.parsed(given)):
            paths[f"{name}adapter {i}"] = str(adapter.file)
    files = {}
    for name, path in paths.items():
        if place := located(path):
            whole = digests.fingerprint if place.is_dir() else digests.sha256_of_file
            files[name] = (whole if by_content else digests.stamp)(place)
    return sources_of_model(config) | files


def sources_of_model(config: Config) -> dict[str, str]:
    """Digests of the user's code that makes the model, see :func:`anisomem.config.own.sources`."""
    return own.sources([], [str(config.model.get("_target_"))])
