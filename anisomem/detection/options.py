"""Which values an option of a detector may have, said by its type.

An option is a field of a dataclass. ``Literal["released", "paper"]`` lists its values, :class:`At`
is a place in the schedule, :data:`Count`, :data:`Steps` and :data:`Scale` are numbers in a range.
:func:`require_options` checks them, and the conformance checks try other values of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from math import isfinite
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from anisomem.detection.needs import STEPS
from anisomem.detection.places import At
from anisomem.errors import UserError, one_of


@dataclass(frozen=True)
class Whole:
    """An integer in a range, both ends included."""

    least: int = 1
    most: int | None = None

    def require(self, name: str, value: Any) -> None:
        """Raises unless the value is one.

        Raises:
            UserError: What is expected.
        """
        if type(value) is int and self.least <= value <= (self.most or value):
            return
        bounded = f"an integer from {self.least}" + (f" to {self.most}" if self.most else "")
        form = "a positive integer" if bounded == "an integer from 1" else bounded
        raise UserError(f"{name} must be {form}, got {value!r}")

    def other_values(self, value: Any) -> list[Any]:
        """Neighbours of a value; some may be out of range."""
        return [value + 1, value - 1]


@dataclass(frozen=True)
class Positive:
    """A finite number above 0."""

    def require(self, name: str, value: Any) -> None:
        """Raises unless the value is one.

        Raises:
            UserError: What is expected.
        """
        if not (type(value) in (int, float) and isfinite(value) and value > 0):
            raise UserError(f"{name} must be a positive number, got {value!r}")

    def other_values(self, value: Any) -> list[Any]:
        """Another value."""
        return [1.5 * value]


Count = Annotated[int, Whole()]  # how many of something
Steps = Annotated[int, Whole(1, STEPS)]  # of a trajectory
Scale = Annotated[float, Positive()]


@cache
def options(kind: type) -> Mapping[str, Any]:
    """The types of a dataclass's fields, by name; to evaluate them takes longer than a score."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind)}


def choices(kind: type, name: str) -> tuple[Any, ...]:
    """The values of an option that lists them."""
    return get_args(options(kind)[name])


def require_options(given: Any) -> None:
    """Checks every option of a dataclass by its type; a place becomes an :class:`At`.

    Raises:
        UserError: The first that is none of its values, with what is expected.
    """
    kind: type = type(given)
    for name, hint in options(kind).items():
        value = getattr(given, name)
        if hint is At:
            setattr(given, name, At(value))
        elif get_origin(hint) is Literal:
            one_of(name, value, choices(kind, name))
        else:
            for rule in _rules(hint):
                rule.require(name, value)


def other_values(given: Any, name: str) -> Sequence[Any]:
    """Other values of an option, which it may yet refuse."""
    kind: type = type(given)
    hint, value = options(kind)[name], getattr(given, name)
    if hint is At:
        return [at for at in ("step:0", "step:1", "step:-2") if at != value]
    if get_origin(hint) is Literal:
        return [choice for choice in get_args(hint) if choice != value]
    for rule in _rules(hint):
        return list(rule.other_values(value))
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value - 1]
        case float():
            return [1.5 * value if value else 0.5]
        case str():
            return ["~"]
        case [first, *rest] if isinstance(first, int | float):
            return [[first + 1, *rest]]
    return []


def _rules(hint: Any) -> Iterator[Whole | Positive]:
    if get_origin(hint) is Annotated:
        yield from (rule for rule in get_args(hint)[1:] if isinstance(rule, Whole | Positive))
