"""The object that some settings describe.

Which class that is, and whether it may be named, is looked up in ``own``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate

from anisomem.config import own, schema
from anisomem.errors import UserError, concerning, unknown

log = logging.getLogger(__name__)


def build(node: Mapping[str, Any], what: str, **more: object) -> Any:
    """The object that a configuration node describes.

    The current folder can be imported from while a target outside this package is looked up.

    Arguments:
        node: Settings, with the class or function as ``_target_``.
        what: Where the settings stand, for messages.
        more: Further arguments.

    Raises:
        UserError: Its target does not exist or refuses its arguments.
    """
    if missing := schema.missing(node, f"{what}."):
        raise UserError(f"{what} needs a value for {', '.join(missing)}")
    targets = list(own.targets(dict(node)))
    log.debug("%s is made by %s", what, ", ".join(targets))
    try:
        with concerning(what):  # an own class may raise anything
            with own.importable(targets):
                make = instantiate(dict(node), _partial_=True, _convert_="all")
            _require_its_arguments(make, what, more)
            # Detectors are passed as they are; Hydra would take dataclasses for settings.
            return make(**more)
    except UserError:
        raise
    except (HydraException, TypeError, ValueError, ImportError, AttributeError) as error:
        if not isinstance(error, HydraException) and own.is_own(str(node.get("_target_"))):
            raise
        cause = (isinstance(error, HydraException) and error.__cause__) or error
        raise UserError(f"{what}: {' '.join(str(cause).split())}") from error


def _require_its_arguments(make: partial[Any], what: str, more: Mapping[str, object]) -> None:
    """Checks that a class or function takes what it is given, and is given what it needs.

    Raises:
        UserError: A setting that it does not have, with the nearest one, or one that it lacks.
    """
    try:
        parameters = inspect.signature(make.func).parameters
    except (TypeError, ValueError):  # of a builtin, which has none
        return
    given = {*make.keywords, *more}
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in sorted(given - set(parameters)):
            raise unknown(f"setting of {what}", name, set(parameters) - set(more))
    lacking = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in given
    ]
    if lacking and not make.args:
        raise UserError(f"{what}: {make.func.__qualname__} needs {', '.join(lacking)}")
