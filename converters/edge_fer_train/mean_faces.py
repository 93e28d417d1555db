"""The class-mean faces that the synthetic camera shows: nobody's face, but one that Haar finds.

Run ``python -m edge_fer_train.mean_faces DATA -o edge_fer/cameras/mean_faces.npz``.

Every class is the plain average of all its rows of split Training (FER+ majority labels) and of
their mirror images: the mean of a symmetric set is symmetric, and has half the noise. Averaging
flattens contrast, so each mean is stretched linearly until its 1st and 99th percentile stand at
luma 40 and 215; without that the faces would be paler than any camera shows them. The same data
give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError, EdgeFerError
from edge_fer.evaluation.data import LabelledFaces, load
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.files import write_bytes

__all__ = ["MeanFaces", "main", "mean_faces", "to_npz"]

_PERCENTILES = (1, 99)
_LUMA = (40.0, 215.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanFaces:
    """One average face per class.

    Attributes:
        faces: ``uint8[C, H, W]`` luma.
        labels: the classes, in that order.
        n: ``int64[C]``, rows that each is the average of (mirror images not counted).
        data_sha256: of the file that they came from.
    """

    faces: NDArray[np.uint8]
    labels: tuple[str, ...]
    n: NDArray[np.int64]
    data_sha256: str


def mean_faces(rows: LabelledFaces) -> MeanFaces:
    """Average every class.

    Args:
        rows: gray pictures of one size, labelled.

    Raises:
        DataError: a class has no rows, or the pictures differ in size or have colour.
    """
    shapes = {image.shape for image in rows.images}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        raise DataError(
            f"{rows.path}: class means need gray pictures of one size, not {sorted(shapes)[:3]}.",
            "Use FER2013's own csv or npz.",
        )
    n = np.bincount(rows.truth, minlength=len(rows.labels))
    if not n.all():
        missing = ", ".join(label for label, count in zip(rows.labels, n, strict=True) if not count)
        raise DataError(f"{rows.path} has no rows of {missing}.", "Use all of FER2013 with FER+.")
    total = np.zeros((len(rows.labels), *shape), np.int64)
    for image, label in zip(rows.images, rows.truth, strict=True):
        total[label] += image
    mean = (total + total[:, :, ::-1]) / (2.0 * n[:, None, None])
    return MeanFaces(
        faces=np.stack([_stretched(face) for face in mean]),
        labels=rows.labels,
        n=n.astype(np.int64),
        data_sha256=rows.sha256,
    )


def to_npz(means: MeanFaces) -> bytes:
    """The file's bytes. ``np.savez_compressed`` stores no clock time, so they are reproducible."""
    file = BytesIO()
    np.savez_compressed(
        file,
        faces=means.faces,
        labels=np.array(means.labels),
        n=means.n,
        data_sha256=np.array(means.data_sha256),
    )
    return file.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_fer_train.mean_faces", description="Write the class-mean faces."
    )
    parser.add_argument("data", type=Path, help="FER2013 npz, or csv with --ferplus")
    parser.add_argument("--ferplus", type=Path, help="FER+ votes (fer2013new.csv) for a csv")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args(arguments)
    try:
        rows = load(options.data, FERPLUS8, split="Training", ferplus=options.ferplus)
        means = mean_faces(rows)
        write_bytes(options.output, to_npz(means))
    except EdgeFerError as err:
        sys.stderr.write(f"{parser.prog}: {err}\n")
        return err.exit_code
    for label, n in zip(means.labels, means.n, strict=True):
        sys.stderr.write(f"{label}: mean of {n} faces\n")
    return 0


def _stretched(face: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = np.percentile(face, _PERCENTILES)
    scale = (_LUMA[1] - _LUMA[0]) / max(float(high - low), 1.0)
    return np.asarray(np.clip(np.rint((face - low) * scale + _LUMA[0]), 0, 255), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
