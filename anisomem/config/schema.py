"""Which settings a case has, and of which type.

Their defaults are in ``conf/config.yaml``, and what values they may have is in ``values``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from anisomem.errors import UserError


@dataclass
class Paths:
    """Folders of this machine."""

    data: str | None = None


@dataclass
class ReferenceSettings:
    """Ordinary prompts outside the set."""

    prompts: str | None = None
    count: int = 50
    seed: int = 0


@dataclass
class BaselineSettings:
    """A second model, which some detectors compare the model with; the rest is as ``model``'s."""

    path: str | None = None
    revision: str | None = None
    variant: str | None = None
    adapters: list[str] = field(default_factory=list)
    expected_sha256: Any = None


@dataclass
class TrialSettings:
    """What ``anisomem mitigate`` samples."""

    memorized: int | None = None
    others: int | None = None
    seed: int = 0
    steps: int = 50
    guidance: float = 7.5
    sheet: int = 8


@dataclass
class ScanSettings:
    """How ``anisomem scan`` reads prompts and what it scores of them."""

    columns: dict[str, str | None] = field(default_factory=dict)
    split: str = "train"
    revision: str | None = None
    config: str | None = None
    ordinary: int | None = None
    seed: int = 0
    cheap: int = 4
    share: float = 0.05
    audit: int = 100
    shown: int = 500


#: The settings that hold settings of their own.
PARTS = {
    "baseline_model": BaselineSettings,
    "paths": Paths,
    "references": ReferenceSettings,
    "scan": ScanSettings,
    "trial": TrialSettings,
}


@dataclass
class Schema:
    """Every setting with its type; a name that is not here is refused."""

    model: dict[str, Any] = field(default_factory=dict)
    baseline_model: BaselineSettings = field(default_factory=BaselineSettings)
    dataset: dict[str, Any] = field(default_factory=dict)
    detector: dict[str, dict[str, Any]] = field(default_factory=dict)
    mitigation: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    strengths: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    measure: dict[str, dict[str, Any]] = field(default_factory=dict)
    trial: TrialSettings = field(default_factory=TrialSettings)
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    prompts: str | None = None
    calibration: str | None = None
    pictures: str | None = None
    fdr: float = 0.1
    scan: ScanSettings = field(default_factory=ScanSettings)
    logger: dict[str, Any] = field(default_factory=dict)
    cases: list[list[str]] = field(default_factory=list)
    limit: int | None = None
    limit_seed: int = 0
    seeds: list[int] = field(default_factory=list)
    noise_policy: str = "shared"
    batch_size: int | None = None
    fpr_targets: list[float] = field(default_factory=list)
    draws: int = 0
    bootstrap_seed: int = 0
    timing_repeats: int = 0
    gallery: int = 0
    workers: int | None = None
    devices: list[str] = field(default_factory=list)
    engine: str = "local"
    on_failure: str = "stop"
    tensors: list[str] = field(default_factory=list)
    weights: str = "pretrained"
    dry_run: bool = False
    runs: str = ""
    paths: Paths = field(default_factory=Paths)


@dataclass
class Config(Schema):
    """The settings of one case, resolved; ``"???"`` where a value is still to be given.

    Attributes:
        model_name: What tables call the model.
        model_listed: The name in ``conf/model`` of what its path names; "" for others.
        text: The settings as they were composed, in YAML; what they look up is not resolved, so
            that the text is the same on every machine.
    """

    model_name: str = ""
    model_listed: str = ""
    text: str = ""

    @property
    def stands_for(self) -> str | None:
        """The published model whose numbers apply to this one."""
        return self.model.get("stands_for")

    @property
    def network(self) -> tuple[str, str | None, str | None]:
        """Folder, file or repository of the model's network, its revision and weights' variant.

        Raises:
            UserError: It has none, as scores that were imported.
        """
        if not (path := self.model.get("path")):
            raise UserError(
                f"model {self.model_name} has no model.path, so there is no network to plan with; "
                "give model=diffusers_folder model.path=FOLDER"
            )
        return path, self.model.get("revision"), self.model.get("variant")

    @property
    def networks(self) -> list[tuple[str, str | None, str | None]]:
        """:attr:`network`, and that of the model which it is compared with, where one is."""
        other = self.baseline_model
        compared = [(other.path, other.revision, other.variant)] if other.path else []
        return [self.network, *compared]

    @property
    def composed(self) -> dict[str, Any]:
        """:attr:`text` as plain values."""
        return parsed(self.text)

    def with_detectors(self, nodes: Mapping[str, dict[str, Any]]) -> Self:
        """The same settings with other detectors."""
        text = OmegaConf.to_yaml(OmegaConf.create({**self.composed, "detector": dict(nodes)}))
        return replace(self, detector=dict(nodes), text=text)


def missing(node: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of the values that are still to be given, sorted."""
    names: list[str] = []
    for name, value in node.items():
        if isinstance(value, Mapping):
            names += missing(value, f"{prefix}{name}.")
        elif value == "???":
            names.append(f"{prefix}{name}")
    return sorted(names)


def parsed(text: str) -> dict[str, Any]:
    """Settings as they are written in YAML, nothing resolved.

    Raises:
        ValueError: It is no mapping, or none that settings can be.
    """
    try:
        settings = OmegaConf.to_container(OmegaConf.create(text))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(settings, dict) or not settings:
        raise ValueError("no settings")
    return {str(name): value for name, value in settings.items()}
