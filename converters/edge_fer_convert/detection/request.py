"""What the user asked for: the options of ``edge-fer convert --detector``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["DetectorRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRequest:
    """The fields are the command's options.

    Attributes:
        detector: a float ``.tflite`` or a ``.keras`` file.
        output: OUT.tflite.
        data: scenes that calibrate, a zip or folder.
        evaluate: scenes with boxes that the report is about; None: scenes kept out of ``data``.
        contract: JSON that says how the heads are read; None: beside the file, in it, or known.
        input_size: width and height of the input of a fully convolutional ``.keras``.
        recipe: one recipe instead of a choice.
        calibration: how many pictures set the ranges.
        max_drop: points of AP50 that int8 may cost; None sets no limit.
        force: replace earlier results.
    """

    detector: Path
    output: Path
    data: Path
    evaluate: Path | None = None
    contract: Path | None = None
    input_size: tuple[int, int] | None = None
    recipe: str | None = None
    calibration: int = 192
    max_drop: float | None = 1.0
    force: bool = False
