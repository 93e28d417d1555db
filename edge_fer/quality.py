"""How good one crop is as a picture: four cheap measures of its luma, whoever the face belongs to.

A model's contract says between which values they lay on the faces that it was chosen by
(:class:`edge_fer.contract.QualityRanges`); about 0.02 ms for 48x48 on a desktop core.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt

import cv2
import numpy as np

from edge_fer.errors import DataError
from edge_fer.types import Image

__all__ = ["Quality", "measure"]

# Immerkaer's mask: the difference of two Laplacians, blind to planes and to straight edges.
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# Rounding to whole gray levels is noise of variance 1/12; the Laplacian's squares add up to 20.
_ROUNDING, _LAPLACIAN_GAIN = 1 / 12, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What :func:`measure` found.

    Attributes:
        brightness: mean luma, 0 to 255.
        contrast: standard deviation of the luma, gray levels.
        sharpness: standard deviation of the Laplacian over that of the luma, no unit: 0 for a flat
            picture, about 4.5 for white noise. Brightness and contrast do not change it.
        noise: estimated standard deviation of the noise, gray levels; fine texture counts as some.
    """

    brightness: float
    contrast: float
    sharpness: float
    noise: float


def measure(pixels: Image) -> Quality:
    """Measure one crop, as the model sees it.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in
    brightfield microscopy", ICPR 2000), divided by the picture's own variance, both less what
    rounding to whole levels adds; the root of that. Noise is Immerkaer's estimate ("Fast noise
    variance estimation", Computer Vision and Image Understanding 64(2), 1996).

    Args:
        pixels: ``uint8[height, width, channels]``, luma or RGB, at least 3 pixels each way.

    Raises:
        DataError: another shape or type, or smaller than that.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise DataError(
            f"A crop is uint8[height, width, 1 or 3], not {pixels.dtype}{list(pixels.shape)}."
        )
    if min(pixels.shape[:2]) < 3:
        raise DataError(f"A crop of {list(pixels.shape[:2])} pixels is too small to be measured.")
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[:, :, 0]
    mean, deviation = cv2.meanStdDev(luma)
    contrast = float(deviation[0, 0])
    # Where the masks reach over the border their values are made up: left out.
    laplacian = cv2.Laplacian(luma, cv2.CV_16S)[1:-1, 1:-1]
    edges = float(cv2.meanStdDev(laplacian)[1][0, 0]) ** 2 - _LAPLACIAN_GAIN * _ROUNDING
    own = contrast**2 - _ROUNDING
    fine = cv2.filter2D(luma, cv2.CV_16S, _IMMERKAER)[1:-1, 1:-1]
    return Quality(
        brightness=float(mean[0, 0]),
        contrast=contrast,
        sharpness=sqrt(edges / own) if edges > 0 and own > 0 else 0.0,
        noise=sqrt(pi / 2) / 6 * cv2.norm(fine, cv2.NORM_L1) / fine.size,
    )
