"""``/etc/edge-fer/config.toml``: what ``edge-fer run`` is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from unicodedata import bidirectional

from edge_fer.config import load_settings
from edge_fer.credentials import without_password
from edge_fer.errors import ConfigError
from edge_fer.uri import redacted
from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import CONFIG, Plan
from edge_fer_firmware.settings import Deployment
from edge_fer_firmware.units.network import source_kind

__all__ = ["banner", "files", "has_secret", "toml_text"]

# A longer banner would push the page's other half off a small screen.
_BANNER = 320
# Of the Unicode bidirectional algorithm: a text with a direction of its own, within another.
_ISOLATE = "\N{FIRST STRONG ISOLATE}{}\N{POP DIRECTIONAL ISOLATE}"


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The file.

    Raises:
        ConfigError: a setting that ``edge-fer run`` would refuse, or one that stands twice.
    """
    deployment, run = plan.settings.deployment, dict(plan.settings.run)
    for key in ("operator", "purpose", "notice"):
        if run.get(key):
            raise ConfigError(
                f"[run] has {key}, which belongs to [deployment], for the notice too.",
                f"Move it to [deployment] {key}.",
            )
    settings = {
        **run,
        "name": run.get("name") or plan.settings.host.name,
        "operator": deployment.operator,
        "purpose": deployment.purpose,
        "notice": banner(deployment),
    }
    load_settings(overrides=settings, usual_files=False)
    head = f"# Rendered by edge-fer {plan.version}; `edge-fer run` reads it again at SIGHUP.\n"
    return (root_file(str(CONFIG), head + toml_text(settings), secret=has_secret(plan)),)


def has_secret(plan: Plan) -> bool:
    """Whether the password of a camera or a broker stands in its address."""
    source = source_kind(plan.source) == "stream" and redacted(plan.source) != plan.source
    return source or any(without_password(sink) != sink for sink in plan.sinks)


def banner(deployment: Deployment) -> str:
    """What the page shows: all languages where they fit, else the first."""
    texts = [" ".join(text.split()) for text in deployment.notice.values()]
    written = [_ISOLATE.format(text) if _leftwards(text) else text for text in texts if text]
    joined = " · ".join(written)
    return joined if len(joined) <= _BANNER else written[0]


def _leftwards(text: str) -> bool:
    return any(bidirectional(letter) in ("R", "AL") for letter in text)


def toml_text(table: Mapping[str, Any]) -> str:
    """A table of strings, numbers, booleans, lists and tables of them as TOML 1.0.

    JSON's strings, numbers and lists are TOML's too, but for DEL, which TOML wants escaped.
    """
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise ConfigError(
        f"[run] holds {value!r}, which is no setting.", "edge_fer/defaults.toml lists them."
    )


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _value(key)
