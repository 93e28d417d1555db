"""The quality gate: whether the picture of a face is worth an answer, judged before the classifier.

Every limit stands in :class:`Limits`, with what it was chosen by: FER2013's ``validation`` faces
and their corruptions, as ``benchmarks/gate.py`` prints them. The gate is lenient on purpose. The
shipped classifiers were taught doubt and say ``low_confidence`` of most of what is spoilt, so the
gate mostly gives the reason, and takes out what they would name all the same and wrongly: a face
without its mouth, or in a light that leaves no shades. No clean face of those 2,332 is refused.

A covered mouth or eye is not the gate's: nothing that is measured here tells a mask from a beard.
The classifier's divided answer to it is ``low_confidence``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_fer.contract import QualityRange, QualityRanges
from edge_fer.errors import ConfigError
from edge_fer.quality import measure
from edge_fer.types import Face, Frame, Image, Reason, Square

__all__ = ["Limits", "QualityGate", "Tilt", "tilt_of"]

_EYES = ("right_eye", "left_eye")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Beyond which a face gets no answer.

    Attributes:
        brightness: how far beyond the contract's 1st and 99th percentile the mean luma may lie, in
            distances of that percentile from the median: 16 to 238 for the shipped models. Of what
            is named beyond, 79 % are right; of clean faces, 90 %.
        contrast: the least standard deviation of the luma, as a share of the contract's 1st
            percentile: 4 gray levels. Below, two in five faces are named, 81 % of them rightly.
        sharpness: the same: 0.054, a Gaussian blur of some 3 pixels of 48. Below, one face in 40 is
            named.
        roll_deg: of the eyes. The crop undoes a roll, so that it costs little; beyond this, the
            places of the eyes are in doubt. By judgement: the data has no such faces.
        nose: the most that it may be beside the middle of the eyes, in distances of the eyes. By
            YuNet two of 1,265 faces have more; of the 45 above .3 the named ones are 86 % right.
        eyes_to_mouth: the least distance of the eyes over that from eyes to mouth, 0.98 from the
            front. One of those faces has less; a head has it that is turned by some 60 degrees.
        outside: how much of the square's side may lie outside the frame on the left, on the right
            and above. Of half faces under half are named, 9 in 10 of them rightly; beyond, the
            detector's square is a guess.
        below: the same below, where the mouth is: at a fifth, 86 % of the named ones are right; at
            three tenths, 74 %.
    """

    brightness: float = 0.5
    contrast: float = 0.15
    sharpness: float = 0.12
    roll_deg: float = 45.0
    nose: float = 0.65
    eyes_to_mouth: float = 0.5
    outside: float = 0.5
    below: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """How a head is turned, as far as the keypoints tell; None where they do not.

    Attributes:
        nose: how far beside the middle of the eyes it is, along the line between them, in
            distances of the eyes: 0 from the front, about .5 where it hides one eye's inner corner.
        eyes_to_mouth: the distance of the eyes over that from their middle to the mouth.
    """

    nose: float | None = None
    eyes_to_mouth: float | None = None


class QualityGate:
    """Says why a face should get no answer.

    ``dark`` is about the light: too little, too much, too flat, or so little that the sensor's
    noise takes over. ``blurred`` is about focus and motion. ``occluded`` is a face that the
    frame's edge cuts. ``off_axis`` is a head that is rolled or turned away, by keypoints that are
    independent of each other: YuNet's and BlazeFace's. ``face`` places its keypoints by the box
    (measured: they hardly move against it), and Haar has none, so that with these a turned head is
    the classifier's to doubt.

    Args:
        ranges: of the classifier's contract; None: light and sharpness are not judged.
        keypoints: what the detector's keypoints are, as in ``DetectionSpec.keypoints``; where the
            first two are the eyes and a nose or mouth (or its two corners) is named, a turned head
            can be told.
        min_side: the least side of the face's square, pixels of the frame. By the pixels alone it
            could be less: of named faces 90 % are right at 33 pixels, 88 % at 23, 82 % at 16.
        limits: everything else.

    Raises:
        ConfigError: ``min_side`` is negative or no number.
    """

    def __init__(
        self,
        ranges: QualityRanges | None,
        *,
        keypoints: Sequence[str] = (),
        min_side: float = 36.0,
        limits: Limits | None = None,
    ) -> None:
        if not (math.isfinite(min_side) and min_side >= 0):
            raise ConfigError(f"The smallest face cannot be {min_side} pixels.", "Try 36.")
        self.limits, self._min_side, self._names = limits or Limits(), min_side, tuple(keypoints)
        self._ranges = ranges
        if ranges is not None:
            self._dark, self._bright = _beyond(ranges.brightness, self.limits.brightness)
            self._flat = self.limits.contrast * ranges.contrast.p1
            self._soft = self.limits.sharpness * ranges.sharpness.p1
            # The faintest face and the noisiest one that the model was chosen by, at once.
            self._noisy = ranges.contrast.p1 / max(ranges.noise.p99, 1e-6)

    def check(self, frame: Frame, face: Face, square: Square, pixels: Image) -> Reason | None:
        """Why not; None where there is nothing against it. The cheapest question comes first.

        Args:
            frame: the picture that it was found in.
            face: as the detector found it.
            square: around it, by ``Detector.face_square``.
            pixels: ``uint8[height, width, channels]``, its crop as the model sees it.

        Raises:
            DataError: the crop is no crop.
        """
        if square.side < self._min_side:
            return "too_small"
        if self._is_turned(face, square):
            return "off_axis"
        if self._is_cut(frame, square):
            return "occluded"
        return self.spoilt(pixels)

    def spoilt(self, pixels: Image) -> Reason | None:
        """``dark`` or ``blurred``: what its crop alone has against a face, wherever it was found.

        Args:
            pixels: ``uint8[height, width, channels]``, as the model sees it.

        Raises:
            DataError: the crop is no crop.
        """
        if self._ranges is None:
            return None
        found = measure(pixels)
        if not self._dark <= found.brightness <= self._bright or found.contrast < self._flat:
            return "dark"
        # Noise is sharp, so it is asked for before the blur that it hides.
        if found.contrast < self._noisy * found.noise:
            return "dark"
        return "blurred" if found.sharpness < self._soft else None

    def _is_turned(self, face: Face, square: Square) -> bool:
        if abs(square.roll_deg) > self.limits.roll_deg:
            return True
        tilt = tilt_of(face, self._names)
        aside = tilt.nose is not None and abs(tilt.nose) > self.limits.nose
        ratio = tilt.eyes_to_mouth
        return aside or (ratio is not None and ratio < self.limits.eyes_to_mouth)

    def _is_cut(self, frame: Frame, square: Square) -> bool:
        half = square.side / 2
        beside = max(half - square.cx, square.cx + half - frame.width, half - square.cy)
        below = square.cy + half - frame.height
        return beside > self.limits.outside * square.side or below > self.limits.below * square.side


def tilt_of(face: Face, keypoints: Sequence[str]) -> Tilt:
    """What a face's keypoints say of how the head is turned.

    Args:
        face: with its keypoints, or without.
        keypoints: what they are; the first two must be the eyes.
    """
    points = face.keypoints
    if points is None or len(points) != len(keypoints) or {*keypoints[:2]} != {*_EYES}:
        return Tilt()
    (x1, y1), (x2, y2) = points[:2]
    apart = math.hypot(x2 - x1, y2 - y1)
    if apart == 0.0:
        return Tilt(eyes_to_mouth=0.0)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    named = dict(zip(keypoints, points, strict=True))
    nose = named.get("nose") or named.get("nose_tip")
    mouth = [point for name, point in named.items() if "mouth" in name]
    ratio = None
    if mouth:
        across = sum(point[0] for point in mouth) / len(mouth) - x
        down = sum(point[1] for point in mouth) / len(mouth) - y
        ratio = apart / max(math.hypot(across, down), 1e-6)
    aside = None
    if nose is not None:
        aside = ((nose[0] - x) * (x2 - x1) + (nose[1] - y) * (y2 - y1)) / apart**2
    return Tilt(nose=aside, eyes_to_mouth=ratio)


def _beyond(values: QualityRange, margin: float) -> tuple[float, float]:
    below, above = values.p50 - values.p1, values.p99 - values.p50
    return values.p1 - margin * below, values.p99 + margin * above
