"""YAML with the line of every key."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Document", "NotYaml", "read_yaml"]

Path = tuple[str | int, ...]


class NotYaml(ValueError):
    """The text is no YAML.

    Attributes:
        line: where reading stopped, from 1.
        reason: of the reader.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text.

    Attributes:
        data: as PyYAML's safe loader makes it.
        lines: keys from the top to one, and its line from 1.
        doubled: keys that stand twice in one mapping, with the second's line.
    """

    data: Any
    lines: dict[Path, int]
    doubled: tuple[tuple[str, int], ...]

    def line(self, *path: str | int) -> int:
        """The line of a key, or of the nearest one above it that is there; 0: of none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def read_yaml(text: str) -> Document:
    """Read one text.

    Raises:
        NotYaml: it is none, or holds tags that YAML does not know.
        ImportError: PyYAML is not installed.
    """
    import yaml

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        raise NotYaml(err.problem or "it cannot be read", mark.line + 1 if mark else 0) from err
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        raise NotYaml(str(err).split("\n", maxsplit=1)[0] or "it cannot be read", 0) from err
    lines: dict[Path, int] = {}
    doubled = [] if top is None else list(_walk(top, (), lines))
    return Document(data=data, lines=lines, doubled=tuple(doubled))


def _walk(node: Any, path: Path, lines: dict[Path, int]) -> Iterator[tuple[str, int]]:
    if len(path) > 50:  # an alias of itself
        return
    if node.id == "mapping":
        seen = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                yield name, line
            seen.add(name)
            lines[*path, name] = line
            yield from _walk(value, (*path, name), lines)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            lines[*path, number] = value.start_mark.line + 1
            yield from _walk(value, (*path, number), lines)
