"""The detectors that settings describe.

Which detectors there are is :mod:`anisomem.config.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anisomem.config import compose, registry, values
from anisomem.config.build import build
from anisomem.config.schema import Config
from anisomem.detection.base import Detector
from anisomem.errors import UserError

SAMPLES = 10_000  # of a detector's n; the noise of all is held at once


def detectors(nodes: Mapping[str, Any]) -> list[Detector]:
    """Every detector that is chosen, one for each of its n.

    Arguments:
        nodes: The settings of each by name, :attr:`Config.detector`.

    Raises:
        UserError: A detector that cannot be built, or an n that is not a positive integer.
    """
    built: list[Detector] = []
    for name, node in nodes.items():
        if not isinstance(node, Mapping):
            raise UserError(f"detector.{name} holds settings, such as 'detector.{name}.n=[1]'")
        if "n" not in node:
            built.append(_detector(nodes, name, node))
            continue
        chosen = list(node["n"]) if isinstance(node["n"], list) else [node["n"]]
        if not values.distinct(chosen) or not all(
            type(n) is int and 1 <= n <= SAMPLES for n in chosen
        ):
            raise UserError(
                f"detector.{name}.n must be distinct positive integers, got {node['n']}; write "
                f"'detector.{name}.n=[1,4]', up to {SAMPLES:,}"
            )
        built += [_detector(nodes, name, node, n=n) for n in chosen]
    return built


def named(target: str, settings: Sequence[str]) -> Detector:
    """A detector by name or dotted path of its class, at the fewest n that it is configured with.

    Arguments:
        target: ``wen``, or ``mine.Mine``.
        settings: The settings of the detector, ``steps=5``.

    Raises:
        UserError: There is no such detector, or it cannot be built.
    """
    path, _, made = target.rpartition(".")
    name = made.lower() if path else target
    chosen = [f"+detector.{name}._target_={target}"] if path else []
    config: Config = compose.cases(
        [
            f"detector=[{'' if path else name}]",
            *chosen,
            *(f"++detector.{name}.{setting}" for setting in settings),
        ]
    )[0]
    return min(detectors(config.detector), key=lambda detector: detector.n)


def _detector(
    nodes: Mapping[str, Any], name: str, node: Mapping[str, Any], **more: Any
) -> Detector:
    """A detector; those that it names as members, or is made of, are built with its n."""
    if "members" in node:
        more["members"] = [
            _detector(nodes, member, _settings(nodes, member), **more)
            for member in node["members"]
        ]
        node = {key: value for key, value in node.items() if key != "members"}
    if isinstance(inner := node.get("of"), Mapping):
        more["of"] = _detector(nodes, f"{name}.of", inner, **more)
        node = {key: value for key, value in node.items() if key != "of"}
    if "_target_" not in node:
        raise UserError(f"detector.{name} has no _target_, the class that it is")
    detector = build(node, f"detector.{name}", name=name, **more)
    if not isinstance(detector, Detector):
        raise UserError(f"detector.{name}: {node['_target_']} is no Detector")
    return detector


def _settings(nodes: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The settings of a detector in this run, or those it has by default."""
    return nodes[name] if name in nodes else registry.find(name).node()[name]
