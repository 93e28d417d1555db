"""What a sweep runs: every combination of several models, detectors, threads and sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath

from edge_fer.config import Settings
from edge_fer.detectors import DETECTORS, check_detector
from edge_fer.errors import ConfigError
from edge_fer.models import find
from edge_fer.models.catalogue import CATALOGUE
from edge_fer.uri import redacted, split_query
from edge_fer_bench.drawing.section import counted

__all__ = [
    "MAX_VARIANTS",
    "Names",
    "Variant",
    "announced",
    "listed",
    "listed_threads",
    "planned",
]

MAX_VARIANTS = 48
_MAX_THREADS = 64  # as edge_fer.config has it
_LONGEST = 18  # characters: three of them leave room for figures in 80 columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One combination, named as on the command line."""

    model: str
    detector: str
    threads: int
    source: str

    def settings(self, base: Settings) -> Settings:
        """Of the pipeline: those of ``base``, but for the combination, and without sinks."""
        return base.model_copy(
            update={
                "model": self.model,
                "detector": self.detector,
                "threads": self.threads,
                "source": self.source,
                "sinks": (),
            }
        )

    @property
    def name(self) -> str:
        """All four, for people."""
        return (
            f"{self.model}, {self.detector}, {counted(self.threads, 'thread')}, "
            f"{redacted(self.source)}"
        )


def listed(values: Sequence[str], flag: str = "A list") -> list[str]:
    """The values of a flag that may be repeated and hold commas: in order, each once.

    Args:
        values: as given, for example ``["face,haar", "yunet"]``.
        flag: its name, for the error.

    Raises:
        ConfigError: nothing stands before, after or between two commas.
    """
    items = [item.strip() for value in values for item in value.split(",")]
    if not all(items):
        raise ConfigError(
            f"{flag} has an empty item: {','.join(values)!r}.",
            "Separate the values by single commas: a,b,c",
        )
    return list(dict.fromkeys(items))


def listed_threads(values: Sequence[str], flag: str = "--threads") -> list[int]:
    """The same, of whole numbers from 1 to 64.

    Raises:
        ConfigError: an empty item, or no such number.
    """
    found = []
    for item in listed(values, flag):
        if not (re.fullmatch("[0-9]{1,2}", item) and 1 <= int(item) <= _MAX_THREADS):
            raise ConfigError(
                f"{flag} cannot be {item!r}: it is a whole number from 1 to {_MAX_THREADS}.",
                f"Write {flag} 1,2,4",
            )
        found.append(int(item))
    return list(dict.fromkeys(found))


def planned(
    *,
    models: Sequence[str],
    detectors: Sequence[str],
    threads: Sequence[int],
    sources: Sequence[str],
) -> list[Variant]:
    """The product of all, each combination once; the first is of the first of each.

    A model that has to be pulled first, and a detector whose library is not there, are left to the
    sweep, which passes them over.

    Raises:
        ConfigError: nothing of a kind, more than :data:`MAX_VARIANTS` combinations, or no such
            detector or option of one.
        ModelError: no such model.
    """
    kinds = {"model": models, "detector": detectors, "thread count": threads, "source": sources}
    for kind, values in kinds.items():
        if not values:
            raise ConfigError(f"A sweep needs a {kind}.", "Name one, or leave the flag out.")
    found = [
        Variant(model=model, detector=detector, threads=count, source=source)
        for source, model, detector, count in product(
            dict.fromkeys(sources),
            dict.fromkeys(models),
            dict.fromkeys(detectors),
            dict.fromkeys(threads),
        )
    ]
    if len(found) > MAX_VARIANTS:
        raise ConfigError(
            f"These are {_shape(found)}; a sweep measures {MAX_VARIANTS} at most.",
            "Leave some out, or measure them in several runs.",
        )
    for detector in detectors:
        check_detector(detector)
    names = [name for name, _ in map(split_query, detectors) if name not in DETECTORS]
    for name in (*models, *names):
        if name not in CATALOGUE:
            find(name)
    return found


def announced(variants: Sequence[Variant], seconds: float) -> str:
    """What is going to be measured, and about how long it takes, before it starts."""
    whole = seconds * len(variants)
    time = f"{whole:.0f} s" if whole < 90 else f"{whole / 60:.0f} min"
    return f"Sweep: {_shape(variants)}; {seconds:g} s each, about {time} in turns."


class Names:
    """How the variants of one sweep are told apart in few letters.

    Args:
        variants: all of them.

    Attributes:
        varying: the fields in which they differ; the model where they do not.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        fields = ("model", "detector", "threads", "source")
        several = [f for f in fields if len({getattr(v, f) for v in variants}) > 1]
        self.varying: tuple[str, ...] = tuple(several) or ("model",)
        self._short = {
            "model": _shortened([v.model for v in variants], _file),
            "detector": _shortened([v.detector for v in variants], _file),
            "source": _shortened([v.source for v in variants], _source),
        }

    def cell(self, variant: Variant, field: str) -> str:
        """One field of a variant."""
        value = getattr(variant, field)
        return self._short[field][value] if field in self._short else str(value)

    def label(self, variant: Variant, *, but: str = "") -> str:
        """What sets a variant apart, on one line, without the field ``but``."""
        fields = [f for f in self.varying if f != but] or ["model"]
        return ", ".join(
            counted(variant.threads, "thread") if f == "threads" else self.cell(variant, f)
            for f in fields
        )


def _shape(variants: Sequence[Variant]) -> str:
    counts = [
        (len({v.model for v in variants}), "model"),
        (len({v.detector for v in variants}), "detector"),
        (len({v.threads for v in variants}), "thread count"),
        (len({v.source for v in variants}), "source"),
    ]
    words = " x ".join(counted(n, noun) for n, noun in counts)
    return f"{counted(len(variants), 'variant')} ({words})"


def _shortened(values: Sequence[str], how: Callable[[str], str]) -> dict[str, str]:
    """Value to what is shown for it; whole values where two would look the same."""
    short = {value: how(value) for value in values}
    if len(set(short.values())) < len(short):
        return {value: redacted(value) for value in short}
    return short


def _file(name: str) -> str:
    head, mark, rest = name.partition("?")
    return _cut(f"{PurePath(head).name.removesuffix('.tflite')}{mark}{rest}")


def _source(uri: str) -> str:
    head, _, query = uri.partition("?")
    if head == "synthetic" and query:
        return _cut(query.replace("size=", "").replace("&", " "))
    return _cut(redacted(uri) if "://" in uri else PurePath(head).name or head)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026"
