"""What a folder of wheels offers to a system that has no network.

The walk begins at edge-fer and follows what each wheel requires, with markers evaluated for the
system instead of for this machine. It does not try every combination as pip does: of each
distribution the newest wheel is taken that all who ask for it can use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_fer.errors import MissingExtra

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from edge_fer_firmware.wheel_file import Target, Wheel

__all__ = ["OURS", "Offer", "offer", "platform_tags"]

#: The distribution that everything else is needed for.
OURS = "edge-fer"
# Each pass knows what all others asked for in the one before.
_PASSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What was found.

    Attributes:
        wheels: those that the system needs, one per distribution, by name.
        size: of them together, in bytes.
        missing: a sentence for each requirement that no wheel satisfies, and for each file that
            is no wheel.
        lacking: the requirements of those sentences, as pip reads them, without markers.
    """

    wheels: tuple[Path, ...]
    size: int
    missing: tuple[str, ...]
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    requirement: Requirement
    by: str


def offer(
    wheels: Sequence[Path],
    *,
    python: str,
    glibc: int,
    extras: Sequence[str] = (),
    version: str = "",
    constraints: Sequence[str] = (),
) -> Offer:
    """What the wheels are good for: which of them are needed, and what is missing.

    Args:
        wheels: files, needed or not.
        python: of the system: ``3.13``.
        glibc: minor version of the system's.
        extras: of edge-fer: ``mqtt``.
        version: of edge-fer; empty: whichever is there.
        constraints: versions that must not be left: ``numpy<2``.

    Raises:
        MissingExtra: the package ``packaging`` is not installed.
    """
    _need_packaging()
    from packaging.requirements import Requirement

    from edge_fer_firmware.wheel_file import BrokenWheelError, Target, read_wheel

    readable, sentences = [], []
    for path in sorted(wheels):
        try:
            readable.append(read_wheel(path))
        except BrokenWheelError as err:
            sentences.append(f"{path.name} {err}.")
    wanted = OURS + (f"[{','.join(sorted(extras))}]" if extras else "")
    root = Requirement(f"{wanted}=={version}" if version else wanted)
    walk = _Walk(
        wheels=readable,
        target=Target.of(python, glibc),
        limits=[Requirement(text) for text in constraints],
    )
    picks, demands = walk.run(root)
    lacking = [name for name in demands if name not in picks]
    needed = tuple(picks[name].path for name in sorted(picks))
    return Offer(
        wheels=needed,
        size=sum(path.stat().st_size for path in needed),
        missing=(*sentences, *(walk.sentence(name, demands[name]) for name in lacking)),
        lacking=tuple(_as_asked(name, demands[name]) for name in lacking),
    )


def platform_tags(glibc: int) -> list[str]:
    """What ``pip download --platform`` takes for a system, best first.

    Raises:
        MissingExtra: the package ``packaging`` is not installed.
    """
    _need_packaging()
    from edge_fer_firmware.wheel_file import platforms

    return platforms(glibc)


def _need_packaging() -> None:
    try:
        import packaging.metadata  # noqa: F401
    except ImportError as err:
        raise MissingExtra(
            f"Reading wheels needs the package packaging ({err}).",
            "pip install 'edge-fer[provision]'",
        ) from err


class _Walk:
    """From one requirement to all that it brings."""

    def __init__(
        self, *, wheels: Sequence[Wheel], target: Target, limits: Sequence[Requirement]
    ) -> None:
        from packaging.utils import canonicalize_name

        self._normal = canonicalize_name
        self._target = target
        self._limits = [_Demand(requirement=limit, by="the system") for limit in limits]
        self._offered: dict[str, list[Wheel]] = {}
        for wheel in wheels:
            self._offered.setdefault(wheel.name, []).append(wheel)

    def run(self, root: Requirement) -> tuple[dict[str, Wheel], dict[str, list[_Demand]]]:
        """The wheel of each distribution that has one, and who asks for each."""
        known: dict[str, list[_Demand]] = {}
        for _ in range(_PASSES):
            picks, demands = self._once(root, known)
            if demands == known:
                break
            known = demands
        return picks, demands

    def _once(
        self, root: Requirement, known: dict[str, list[_Demand]]
    ) -> tuple[dict[str, Wheel], dict[str, list[_Demand]]]:
        picks: dict[str, Wheel] = {}
        demands: dict[str, list[_Demand]] = {}
        waiting, followed = [_Demand(requirement=root, by="")], set()
        while waiting:
            demand = waiting.pop(0)
            name = self._normal(demand.requirement.name)
            if name not in demands:
                demands[name] = [
                    d for d in self._limits if self._normal(d.requirement.name) == name
                ]
            if demand not in demands[name]:
                demands[name].append(demand)
            pick = self._best(name, [*known.get(name, []), demand])
            if pick is None:
                continue
            picks[name] = pick
            extras = frozenset(demand.requirement.extras)
            if (pick.path, extras) in followed:
                continue
            followed.add((pick.path, extras))
            by = f"{pick.name} {pick.version}"
            waiting += [
                _Demand(requirement=requirement, by=by)
                for requirement in pick.requires
                if self._target.wants(requirement, extras)
            ]
        # A later demand may have ruled out what an earlier one had picked.
        good = {n: w for n, w in picks.items() if self._best(n, demands[n]) == w}
        return good, demands

    def _best(self, name: str, demands: Sequence[_Demand]) -> Wheel | None:
        usable = [
            wheel
            for wheel in self._offered.get(name, ())
            if not wheel.unfit(self._target) and _allowed(wheel, demands)
        ]
        if not usable:
            return None
        return max(usable, key=lambda w: (w.version, -w.rank(self._target), w.path.name))

    def sentence(self, name: str, demands: Sequence[_Demand]) -> str:
        """What is not there, for whom, and the file that nearly fits."""
        askers = ", ".join(dict.fromkeys(d.by for d in demands if d.by))
        asked = _as_asked(name, demands) + (f" (for {askers})" if askers else "")
        offered = self._offered.get(name, [])
        if not offered:
            return f"{asked} is missing: no wheel of it is there."
        # A wheel of the right version for another system says more than one of a wrong version.
        near = max(offered, key=lambda w: (_allowed(w, demands), w.version))
        why = near.unfit(self._target)
        if not _allowed(near, demands):
            why = f"is version {near.version}" + (f" and {why}" if why else "")
        why = why or "does not go with what the others ask for"
        return f"{asked} is missing: {near.path.name} {why}."


def _allowed(wheel: Wheel, demands: Sequence[_Demand]) -> bool:
    # A pre-release counts: somebody put it there, and pip takes it where there is nothing else.
    return all(d.requirement.specifier.contains(wheel.version, prereleases=True) for d in demands)


def _as_asked(name: str, demands: Sequence[_Demand]) -> str:
    extras = sorted({extra for demand in demands for extra in demand.requirement.extras})
    parts = {str(part) for demand in demands for part in demand.requirement.specifier}
    return name + (f"[{','.join(extras)}]" if extras else "") + ",".join(sorted(parts))
