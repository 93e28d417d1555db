"""Earlier results: reading one to compare with, and publishing one for others.

A published file, ``edge-fer/baseline/1``, is a benchmark's document without what says whose
machine it was, and with a stamp: the SHA-256 of the canonical JSON of everything but the stamp
itself. Canonical is what ``json.dumps(rest, sort_keys=True, separators=(",", ":"))`` writes: keys
sorted, no spaces, other characters than ASCII escaped, numbers as Python writes them. The stamp
shows that a file was changed, by an editor or a slip; it is no signature.

``python -m edge_fer_bench.compare.baseline schema`` prints the JSON Schema of published files, and
``python -m edge_fer_bench.compare.baseline check FILE...`` checks some.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_fer.errors import ConfigError, DataError, EdgeFerError
from edge_fer_bench.compare.documents import BASELINE, BENCHMARK, Baseline, Device, Model, Published
from edge_fer_bench.compare.reading import check_finite, check_schema, leaves, load, parse, refuse
from edge_fer_bench.compare.redaction import own_arguments, own_names, redact
from edge_fer_bench.timing.protocol import P99_FRAMES

__all__ = [
    "check_may_publish",
    "check_published",
    "file_name",
    "main",
    "publish",
    "read_baseline",
    "stamp_of",
]

_AGAIN = "Run edge-fer benchmark --publish FILE again and leave the file as it is."
_REFERENCE = {
    "raspberry_pi": "a Raspberry Pi",
    "board": "a board that is no Raspberry Pi",
    "computer": "{}, no device",
    "virtual": "{} virtual machine, no device",
}


def read_baseline(path: Path) -> Baseline:
    """Read a benchmark's JSON, a ``report.json`` or a published file, also of an older edge-fer.

    Args:
        path: of the file.

    Raises:
        DataError: no such file, no JSON, no benchmark, from a newer edge-fer, partial, changed
            after it was published, or without a field that a comparison needs.
    """
    document = load(path)
    check_schema(document, path, (BENCHMARK, BASELINE))
    if document["schema"] == BASELINE:
        found = _published(document, path).benchmark
    else:
        found = parse(document, path)
    if found.partial:
        raise DataError(
            f"{path} is a partial report: its run was interrupted.",
            f"Run it again to its end: edge-fer benchmark --json > {path}",
        )
    return found


def publish(
    document: Mapping[str, Any],
    names: Iterable[str] | None = None,
    arguments: Iterable[str] | None = None,
) -> dict[str, Any]:
    """The file that ``--publish`` writes, made of a benchmark's document.

    Args:
        document: ``edge-fer/benchmark/1``.
        names: words to hide; None: what this machine and its user are called.
        arguments: of the command, whose folders and servers are hidden too; None: of this process.

    Raises:
        DataError: a partial report, one with too few frames, or no benchmark.
        ConfigError: measured on an emulated machine.
    """
    check_schema(document, "The report", (BENCHMARK,))
    found = parse(document)
    check_may_publish(document["device"])
    _check_whole(found, "The report")
    rest = {
        "schema": BASELINE,
        "reference": _reference(found.device),
        "throttled": found.throttled,
        "benchmark": redact(
            document,
            own_names() if names is None else names,
            own_arguments() if arguments is None else arguments,
        ),
    }
    return {**rest, "stamp": stamp_of(rest)}


def check_may_publish(device: Mapping[str, Any]) -> None:
    """Refuse a machine whose times are no times of anything, before anything is measured.

    Args:
        device: the field ``device``.

    Raises:
        ConfigError: it is emulated.
    """
    if device.get("kind") == "emulated":
        raise ConfigError(
            f"{device.get('name')} is emulated: emulated times are no times of any device, so "
            "they are not published.",
            "Run edge-fer benchmark --publish FILE on the device itself.",
        )


def check_published(document: Any, where: object = "The file") -> Published:
    """See that a published file is whole, unchanged and says what it is.

    Args:
        document: ``edge-fer/baseline/1``, as :func:`json.loads` returns it.
        where: what errors call it.

    Raises:
        DataError: it is not; the first thing that is wrong is named.
    """
    check_schema(document, where, (BASELINE,))
    found = _published(document, where)
    device = found.benchmark.device
    if device.kind == "emulated":
        raise DataError(f"{where} is of an emulated machine.", "Measure on the device itself.")
    _check_whole(found.benchmark, where)
    if found.benchmark.model.name is None:
        raise DataError(f"{where} does not name its model (benchmark.model.name).", _AGAIN)
    if found.reference != _reference(device):
        raise DataError(
            f"{where} says that it is of {found.reference!r}; by its device it is of "
            f"{_reference(device)!r}.",
            _AGAIN,
        )
    if found.throttled != found.benchmark.throttled:
        raise DataError(f"{where}: throttled is not what benchmark.thermal.events says.", _AGAIN)
    if redact(document) != document:
        shown = ", ".join(_changed(document, redact(document)))
        raise DataError(f"{where} holds paths, addresses or names, in: {shown}.", _AGAIN)
    _check_path(found.benchmark.model, where)
    return found


def file_name(found: Published) -> str:
    """``BOARD--MODEL.json``, in small letters and hyphens.

    A computer goes by its processor too, because its name only says what kind it is.
    """
    device = found.benchmark.device
    parts = [device.name]
    if device.kind not in ("raspberry_pi", "board"):
        parts.append(device.cpu or "")
    return f"{_slug(' '.join(parts))}--{_slug(found.benchmark.model.name or '')}.json"


def stamp_of(document: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of the canonical JSON (see above) of all fields but ``stamp``."""
    rest = {name: value for name, value in document.items() if name != "stamp"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: Sequence[str]) -> int:
    """``schema``, or ``check FILE...``, where a folder stands for the published files in it.

    Returns:
        0; 2 where a file is wrong or nothing was to be done.
    """
    if list(arguments) == ["schema"]:
        sys.stdout.write(json.dumps(Published.model_json_schema(), indent=2) + "\n")
        return 0
    if len(arguments) < 2 or arguments[0] != "check":
        sys.stderr.write(
            "usage: python -m edge_fer_bench.compare.baseline schema | check FILE...\n"
        )
        return 2
    wrong = 0
    for path in _files(map(Path, arguments[1:])):
        try:
            found = check_published(load(path), path)
            if path.name != file_name(found):
                raise DataError(f"{path} should be called {file_name(found)}.")
            sys.stdout.write(f"{path}: good, measured on {found.reference}\n")
        except EdgeFerError as err:
            wrong += 1
            sys.stderr.write(f"{err}\n")
    return 2 if wrong else 0


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.glob("*.json") if p.name != "schema.json")
        else:
            yield path


def _published(document: Any, where: object) -> Published:
    check_finite(document, where)
    try:
        found = Published.model_validate(document)
    except ValidationError as err:
        refuse(err, where)
    if found.stamp != stamp_of(document):
        raise DataError(
            f"{where} was changed after it was published: its stamp is not that of what it holds.",
            "Get the file anew from where it was published.",
        )
    return found


def _check_whole(found: Baseline, where: object) -> None:
    if found.partial:
        raise DataError(
            f"{where} is partial: its run was interrupted.", "Run the benchmark to its end."
        )
    frames = found.latency_ms.total.n
    if frames < P99_FRAMES:
        longer = max(60, ceil(1.1 * P99_FRAMES / found.fps) if found.fps else 60)
        raise DataError(
            f"{where} has {frames} frames; a 99th percentile takes {P99_FRAMES}.",
            f"Measure longer: edge-fer benchmark --seconds {longer} --publish FILE",
        )


def _check_path(model: Model, where: object) -> None:
    # A model goes by its file: whatever else stands there is left of a folder.
    if model.path is not None and model.path.removesuffix(".tflite") != model.name:
        raise DataError(
            f"{where}: benchmark.model.path is {model.path!r}, which is not the file of the model "
            f"{model.name!r}.",
            _AGAIN,
        )


def _changed(document: Any, redacted: Any) -> list[str]:
    after = dict(leaves(redacted))
    return [name for name, value in leaves(document) if after.get(name, ...) != value]


def _reference(device: Device) -> str:
    # Other kinds never come here: an emulated machine is refused.
    return _REFERENCE.get(device.kind, "{}").format(device.architecture)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
