"""What is not the same between two results: hardware, which forbids comparing them, and the rest,
which is told, because it is often what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer_bench.compare.documents import Baseline
from edge_fer_bench.compare.reading import leaves
from edge_fer_bench.compare.redaction import redact

__all__ = ["Difference", "check_same_machine", "differences"]

_HARDWARE = ("kind", "name", "cpu", "architecture", "cores")
_NAMES = {
    "edge_fer": "edge-fer",
    "opencv": "OpenCV",
    "opencv_threads": "OpenCV threads",
    "numpy": "NumPy",
    "python": "Python",
    "litert": "LiteRT",
    "tflite_runtime": "tflite-runtime",
    "uri": "",
}
# Results, or told elsewhere: the size has a row of its own, and the path only says where.
_NOT_SETTINGS = {
    "model.path",
    "model.size_bytes",
    "model.backend",
    "source.frames",
    "source.dropped",
    "source.frames_with_face",
    "source.faces",
    "source.faces_per_frame",
}
_FACES_APART = 0.05  # a share; faces cost time each


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that was otherwise."""

    what: str
    before: str
    now: str

    @property
    def words(self) -> str:
        """``OpenCV 4.11.0 -> 4.14.0``."""
        return f"{self.what} {self.before} \u2192 {self.now}"

    def to_json(self) -> dict[str, str]:
        """One entry of ``not_the_same``."""
        return asdict(self)


def check_same_machine(now_device: Mapping[str, Any], before: Baseline) -> None:
    """Refuse to compare two machines, before anything is measured.

    Which processor, how many cores, which board: a ratio across these is none of the software.
    What one of the two does not say is no difference.

    Args:
        now_device: the field ``device`` of this machine.
        before: the baseline.

    Raises:
        ConfigError: they differ; both are named, and every field that differs.
    """
    then = before.device.model_dump()
    apart = [
        f"{name} {then[name]} \u2192 {now_device.get(name)}"
        for name in _HARDWARE
        if None not in (then[name], now_device.get(name)) and then[name] != now_device[name]
    ]
    if apart:
        raise ConfigError(
            f"The baseline is of {_machine(then)}, and this is {_machine(now_device)}: times of "
            f"different machines are not compared. Not the same: {'; '.join(apart)}.",
            "Make a baseline on this machine with: edge-fer benchmark --json > baseline.json",
        )


def differences(now: Baseline, before: Baseline) -> tuple[Difference, ...]:
    """Software, settings and state of the machine, where they differ.

    What one of the two says nothing of (an older version knew fewer fields) is listed by name.
    """
    then, here = _settings(before), _settings(now)
    found = []
    for key in dict.fromkeys([*then, *here]):
        if key in then and key in here and then[key] != here[key]:
            found.append(_difference(key, then[key], here[key]))
    found += _state(now, before)
    for side, name, only in (
        (here, "told only now", here.keys() - then.keys()),
        (then, "told only by the baseline", then.keys() - here.keys()),
    ):
        if only:
            told = ", ".join(f"{_named(key)} {_text(side[key])}" for key in side if key in only)
            pair = ("\u2013", told) if side is here else (told, "\u2013")
            found.append(Difference(what=name, before=pair[0], now=pair[1]))
    return tuple(found)


def _settings(document: Baseline) -> dict[str, Any]:
    """Name to value; lists are one value. Without paths: a published file has none either."""
    given = {
        "device": document.device.model_dump(include={"governor", "max_mhz", "system"}),
        "software": document.software,
        "model": document.model.model_dump(),
        "source": document.source,
    }
    flat: dict[str, Any] = {}
    for group, fields in redact(given).items():
        for name, value in fields.items():
            if isinstance(value, list):
                flat[f"{group}.{name}"] = ", ".join(map(str, value))
            else:
                flat |= dict(leaves(value, f"{group}.{name}"))
    return {key: value for key, value in flat.items() if key not in _NOT_SETTINGS}


def _state(now: Baseline, before: Baseline) -> list[Difference]:
    found = []
    ran = [
        ", ".join(stage for stage, times in document.latency_ms.stages.items() if times.n)
        for document in (before, now)
    ]
    if ran[0] != ran[1]:
        found.append(_difference("stages that ran", *ran))
    faces = [document.source.get("faces_per_frame") for document in (before, now)]
    then, here = (float(n) if isinstance(n, int | float) else None for n in faces)
    if then is not None and here is not None and abs(here - then) > _FACES_APART * then:
        found.append(_difference("faces a frame", f"{then:.2f}", f"{here:.2f}"))
    slowed = [document.throttled for document in (before, now)]
    if slowed[0] != slowed[1]:
        words = ["not told" if s is None else ", ".join(s) or "none" for s in slowed]
        found.append(_difference("throttling", *words))
    return found


def _difference(key: str, before: Any, now: Any) -> Difference:
    return Difference(what=_named(key), before=_text(before), now=_text(now))


def _named(key: str) -> str:
    group, _, name = key.partition(".")
    if not name:
        return key
    words = _NAMES.get(name, name.replace("_", " "))
    return words if group in ("software", "device") else f"{group} {words}".strip()


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value) or "none"
    return text[:12] if len(text) == 64 else text  # a SHA-256


def _machine(device: Mapping[str, Any]) -> str:
    cpu = f" ({device['cpu']})" if device.get("cpu") else ""
    return f"{device.get('name')}{cpu}"
