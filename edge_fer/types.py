"""The nouns: frozen values that flow one way, from a camera to a sink.

One coordinate system everywhere: pixels of the source frame, x to the right, y down,
(0, 0) the top-left corner of the top-left pixel. Times are nanoseconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNKNOWN",
    "Box",
    "Camera",
    "Detector",
    "Expression",
    "Face",
    "Frame",
    "Image",
    "Observation",
    "ObservedFace",
    "Reason",
    "RegionDetector",
    "Sink",
    "Square",
]

Image = NDArray[np.uint8]
Reason = Literal["too_small", "dark", "blurred", "occluded", "off_axis", "low_confidence"]
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture from a source, upright (rotation and mirroring are already applied).

    Attributes:
        luma: ``uint8[H, W]``, the Y plane or gray value.
        colour: ``uint8[H, W, 3]`` in OpenCV's BGR order, or None where the source has none.
        lores: ``uint8[h, w]``, the same luma scaled down by the camera itself, or None. Detectors
            may look at it instead; boxes stay in pixels of ``luma``.
        t_ns: when it was taken, monotonic clock, nanoseconds.
        sequence: 0, 1, 2, ... counted by the source, dropped frames included.
        source: what the user called the source, for people to read.
    """

    luma: Image
    colour: Image | None
    t_ns: int
    sequence: int
    source: str
    lores: Image | None = None

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.luma.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An axis-parallel rectangle in pixels of the source frame; (x, y) is its top-left corner."""

    x: float
    y: float
    w: float
    h: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.w * self.h

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, 0 to 1."""
        across = min(self.x + self.w, other.x + other.w) - max(self.x, other.x)
        down = min(self.y + self.h, other.y + other.h) - max(self.y, other.y)
        if across <= 0 or down <= 0:
            return 0.0
        shared = across * down
        return shared / (self.area + other.area - shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """The region that a classifier looks at: centre, side in pixels, and roll.

    ``roll_deg`` is the angle of the face in the picture, positive clockwise (as seen);
    sampling the square undoes it.
    """

    cx: float
    cy: float
    side: float
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A detected face: the detector's own box, its score 0 to 1, keypoints where it gives them.

    ``keypoints`` are (x, y) pairs in frame pixels: the two eyes first, left one in the image
    first, then whatever else the detector knows. ``track`` is None until a tracker named it.
    """

    box: Box
    score: float
    keypoints: tuple[tuple[float, float], ...] | None = None
    track: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """What the classifier says of one face.

    ``label`` may be ``"unknown"``, and then ``reason`` says why. ``probabilities`` maps every
    label of the model's contract, in its order, to 0..1. ``entropy`` is in nats.
    """

    label: str
    probabilities: Mapping[str, float]
    entropy: float
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFace:
    """One face of an observation: where it is, and its raw and smoothed expression."""

    face: Face
    expression: Expression
    raw_expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one step of the pipeline saw.

    ``timings_ms`` maps the stages that ran (capture, detect, track, preprocess, classify,
    smooth, total) to milliseconds.
    """

    frame: int
    t_ns: int
    source: str
    faces: tuple[ObservedFace, ...]
    timings_ms: Mapping[str, float] = field(default_factory=dict)


class Camera(Protocol):
    """A source of frames. One verb: ``read``."""

    def read(self) -> Frame | None:
        """The next (or newest) frame, or None when the source has ended.

        Raises:
            CameraAway: a live source gives nothing at the moment; ask again, it is being reopened.
            DeviceError: the source cannot be read.
            DataError: a file source holds something that cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file. Calling it twice is fine."""
        ...


class Detector(Protocol):
    """Finds faces in a frame. One verb: ``detect``."""

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in the frame, best score first."""
        ...

    def face_square(self, face: Face) -> Square:
        """The square around one of its faces that FER2013 would have cropped."""
        ...

    def close(self) -> None:
        """Let go of the model. Calling it twice is fine."""
        ...


@runtime_checkable
class RegionDetector(Detector, Protocol):
    """A detector that sees more in a region than in the whole frame."""

    def detect_in(self, frame: Frame, region: Box) -> tuple[Face, ...]:
        """The faces in a region, in pixels of the frame, best score first.

        The region may stick out of the frame.
        """
        ...


class Sink(Protocol):
    """Takes observations. One verb: ``emit``."""

    def emit(self, observation: Observation) -> None:
        """Take one observation.

        Raises:
            DeviceError: the disk is full or the other side is away.
        """
        ...

    def close(self) -> None:
        """Flush and let go. Calling it twice is fine."""
        ...
