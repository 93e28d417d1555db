"""What pydantic found, in words for a person who wrote a settings file."""

from __future__ import annotations

import re

from pydantic import BaseModel, ValidationError

from edge_fer.uri import suggestion
from edge_fer_firmware.facts import boards, systems
from edge_fer_firmware.settings import CardSettings

__all__ = ["explained", "fields_of", "plain"]

_TABLE, _TEXT = "this must be a table of its own", 'this must be text: "..."'
_WORDS = {
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "dict_type": _TABLE,
    "string_type": _TEXT,
    "bool_type": "this must be true or false",
    "bool_parsing": "this must be true or false",
    "int_type": "this must be a whole number",
    "int_parsing": "this must be a whole number",
    "int_from_float": "this must be a whole number",
    "tuple_type": 'this must be a list: ["..."]',
    "string_pattern_mismatch": "this is not written as it must be",
}
_EXAMPLE = "See examples/kiosk.toml."
_PHRASES = {
    "valid dictionary": "table of its own",
    "valid tuple": "list",
    "valid string": "text",
    "valid boolean": "word, true or false",
    "valid integer": "whole number",
    "valid number": "number",
}


def explained(err: ValidationError) -> tuple[tuple[str, ...], str, str]:
    """Where, what, and what mends it, of the first error."""
    # A misspelt key is missing as well: its own line says more.
    found = err.errors()
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    keys = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return keys, "this is no setting.", suggestion(keys[-1], fields_of(keys[:-1]))
    if first["type"] == "missing":
        return keys, "this must be set.", _known(keys) or _described(keys) or _EXAMPLE
    message = _WORDS.get(first["type"]) or plain(first["msg"])
    if message is _TABLE:
        return keys, f"{message}.", f"Write [{'.'.join(keys)}] and the settings below it."
    return keys, f"{message}.", _described(keys) or _EXAMPLE


def plain(message: str) -> str:
    """One of pydantic's sentences without its own terms."""
    message = message.removeprefix("Value error, ")
    for term, word in _PHRASES.items():
        message = message.replace(term, word)
    message = re.sub(r"Input should be", "this must be", message)
    return re.sub(r"(String|Tuple|Dictionary) should have", "this must have", message)


def fields_of(keys: tuple[str, ...]) -> list[str]:
    """The settings of one table."""
    return list(_table(keys).model_fields)


def _table(keys: tuple[str, ...]) -> type[BaseModel]:
    """What describes a table, or the innermost one above it that is described."""
    model: type[BaseModel] = CardSettings
    for key in keys:
        found = model.model_fields[key].annotation if key in model.model_fields else None
        inner = [t for t in (found, *getattr(found, "__args__", ())) if isinstance(t, type)]
        model = next((t for t in inner if issubclass(t, BaseModel)), model)
    return model


def _known(keys: tuple[str, ...]) -> str:
    names = {"board": boards, "system": systems}.get(".".join(keys))
    return f"Known: {', '.join(names())}." if names else ""


def _described(keys: tuple[str, ...]) -> str:
    # A number at the end is an entry of a list, which is described as a whole.
    named = keys[:-1] if keys[-1].isdigit() else keys
    info = _table(named[:-1]).model_fields.get(named[-1])
    return f"{named[-1]} is: {info.description}." if info and info.description else ""
