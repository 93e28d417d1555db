"""The query of a source's address: ``synthetic?faces=2&seed=7``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import parse_qsl

from edge_fer.errors import ConfigError

__all__ = ["Options", "did_you_mean"]

_Default = TypeVar("_Default", int, None)


class Options:
    """Named values that a camera takes one by one; :meth:`finish` refuses whatever is left.

    Args:
        query: ``name=value&name=value``, percent-encoded as in a URL.
        uri: the whole address, for the error.

    Raises:
        ConfigError: not of that form, or a name occurs twice.
    """

    def __init__(self, query: str, uri: str) -> None:
        self.uri = uri
        self._known: list[str] = []
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError as err:
            raise ConfigError(
                f"The part after '?' of the source {uri!r} is not name=value&name=value.",
                "For example: video.mp4?rotate=90&mirror=1",
            ) from err
        self._given = dict(pairs)
        if len(self._given) != len(pairs):
            raise ConfigError(f"A parameter occurs twice in {uri!r}.", "Give it once.")

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of some words, by default the first."""
        value = self._take(name)
        if value is None:
            return allowed[0]
        if value not in allowed:
            raise self._wrong(name, value, f"one of {', '.join(allowed)}")
        return value

    def flag(self, name: str) -> bool:
        """0 or 1, by default 0."""
        return self.choice(name, ("0", "1")) == "1"

    def integer(self, name: str, default: _Default, low: int, high: int) -> int | _Default:
        """A whole number from ``low`` to ``high``."""
        value = self._take(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,18}", value) or not low <= int(value) <= high:
            raise self._wrong(name, value, f"a whole number from {low} to {high}")
        return int(value)

    def size(self, name: str, default: tuple[int, int], low: int, high: int) -> tuple[int, int]:
        """Width and height as ``640x480``, each from ``low`` to ``high`` pixels."""
        value = self._take(name)
        if value is None:
            return default
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value)
        if not found or not all(low <= int(side) <= high for side in found.groups()):
            raise self._wrong(name, value, f"WIDTHxHEIGHT, each from {low} to {high}")
        return int(found[1]), int(found[2])

    def finish(self) -> None:
        """Every known parameter was taken.

        Raises:
            ConfigError: one is left over.
        """
        for name in self._given:
            if name not in self._known:
                raise ConfigError(
                    f"The source {self.uri!r} has no parameter {name!r}.",
                    f"{did_you_mean(name, self._known)}Known: {', '.join(sorted(self._known))}.",
                )

    def _take(self, name: str) -> str | None:
        self._known.append(name)
        return self._given.get(name)

    def _wrong(self, name: str, value: str, wanted: str) -> ConfigError:
        return ConfigError(
            f"{name}={value} in the source {self.uri!r} makes no sense.", f"It must be {wanted}."
        )


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``"Did you mean faces? "``, or nothing where nothing is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}? " if near else ""
