"""What a check found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = [
    "SCHEMA",
    "Finding",
    "Findings",
    "State",
    "as_json",
    "not_applicable",
    "ok",
    "problem",
    "problems",
    "warning",
]

SCHEMA = "edge-fer/doctor/1"
State = Literal["ok", "warning", "problem", "not_applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what, in a word or two.
        state: ``problem`` stops edge-fer from working, ``warning`` makes it worse,
            ``not_applicable`` says nothing about this machine.
        message: what was seen, one sentence.
        remedy: the line that mends it; never empty for a warning or a problem.
    """

    name: str
    state: State
    message: str
    remedy: str = ""


#: Findings under the names of their groups, both in the order in which they are shown.
Findings = Mapping[str, Sequence[Finding]]


def ok(name: str, message: str) -> Finding:
    """As it should be."""
    return Finding(name=name, state="ok", message=message)


def warning(name: str, message: str, remedy: str) -> Finding:
    """It works, and could be better."""
    return Finding(name=name, state="warning", message=message, remedy=remedy)


def problem(name: str, message: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(name=name, state="problem", message=message, remedy=remedy)


def not_applicable(name: str, message: str) -> Finding:
    """There is nothing to be looked at here."""
    return Finding(name=name, state="not_applicable", message=message)


def problems(findings: Findings) -> list[Finding]:
    """Those that stop edge-fer from working."""
    return [f for group in findings.values() for f in group if f.state == "problem"]


def as_json(findings: Findings, camera: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The document of ``edge-fer doctor --json``.

    Args:
        findings: all of them.
        camera: what the look through the camera found; None when none was asked for.
    """
    counts = Counter(f.state for group in findings.values() for f in group)
    states: tuple[State, ...] = ("ok", "warning", "problem", "not_applicable")
    return {
        "schema": SCHEMA,
        "healthy": not counts["problem"],
        "counts": {state: counts[state] for state in states},
        "groups": {name: [asdict(f) for f in group] for name, group in findings.items()},
        "camera": None if camera is None else dict(camera),
    }
