"""What ``edge-fer convert --detector`` asks and says; the options stand with the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edge_fer.cli.console import Talk
from edge_fer.errors import ConfigError
from edge_fer_convert.detection.conversion import convert_detector
from edge_fer_convert.detection.request import DetectorRequest
from edge_fer_convert.request import Listener

__all__ = ["converted", "read_size", "tell"]

_CALIBRATION = 192
_MAX_DROP = 1.0
_LEAST_SIDE, _MOST_SIDE = 32, 2048


def converted(
    detector: str | None,
    *,
    output: Path,
    data: Path,
    evaluate: Path | None,
    contract: Path | None,
    input_size: str | None,
    recipe: str | None,
    calibration: int | None,
    max_drop: float | None,
    force: bool,
    listener: Listener,
) -> dict[str, Any]:
    """Convert by the options as they were typed; ``edge-fer/convert-detector/1``.

    Raises:
        ConfigError: no detector, or an option that cannot be read.
        EdgeFerError: as :func:`~edge_fer_convert.detection.conversion.convert_detector`.
    """
    if detector is None:
        raise ConfigError(
            "There is nothing to convert.",
            "Name a classifier, edge-fer convert mine.keras ..., or a detector, --detector FILE.",
        )
    limit = _MAX_DROP if max_drop is None else max_drop
    request = DetectorRequest(
        detector=Path(detector),
        output=output,
        data=data,
        evaluate=evaluate,
        contract=contract,
        input_size=None if input_size is None else read_size(input_size),
        recipe=recipe,
        calibration=calibration or _CALIBRATION,
        max_drop=None if limit == float("inf") else limit,
        force=force,
    )
    return convert_detector(request, listener)


def read_size(text: str) -> tuple[int, int]:
    """``256x192`` as width and height.

    Raises:
        ConfigError: not so, or not from 32 to 2048.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(side) for side in match.groups()) if match else (0, 0)
    if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in (width, height)):
        raise ConfigError(
            f"--input-size {text} is not WIDTHxHEIGHT, each from {_LEAST_SIDE} to {_MOST_SIDE}.",
            "For example: --input-size 256x192",
        )
    return width, height


def tell(talk: Talk, report: dict[str, Any]) -> None:
    """The report in a few lines."""
    agreement, accuracy = report["agreement"], report["accuracy"]
    for rung in report["rungs"]:
        taken = (rung["recipe"], rung["method"]) == tuple(report["chosen"].values())
        talk.say(
            f"{'->' if taken else '  '} {rung['recipe']} ({rung['method']}): "
            f"quality {rung['agreement']['quality']:.4f}"
        )
    talk.say(
        f"{agreement['faces']} faces found by both in {agreement['pictures']} pictures, "
        f"{agreement['only_float']} by float alone, {agreement['only_int8']} by int8 alone"
    )
    if accuracy is not None:
        talk.say(
            f"AP50 float {100 * accuracy['float']['ap50']:.2f} %, "
            f"int8 {100 * accuracy['int8']['ap50']:.2f} %; "
            f"AP30 {100 * accuracy['float']['ap30']:.2f} %, {100 * accuracy['int8']['ap30']:.2f} %"
        )
    talk.say(report["budget"]["words"])
    for file in report["outputs"].values():
        talk.say(f"{file['path']}: {file['bytes'] / 1024:.0f} KiB")
