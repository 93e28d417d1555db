"""Reading :mod:`edge_fer_bench.compare.documents`, and what is said of bad ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from edge_fer.errors import DataError
from edge_fer_bench.compare.documents import BASELINE, BENCHMARK, Baseline

__all__ = ["check_finite", "check_schema", "leaves", "load", "parse", "refuse"]

_MAKE = "Make one on this machine with: edge-fer benchmark --json > baseline.json"


def parse(document: Any, where: object = "The report") -> Baseline:
    """The part of a benchmark's document that comparing needs.

    Args:
        document: ``edge-fer/benchmark/1``.
        where: what errors call it.

    Raises:
        DataError: a field is missing or makes no sense; all of them are named.
    """
    check_finite(document, where)
    try:
        return Baseline.model_validate(document)
    except ValidationError as err:
        refuse(err, where)


def load(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        DataError: no such file, it cannot be read, or it is no JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"There is no baseline at {path}.", _MAKE) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no JSON: it is no UTF-8 text.", _MAKE) from None
    except OSError as err:
        raise DataError(f"{path} cannot be read: {err.strerror}.", _MAKE) from err
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise DataError(f"{path} is no JSON ({err}).", _MAKE) from err


def check_schema(document: Any, where: object, wanted: tuple[str, ...]) -> None:
    """See that a document is of one of these schemas.

    Raises:
        DataError: of another kind, or of a newer edge-fer.
    """
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema in wanted:
        return
    if not isinstance(schema, str):
        raise DataError(f"{where} is no document of edge-fer: it names no schema.", _MAKE)
    kind, _, version = schema.rpartition("/")
    known = [one.rpartition("/") for one in (BENCHMARK, BASELINE)]
    if any(kind == k and version.isdecimal() and int(version) > int(v) for k, _, v in known):
        raise DataError(
            f"{where} is of {schema}, written by a newer edge-fer.",
            "Upgrade with: pip install --upgrade edge-fer",
        )
    raise DataError(f"{where} is of {schema}, not of {' or '.join(wanted)}.", _MAKE)


def check_finite(document: Any, where: object) -> None:
    """See that all its numbers are finite.

    Raises:
        DataError: some are not; their fields are named.
    """
    bad = [name for name, value in leaves(document) if _not_finite(value)]
    if bad:
        raise DataError(
            f"{where} holds numbers that are not finite: {', '.join(bad)}.",
            "Measure again: edge-fer benchmark writes none.",
        )


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, by its name: ``fps``, ``budgets[0].met``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{name}[{i}]")
    else:
        yield name, value


def refuse(err: ValidationError, where: object) -> NoReturn:
    """Say what pydantic found.

    Raises:
        DataError: always.
    """
    missing, wrong = [], []
    for found in err.errors():
        name = ".".join(map(str, found["loc"]))
        if found["type"] == "missing":
            missing.append(name)
        else:
            wrong.append(f"{name}: {found['msg']}")
    words = [f"lacks {', '.join(missing)}"] if missing else []
    words += [f"has {'; '.join(wrong)}"] if wrong else []
    raise DataError(f"{where} {' and '.join(words)}.", _MAKE) from err
