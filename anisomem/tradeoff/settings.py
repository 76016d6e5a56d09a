"""Every mitigation of a run at every strength that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from anisomem import catalog
from anisomem import config as configuration
from anisomem.errors import UserError, unknown
from anisomem.storage import identity

if TYPE_CHECKING:  # a mitigation imports torch
    from anisomem.mitigation.base import Mitigation

PLAIN = "none"  # what all others are compared with


@dataclass(frozen=True)
class Setting:
    """One mitigation at one strength.

    Attributes:
        name: Of the mitigation.
        node: Its settings.
        strength: The setting that is varied and its value, as text; "" where nothing is.
        ordinary: The prompts that its threshold comes from, none where it has none.
        sources: Digests of code of the user's, see :func:`anisomem.own.sources`.
    """

    name: str
    node: Mapping[str, Any] = field(hash=False)
    strength: str = ""
    ordinary: Sequence[str] = ()
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """As in a table."""
        return f"{self.name}, {self.strength}" if self.strength else self.name

    @property
    def key(self) -> str:
        """Under which its pictures and numbers are kept: all that changes them, not its name."""
        ordinary = {"ordinary": list(self.ordinary)} if self.ordinary else {}
        sources = {"sources": dict(self.sources)} if self.sources else {}
        return identity.digest({**self.node, **ordinary, **sources})[:12]

    def build(self) -> Mitigation:
        """The mitigation.

        Raises:
            UserError: Settings that it refuses.
        """
        node = DictConfig(dict(self.node))
        found: Mitigation = configuration.build(node, f"mitigation.{self.name}", name=self.name)
        return found


def expanded(config: DictConfig) -> list[Setting]:
    """Without a mitigation first, then each that is chosen, with its strengths in their order.

    Raises:
        UserError: Strengths of a mitigation or of a setting that are not there, or not a list of
            distinct values.
    """
    nodes = {
        str(name): cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
        for name, node in config.mitigation.items()
    }
    found = [Setting(PLAIN, configuration.node("mitigation", PLAIN))]
    for name, varied in config.strengths.items():
        if name not in nodes and name not in (known := catalog.names("mitigation")):
            raise unknown("mitigation in strengths", str(name), {*known, *nodes})
        if name in nodes and len(varied) != 1:
            raise UserError(f"strengths.{name} varies one setting, got {', '.join(varied) or '–'}")
    for name, node in nodes.items():
        if name == PLAIN:
            continue
        varied = config.strengths.get(name)
        if not varied:
            found.append(Setting(name, node))
            continue
        ((parameter, values),) = varied.items()
        if parameter not in node:
            raise unknown(f"setting in strengths.{name}", str(parameter), list(node)[1:])
        texts = [_text(value) for value in values]
        if not texts or len(set(texts)) < len(texts):
            raise UserError(f"strengths.{name}.{parameter} must be distinct values, got {texts}")
        plain = OmegaConf.to_container(values) if OmegaConf.is_list(values) else values
        found += [
            Setting(name, {**node, str(parameter): value}, f"{parameter} {text}")
            for value, text in zip(cast(Sequence[Any], plain), texts, strict=True)
        ]
    return found


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
