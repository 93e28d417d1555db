"""Temperature and throttling before, during and after a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_fer.machine import THROTTLE_BITS, Reading

__all__ = ["Spell", "Thermal"]

_SINCE_BOOT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time in which something slowed the machine down.

    Attributes:
        name: which, in words.
        began_s: second of the run at which a look first showed it, 0 where it was so before; the
            firmware answers every five seconds, so it may have begun so much earlier. None where
            only the last look, after the run, tells of it.
        ended_s: second at which a look no longer showed it; None where it lasted to the end.
        celsius: the temperature when it was first seen.
    """

    name: str
    began_s: float | None
    ended_s: float | None
    celsius: float | None

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """The looks around the measured frames, and those in between.

    Attributes:
        before, after: both waited for the firmware's answer.
        during: (second of the run, reading), ascending.
    """

    before: Reading
    after: Reading
    during: tuple[tuple[float, Reading], ...] = ()

    @property
    def spells(self) -> tuple[Spell, ...]:
        """What slowed the machine down during the run and when, in the order of its beginning."""
        found = [spell for bit in THROTTLE_BITS for spell in self._spells(bit)]
        return tuple(sorted(found, key=lambda s: (s.began_s is None, s.began_s or 0.0)))

    @property
    def events(self) -> list[str] | None:
        """What slowed the machine down at some time of the run; None where nothing tells it."""
        looks = (self.before, self.after, *(reading for _, reading in self.during))
        if sum(reading.throttled is not None for reading in looks) < 2:
            return None
        names = {spell.name for spell in self.spells}
        return [name for name in THROTTLE_BITS.values() if name in names]

    @property
    def hottest(self) -> float | None:
        """Degrees Celsius, of all looks."""
        looks = (self.before, self.after, *(reading for _, reading in self.during))
        return max((r.celsius for r in looks if r.celsius is not None), default=None)

    @property
    def words(self) -> str:
        """One phrase each for temperature and throttling."""
        if self.before.celsius is None or self.after.celsius is None:
            heat = "temperature not measured: this machine does not tell it"
        else:
            heat = f"{self.before.celsius:.0f} °C before, {self.after.celsius:.0f} °C after"
            if self.during and self.hottest is not None:
                heat += f", at most {self.hottest:.0f} °C"
        if self.events is None:
            return f"{heat}; throttling not measured: there is no vcgencmd"
        spells = self.spells
        said = [_told([s for s in spells if s.name == name]) for name in self.events]
        return f"{heat}; {', '.join(said) or 'no throttling'}"

    def to_json(self) -> dict[str, Any]:
        """The field ``thermal``."""
        return {
            "before": _json(self.before),
            "after": _json(self.after),
            "events": self.events,
            "words": self.words,
            "spells": [spell.to_json() for spell in self.spells],
        }

    def _spells(self, bit: int) -> list[Spell]:
        """Of one bit: what looks showed, and what the bit since boot tells of between them."""
        name = THROTTLE_BITS[bit]
        known = [(at, r) for at, r in self.during if r.throttled is not None]
        past = self.before.throttled
        on = past is not None and bool(past >> bit & 1)
        sticky = None if past is None else bool(past >> _SINCE_BOOT >> bit & 1)
        found = [Spell(name=name, began_s=0.0, ended_s=None, celsius=self.before.celsius)]
        if not on:
            found.clear()
        for at, reading in known:
            bits = reading.throttled or 0
            now, ever = bool(bits >> bit & 1), bool(bits >> _SINCE_BOOT >> bit & 1)
            if now and not on:
                found.append(Spell(name=name, began_s=at, ended_s=None, celsius=reading.celsius))
            elif on and not now:
                found[-1] = _ended(found[-1], at)
            elif ever and sticky is False and not now:
                # It came and went since the look before.
                found.append(Spell(name=name, began_s=at, ended_s=at, celsius=reading.celsius))
            on, sticky = now, ever
        if self.after.throttled is not None:
            now = bool(self.after.throttled >> bit & 1)
            ever = bool(self.after.throttled >> _SINCE_BOOT >> bit & 1)
            if not on and (now or (ever and sticky is False)):
                found.append(
                    Spell(name=name, began_s=None, ended_s=None, celsius=self.after.celsius)
                )
        return found


def _ended(spell: Spell, at_s: float) -> Spell:
    return Spell(name=spell.name, began_s=spell.began_s, ended_s=at_s, celsius=spell.celsius)


def _told(spells: Sequence[Spell]) -> str:
    """``throttled from second 312 to the end at 80 °C, 3 times in all``."""
    first = spells[0]
    if first.began_s is None:
        return first.name
    heat = "" if first.celsius is None else f" at {first.celsius:.0f} °C"
    if first.ended_s == first.began_s:
        when = f"shortly before second {first.began_s:.0f}"
    else:
        began = f"second {first.began_s:.0f}" if first.began_s else "the start"
        ended = "the end" if first.ended_s is None else f"second {first.ended_s:.0f}"
        when = f"from {began} to {ended}"
    times = f", {len(spells)} times in all" if len(spells) > 1 else ""
    return f"{first.name} {when}{heat}{times}"


def _json(reading: Reading) -> dict[str, Any]:
    bits = None if reading.throttled is None else hex(reading.throttled)
    return {**asdict(reading), "throttled": bits}
