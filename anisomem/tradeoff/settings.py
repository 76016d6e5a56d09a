"""Every mitigation of a run at every strength that is asked for.

The mitigations' classes are :mod:`anisomem.mitigation`; what is sampled with them is a ``trial``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anisomem.config import catalog, members
from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.errors import UserError, unknown
from anisomem.run.identity import by_class_name
from anisomem.storage import digests

if TYPE_CHECKING:  # a mitigation imports torch
    from anisomem.measures.base import Measure
    from anisomem.mitigation.base import Mitigation

PLAIN = "none"  # what all others are compared with


@dataclass(frozen=True)
class Setting:
    """One mitigation at one strength.

    Attributes:
        name: The name of the mitigation.
        node: The mitigation's settings.
        strength: The setting that is varied and its value, as text; "" where nothing is.
        ordinary: The prompts that its threshold comes from, none where it has none.
        sources: Digests of code of the user's, see :func:`anisomem.config.own.sources`.
    """

    name: str
    node: Mapping[str, Any] = field(hash=False)
    strength: str = ""
    ordinary: Sequence[str] = ()
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """The setting's name in a table."""
        return f"{self.name}, {self.strength}" if self.strength else self.name

    @property
    def key(self) -> str:
        """The name that its pictures and numbers are kept under: all that changes them."""
        ordinary = {"ordinary": list(self.ordinary)} if self.ordinary else {}
        sources = {"sources": dict(self.sources)} if self.sources else {}
        return digests.digest({**by_class_name(self.node), **ordinary, **sources})[:12]

    def build(self) -> Mitigation:
        """Builds the mitigation that these settings describe.

        Raises:
            UserError: Settings that it refuses.
        """
        mitigation: Mitigation = build(self.node, f"mitigation.{self.name}", name=self.name)
        return mitigation


def mitigations(config: Config) -> list[Mitigation]:
    """Every mitigation that is chosen.

    Raises:
        UserError: A mitigation cannot be built.
    """
    return [
        build(node, f"mitigation.{name}", name=name) for name, node in config.mitigation.items()
    ]


def measures(config: Config) -> list[Measure]:
    """Every measure that is chosen.

    Raises:
        UserError: A measure cannot be built.
    """
    return [build(node, f"measure.{name}", name=name) for name, node in config.measure.items()]


def expanded(config: Config) -> list[Setting]:
    """Lists sampling without a mitigation, then each chosen one at its strengths in their order.

    Raises:
        UserError: Strengths of a mitigation or of a setting that are not there, or not a list of
            distinct values.
    """
    nodes = config.mitigation
    settings = [Setting(PLAIN, members.node("mitigation", PLAIN))]
    for name, varied in config.strengths.items():
        if name not in nodes and name not in (known := catalog.names("mitigation")):
            raise unknown("mitigation in strengths", str(name), {*known, *nodes})
        if name in nodes and len(varied) != 1:
            raise UserError(f"strengths.{name} varies one setting, got {', '.join(varied) or '–'}")
    for name, node in nodes.items():
        if name == PLAIN:
            continue
        if not config.strengths.get(name):
            settings.append(Setting(name, node))
            continue
        ((parameter, values),) = config.strengths[name].items()
        if parameter not in node:
            raise unknown(f"setting in strengths.{name}", str(parameter), list(node)[1:])
        texts = [_text(value) for value in values]
        if not texts or len(set(texts)) < len(texts):
            raise UserError(f"strengths.{name}.{parameter} must be distinct values, got {texts}")
        settings += [
            Setting(name, {**node, str(parameter): value}, f"{parameter} {text}")
            for value, text in zip(values, texts, strict=True)
        ]
    return settings


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
