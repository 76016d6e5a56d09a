"""A program's values as settings have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from anisomem.errors import UserError


def listed(values: Any) -> list[Any]:
    """Several values, or one that stands alone."""
    alone = isinstance(values, str) or not hasattr(values, "__iter__") or np.ndim(values) == 0
    return [values] if alone else list(values)


def literal(text: str, what: str) -> str:
    """A text that means itself in settings.

    Raises:
        UserError: Something would be looked up in its place.
    """
    if "${" in text:
        raise UserError(f"{what} holds ${{, which settings look up; rename it: {text[:60]!r}")
    return text
