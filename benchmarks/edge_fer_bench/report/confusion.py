"""Two confusion matrices side by side: what the float model mixes up, and what int8 does."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edge_fer_bench.drawing.svg import svg, text

__all__ = ["confusion_pair"]

Matrix = NDArray[np.int64]


def confusion_pair(
    before: Matrix, after: Matrix, labels: tuple[str, ...], width: int = 928
) -> Markup:
    """Rows are what a face shows, columns what the model says; darker is a larger share of the row.

    Cells of int8 that differ from float's by at least three faces have a frame.

    Args:
        before: ``int64[C, C]``, of the reference.
        after: ``int64[C, C]``, of the quantised model.
        labels: the C classes.
        width: of the picture.
    """
    left, gap, top, foot = 92, 28, 44, 8
    side = (width - left - gap) / 2 / len(labels)
    high = min(side, 40.0)
    parts = []
    for which, (matrix, name) in enumerate(((before, "float reference"), (after, "int8"))):
        x0 = left + which * (side * len(labels) + gap)
        parts.append(text(x0, 12, name, "strong"))
        for i, label in enumerate(labels):
            middle = x0 + (i + 0.5) * side
            parts.append(text(middle, top - 8, _short(label, side), "small middle"))
            if which == 0:
                parts.append(text(left - 10, top + (i + 0.5) * high + 4, label, "small end"))
        parts += _cells(matrix, before if which else None, x0, top, side, high)
    names = "Confusion of the float reference and of the int8 model"
    return svg(width, top + high * len(labels) + foot, parts, names)


def _cells(
    matrix: Matrix, other: Matrix | None, x0: float, y0: float, side: float, high: float
) -> list[str]:
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    parts = []
    for row, column in np.ndindex(*matrix.shape):
        count, share = int(matrix[row, column]), float(shares[row, column])
        x, y = x0 + column * side, y0 + row * high
        changed = other is not None and abs(count - int(other[row, column])) >= 3
        parts.append(
            f'<rect class="{"cell changed" if changed else "cell"}" x="{x + 1:.1f}" '
            f'y="{y + 1:.1f}" width="{side - 2:.1f}" height="{high - 2:.1f}" '
            f'fill-opacity="{share:.2f}"/>'
        )
        if count:
            kind = "small middle inverse" if share > 0.5 else "small middle"
            parts.append(text(x + side / 2, y + high / 2 + 4, f"{count:,}", kind))
    return parts


def _short(label: str, side: float) -> str:
    """As many letters as there is room for."""
    most = max(3, int(side / 7))
    return label if len(label) <= most else f"{label[: most - 1]}."
