"""The cards of a board, read from what a run leaves in its ``table.json``.

Nothing in such a file is believed: texts have a length, numbers are numbers within their bounds,
and whatever else it has is not looked at. What a card must have is in :mod:`anisomem.report.card`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from anisomem.errors import UserError
from anisomem.report import escape

LONGEST = 300  # characters of a text
MOST_CASES, MOST_ROWS, MOST_SOURCES = 100, 10_000, 20  # of a table
RATE = "tpr_at_fpr_0.01"  # the TPR that a board shows
OF_JVP = 2  # network evaluations that a directional derivative is counted as
STATISTICS = ("auc", RATE)


@dataclass(frozen=True)
class Number:
    """A measured number and the ends of its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """As tables show it."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Reported:
    """What a source reports of a statistic.

    Attributes:
        value, spread: The number, and its spread over noise seeds where that is reported too.
        reproduced: Whether our interval holds it, see
            :attr:`anisomem.report.published.Beside.inside`.
        source: Where it was read.
    """

    value: float
    spread: float | None
    reproduced: bool | None
    source: str

    @property
    def number(self) -> str:
        """As tables show it."""
        return f"{self.value:.3f}" + ("" if self.spread is None else f" ± {self.spread:.3f}")

    @property
    def verdict(self) -> str:
        """Whether it is reproduced, in words."""
        words = {True: "reproduced", False: "not reproduced", None: "not comparable"}
        return words[self.reproduced]


@dataclass(frozen=True)
class Origin:
    """Where a case's cards come from.

    Attributes:
        place: The folder or packet.
        case: The case's name there.
        checked: Whether every number was computed again from the recorded rows.
        facts: What a reader can look up of it, a name and a value each.
        unchecked: What a packet cannot show, a line each.
    """

    place: str
    case: str
    checked: bool
    facts: Sequence[tuple[str, str]]
    unchecked: Sequence[str] = ()


@dataclass(frozen=True)
class Card:
    """One detector on one model and prompt set.

    Attributes:
        model, prompts, detector: Of what; the model's and the prompt set's names.
        n: The number of noise samples; 0 where it takes none.
        measured: The AUC and the TPR at 1% FPR by the names of :data:`STATISTICS`; None where it
            cannot be resolved.
        refused: Why it was not scored, "" where it was.
        reported: What is published, by the same names; None where the card does not say.
        nfe, jvps: Network evaluations and directional derivatives of a prompt; None where they
            were not counted, as of what needs no model.
        seconds: Seconds for ten prompts, detector alone, on the case's own machine.
        origin: Where it comes from.
    """

    model: str
    prompts: str
    detector: str
    n: int
    measured: Mapping[str, Number | None]
    refused: str
    reported: Mapping[str, Sequence[Reported]] | None
    nfe: float | None
    jvps: float | None
    seconds: float | None
    origin: Origin

    @property
    def key(self) -> str:
        """Detector and n, as a run calls it."""
        return f"{self.detector}, n={self.n}" if self.n else self.detector

    @property
    def cost(self) -> float | None:
        """Network evaluations of a prompt, a directional derivative as :data:`OF_JVP` of them."""
        return None if self.nfe is None else self.nfe + OF_JVP * (self.jvps or 0)

    @property
    def cost_text(self) -> str:
        """Evaluations and derivatives as a run's table shows them."""
        if self.nfe is None:
            return "–"
        return f"{self.nfe:g}" + (f" + {self.jvps:g} JVP" if self.jvps else "")


def read(
    content: Mapping[str, Any],
    place: str,
    packet: Sequence[tuple[str, str]] | None = None,
    unchecked: Sequence[str] = (),
) -> list[Card]:
    """The cards of a table.

    Arguments:
        content: What its ``table.json`` says.
        place: Where it lies.
        packet: Facts of the packet that it was computed from; None of a run's own files.
        unchecked: What that packet cannot show.

    Raises:
        UserError: It is not what a run leaves.
    """
    try:
        cases = _mappings(content, "cases", MOST_CASES)
        known = {
            _text(case, "name"): (
                case,
                Origin(
                    place,
                    _text(case, "name"),
                    packet is not None,
                    [*(packet or ()), *_facts(case)],
                    unchecked,
                ),
            )
            for case in cases
        }
        return [_card(row, known) for row in _mappings(content, "rows", MOST_ROWS)]
    except (ValueError, OverflowError) as error:
        raise UserError(f"{place}: its table is not what a run leaves: {error}") from None


def _card(row: Mapping[str, Any], known: Mapping[str, tuple[Mapping[str, Any], Origin]]) -> Card:
    name = _text(row, "prompts")
    if name not in known:
        raise ValueError(f"a row is of {name!r}, which is none of its cases")
    case, origin = known[name]
    n = _number(row, "n", 0, 10_000)
    if n is None or n != int(n):
        raise ValueError("n is no whole number")
    nfe, jvps, seconds = (
        _number(row, key, 0)
        for key in ("nfe_per_prompt", "jvps_per_prompt", "seconds_per_10_prompts")
    )
    measured = {key: _measured(row, key) for key in STATISTICS}
    detector = _text(row, "detector")
    key = f"{detector}, n={int(n)}" if n else detector
    return Card(
        _text(row, "model"),
        _text(_mapping(case, "prompts"), "name", name),
        detector,
        int(n),
        measured,
        "" if measured["auc"] else _text(row, "auc_note", "not scored"),
        _reported(case, key),
        nfe,
        jvps,
        seconds,
        origin,
    )


def _measured(row: Mapping[str, Any], key: str) -> Number | None:
    value, low, high = (_number(row, f"{key}{end}", 0, 1) for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return None
    return Number(value, low, high)


def _reported(case: Mapping[str, Any], key: str) -> Mapping[str, Sequence[Reported]] | None:
    """What a case says is published of a row."""
    if "published" not in case:
        return None  # of an earlier version
    published = _mapping(case, "published")
    found: dict[str, list[Reported]] = {name: [] for name in STATISTICS}
    for one in _mappings(published, key, MOST_SOURCES) if key in published else ():
        statistic, inside = _text(one, "statistic"), one.get("in_our_interval")
        value = _number(one, "published", 0, 1)
        if value is None or not (inside is None or isinstance(inside, bool)):
            raise ValueError(f"what is published of {key!r} is no number with a verdict")
        if statistic in found:
            spread = _number(one, "spread", 0, 1)
            found[statistic].append(Reported(value, spread, inside, _text(one, "source")))
    return found


def _facts(case: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader can look up, of what the card says."""
    model, prompts = _mapping(case, "model"), _mapping(case, "prompts")
    settings, packages = _mapping(case, "settings"), _mapping(case, "packages")
    counts = [_number(prompts, name, 0) for name in ("memorized", "not_memorized")]
    seeds = settings.get("seeds")
    whole = isinstance(seeds, list) and all(type(seed) is int for seed in seeds)
    found = {
        "identity": _text(case, "identity", ""),
        "weights": _text(model, "repository", "") or _text(model, "sha256", ""),
        "revision": _text(model, "revision", ""),
        "memorized / other prompts": " / ".join(f"{c:,.0f}" for c in counts if c is not None),
        "sha256 of the prompts": _text(prompts, "sha256", ""),
        "noise seeds": ", ".join(map(str, seeds[:20])) if whole and seeds else "",
        "date": _text(case, "date", ""),
        "device": _text(case, "device_name", ""),
        "precision": _text(case, "dtype", ""),
        "anisomem": _text(packages, "anisomem", ""),
        "torch": _text(packages, "torch", ""),
        "commit": _text(case, "git_commit", ""),
    }
    return [(name, value) for name, value in found.items() if value]


def _mapping(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part that has names and values; empty where it is missing."""
    part = of.get(name, {})
    if not isinstance(part, dict):
        raise ValueError(f"{name} has no names and values")
    return part


def _mappings(of: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    parts = of.get(name)
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"{name[:LONGEST]!r} is no list of names and values")
    if len(parts) > most:
        raise ValueError(f"{name[:LONGEST]!r} has {len(parts):,} entries, and {most:,} at most")
    return parts


def _text(of: Mapping[str, Any], name: str, missing: str | None = None) -> str:
    """A text on one line; ``missing`` where there is none, which then is allowed."""
    value = of.get(name)
    if value is None and missing is not None:
        return missing
    if not isinstance(value, str) or not (value or missing is not None):
        raise ValueError(f"{name} is no text")
    if len(value) > LONGEST:
        raise ValueError(f"{name} has {len(value):,} characters, and {LONGEST} at most")
    return escape.plain(value)


def _number(
    of: Mapping[str, Any], name: str, least: float = -inf, most: float = inf
) -> float | None:
    """A finite number within bounds; None where there is none."""
    value = of.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} is {str(value)[:40]!r}, no number that it can be")
    return float(value)
