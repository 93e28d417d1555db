"""Filling the templates of this package."""

from __future__ import annotations

import json
import shlex
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

__all__ = ["fill"]


def fill(name: str, **values: object) -> str:
    """The text of a template; it ends with one line break.

    Args:
        name: below ``templates``: ``units/edge-fer.service.j2``; ``.html.j2`` escapes values.
        values: what it names; a name that is missing here is an error.
    """
    return _environment().get_template(name).render(**values).rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(
            lambda name: (files(__package__) / "templates" / name).read_text(encoding="utf-8")
        ),
        # Units, scripts and YAML have filters of their own.
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON is YAML, and quotes whatever a string may hold.
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["shell"] = lambda value: shlex.quote(str(value))
    return environment
