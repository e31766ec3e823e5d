"""The one kind of error that a user can mend: its text is all that a script prints."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


class UserError(ValueError):
    """Says what was wrong, where, and what to do about it, in a sentence."""

    exit_code = 2


class Incomplete(UserError):
    """Of what was asked for a part was done, and is there; the rest could not be."""

    exit_code = 1


def call_with_section(function: Callable, name: str, section: Mapping, **more: Any):
    """`function(**section, **more)`, after naming any key that `function` ignores.

    A section of a config is the keyword arguments of one function, so that no key can
    be written that nothing reads.

    Raises:
        UserError: a key of `section` is no argument of `function`, or one is missing.
    """
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    allowed = sorted(set(parameters) - set(more))
    unknown = [key for key in section if key not in allowed]
    if unknown and not takes_any:
        raise UserError(
            f"config.{name}.{unknown[0]}: nothing reads this key; "
            f"config.{name} takes {', '.join(allowed)}."
        )
    missing = [
        key
        for key in allowed
        if parameters[key].default is inspect.Parameter.empty
        and parameters[key].kind is not inspect.Parameter.VAR_KEYWORD
        and key not in section
    ]
    if missing:
        raise UserError(f"config.{name}.{missing[0]} is missing and has no default.")
    return function(**section, **more)
