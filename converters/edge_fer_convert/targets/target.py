"""What a machine can run, as data: one TOML for each target.

A target says which operators in which version its runtime has, which tensor types it takes, whether
dense layers may have a scale per channel, and which operators its accelerator maps. The three that
come along (``pi``, ``coral``, ``legacy``) name the source of every list; a file of one's own is
read the same way and may start from another one with ``base = "pi"``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion
from edge_fer_convert.targets.limits import LIMITS

__all__ = ["Accelerator", "Target", "load_target", "target_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What takes operators off TFLite's own kernels.

    Attributes:
        name: in words, as it stands in findings: ``XNNPACK``, ``the Edge TPU``.
        operators: those that it maps; every other one runs in TFLite's own kernels on the CPU.
        instead: operator to what does the same and is mapped, in words.
        limits: operator to limit to value; the names are those of
            :data:`edge_fer_convert.targets.limits.LIMITS`.
        max_dimensions: how many of a tensor's last sizes may exceed 1, or None.
    """

    name: str
    operators: frozenset[str]
    instead: Mapping[str, str]
    limits: Mapping[str, Mapping[str, Any]]
    max_dimensions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A machine with its runtime.

    Attributes:
        name: ``pi``, ``coral``, ``legacy`` or what a file calls itself.
        description: one sentence.
        runtime: package and release, in words.
        types: tensor types that a finished model may hold, in the schema's words.
        per_tensor_dense: dense layers must have one scale.
        static_shapes: no size may be left open.
        batch_one: inputs and outputs must hold one picture.
        versions: operator to its highest version; an operator that is missing cannot be run.
        accelerator: what maps operators, or None where nothing does.
    """

    name: str
    description: str
    runtime: str
    types: frozenset[str]
    per_tensor_dense: bool
    static_shapes: bool
    batch_one: bool
    versions: Mapping[str, int]
    accelerator: Accelerator | None = None


def target_names() -> tuple[str, ...]:
    """The targets that come along, by name."""
    return tuple(sorted(_shipped()))


def load_target(name: str | Path) -> Target:
    """A target by its name, or from a TOML file.

    Args:
        name: one of :func:`target_names`, or the path of a file.

    Raises:
        ConfigError: neither a name nor a file; unknown or missing keys; a value of a wrong type.
    """
    document = _document(name, ())
    where = str(name)
    stated = {field.name for field in fields(Target)}
    _known(document, stated, where)
    _complete(document, stated - {"accelerator"}, where)
    accelerator = document.get("accelerator")
    return Target(
        name=_text(document, "name", where),
        description=_text(document, "description", where),
        runtime=_text(document, "runtime", where),
        types=_words(document, "types", where),
        per_tensor_dense=_value(document, "per_tensor_dense", bool, where),
        static_shapes=_value(document, "static_shapes", bool, where),
        batch_one=_value(document, "batch_one", bool, where),
        versions=_versions(document, where),
        accelerator=None if accelerator is None else _accelerator(accelerator, where),
    )


def _accelerator(table: Any, where: str) -> Accelerator:
    where = f"{where}: accelerator"
    if not isinstance(table, dict):
        raise _wrong(where, "a table")
    stated = {field.name for field in fields(Accelerator)}
    _known(table, stated, where)
    _complete(table, {"name", "operators"}, where)
    operators = _words(table, "operators", where)
    instead = _value(table, "instead", dict, where) if "instead" in table else {}
    for operator in instead:
        _text(instead, operator, f"{where}.instead")
        if operator in operators:
            raise ConfigError(
                f"{where} maps {operator} and says what to use instead of it.",
                "Take it out of one of the two.",
            )
    limits = _value(table, "limits", dict, where) if "limits" in table else {}
    for operator, rules in limits.items():
        place = f"{where}.limits.{operator}"
        if operator not in operators:
            raise ConfigError(
                f"{place} limits an operator that is not mapped.", suggestion(operator, operators)
            )
        _known(_value(limits, operator, dict, place), LIMITS, place)
        for rule in rules:
            _value(rules, rule, LIMITS[rule].kind, place)
    return Accelerator(
        name=_text(table, "name", where),
        operators=operators,
        instead=MappingProxyType(dict(instead)),
        limits=MappingProxyType({op: MappingProxyType(dict(r)) for op, r in limits.items()}),
        max_dimensions=(
            _value(table, "max_dimensions", int, where) if "max_dimensions" in table else None
        ),
    )


def _versions(document: Mapping[str, Any], where: str) -> Mapping[str, int]:
    table = _value(document, "versions", dict, where)
    for operator in table:
        if _value(table, operator, int, f"{where}: versions") < 1:
            raise _wrong(f"{where}: versions.{operator}", "1 or more")
    return MappingProxyType(dict(table))


def _shipped() -> dict[str, Path]:
    folder = Path(str(files(__package__)))
    return {path.stem: path for path in folder.glob("*.toml")}


def _document(name: str | Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The tables of a file, laid over those of its ``base``."""
    shipped = _shipped()
    path = shipped.get(str(name)) or Path(name)
    if path in seen:
        raise ConfigError(f"{path} is based on itself.", "Base it on pi, coral or legacy.")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigError(
            f"There is no target {str(name)!r}.",
            f"{suggestion(str(name), shipped)} Or name a TOML file.",
        ) from err
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}).", "Check --target.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}.", "Mend that line.") from err
    base = document.pop("base", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise _wrong(f"{path}: base", "a name or a path")
    below = path.parent / base
    return _laid_over(_document(below if below.is_file() else base, (*seen, path)), document)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _laid_over(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _known(table: Mapping[str, Any], known: Any, where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{where} has a key {key!r} that no target has.", suggestion(key, known)
            )


def _complete(table: Mapping[str, Any], needed: set[str], where: str) -> None:
    missing = sorted(needed - set(table))
    if missing:
        raise ConfigError(
            f"{where} does not say {', '.join(missing)}.", 'Add it, or start with base = "pi".'
        )


def _value(table: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = table[key]
    # In Python, True is an int as well; in a settings file it is a mistake.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {bool: "true or false", int: "a whole number", list: "a list", dict: "a table"}
        raise _wrong(f"{where}: {key}", words.get(kind, "a text"))
    return value


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    return str(_value(table, key, str, where))


def _words(table: Mapping[str, Any], key: str, where: str) -> frozenset[str]:
    values = _value(table, key, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise _wrong(f"{where}: {key}", "a list of names")
    return frozenset(values)


def _wrong(where: str, wanted: str) -> ConfigError:
    return ConfigError(f"{where} must be {wanted}.", "Compare with a target that comes along.")
