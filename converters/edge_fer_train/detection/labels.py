"""Scenes and face crops with what the net shall say of them.

The boxes that come with scenes are drawn by several people's rules: tight, loose, without the
forehead. A teacher that knows keypoints (the official full-range BlazeFace, Apache-2.0) makes them
alike: a large face whose eyes and mouth it finds gets the box that belongs to them in FER2013's
convention. Faces that nobody drew a box around are added where it is sure, and left open where it
is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.detectors.letterbox import shrunk
from edge_fer.errors import ConfigError, DataError
from edge_fer.evaluation.boxes import read_scenes
from edge_fer.types import Box, Face, Frame, Image
from edge_fer_train.detection.compose import Scene, face_box
from edge_fer_train.detection.network import KEYPOINTS
from edge_fer_train.detection.targets import Truth

__all__ = ["Teacher", "crop_keypoints", "labelled_scenes", "median_square", "square_of_keypoints"]

_SURE = 0.7
_SAME = 0.3  # intersection over union
_LARGE = 60.0  # pixels: from here on the teacher's keypoints are better than a loose box
_BARE = "without_mask"
_LOOSE = ("maskedfacenet", "augmented")
_LARGEST_SIDE = 640
_TILES = 2
_TILE_FROM = 5  # boxes of a scene from which on it is looked at in parts as well
# FER2013's own crops as the teacher sees them, so that its square of them is the crop (medians of
# 22,452 Training rows; by hand they are .354, .361 and (.496, .386)).
_EYE_DISTANCE, _EYE_TO_MOUTH = 0.371, 0.379
_EYES_AT = (0.4975, 0.396)


@runtime_checkable
class Teacher(Protocol):
    """A detector with keypoints that also looks into a region."""

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in the frame, best score first."""
        ...

    def detect_in(self, frame: Frame, region: Box) -> tuple[Face, ...]:
        """The faces in a part of the frame."""
        ...


def square_of_keypoints(points: NDArray[np.floating]) -> tuple[float, float, float]:
    """FER2013's square from the eyes and the mouth, ``[3, 2]``: centre x, centre y, side.

    The larger of what the eyes' distance and the way to the mouth say: a turned head keeps its
    height.
    """
    right, left, mouth = points
    middle = (right + left) / 2
    side = max(
        float(np.hypot(*(left - right))) / _EYE_DISTANCE,
        float(np.hypot(*(mouth - middle))) / _EYE_TO_MOUTH,
    )
    across = (left - right) / max(float(np.hypot(*(left - right))), 1e-6)
    down = np.array([-across[1], across[0]])
    centre = middle + (0.5 - _EYES_AT[0]) * side * across + (0.5 - _EYES_AT[1]) * side * down
    return float(centre[0]), float(centre[1]), side


def labelled_scenes(
    path: Path, teacher: Teacher, on_done: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[tuple[str, Scene]]:
    """The scenes of a zip or folder with ``boxes.csv``: sha256 of the file, and the scene.

    A picture that cannot be read, or of which a row is wrong, is passed over.

    Args:
        path: its table has image, x1, y1, x2, y2 (pixels); ``class`` other than ``without_mask``
            means a covered face, and ``source`` says who drew the box.
        teacher: completes the labels.
        on_done: told how many are done, of how many.

    Raises:
        DataError: no table, or a column is missing.
    """
    found = read_scenes(path)
    if not found.labelled:
        raise DataError(f"{path} has no boxes.csv.", "Give scenes with their boxes.")
    for done, labelled in enumerate(found.scenes, 1):
        on_done(done, len(found.scenes))
        if not labelled.faces:
            continue
        try:
            view = labelled.view()
        except DataError:
            continue
        frame, scale = view.frame, min(1.0, _LARGEST_SIDE / max(view.frame.luma.shape))
        if scale < 1:
            size = (round(frame.width * scale), round(frame.height * scale))
            frame = replace(
                frame,
                luma=shrunk(frame.luma, size),
                colour=None if frame.colour is None else shrunk(frame.colour, size),
            )
        boxes = np.array([[b.x, b.y, b.x + b.w, b.y + b.h] for b in (f.box for f in view.faces)])
        told = [face.attributes for face in view.faces]
        masked = np.array([t.get("class", _BARE) != _BARE for t in told])
        source = told[0].get("source", "")
        scene = _completed(frame, boxes * scale, masked, source, teacher)
        if not scene.truth.ignored.all():
            yield hashlib.sha256(labelled.contents()).hexdigest(), scene


def _completed(
    frame: Frame,
    boxes: NDArray[np.float64],
    masked: NDArray[np.bool_],
    source: str,
    teacher: Teacher,
) -> Scene:
    loose = source in _LOOSE
    found = _everywhere(frame, teacher, tiles=len(boxes) >= _TILE_FROM)
    drawn = [Box(x=b[0], y=b[1], w=b[2] - b[0], h=b[3] - b[1]) for b in boxes]
    points = np.full((len(drawn), len(KEYPOINTS), 2), np.nan, np.float32)
    ignored = np.zeros(len(drawn), bool)
    extra: list[tuple[NDArray[np.float32], NDArray[np.float32], bool]] = []
    taken: set[int] = set()
    for face in found:
        overlaps = [face.box.iou(box) for box in drawn]
        best = int(np.argmax(overlaps)) if overlaps else -1
        named = _points(face)
        own = np.array(face_box(*square_of_keypoints(named)), np.float32)
        if best >= 0 and overlaps[best] > _SAME:
            if best in taken:
                continue
            taken.add(best)
            points[best] = named
            if loose or drawn[best].h > _LARGE:
                boxes[best] = own
        elif best < 0 or max(overlaps) < 0.1:
            extra.append((own, named, face.score < _SURE))
    for i, box in enumerate(drawn):
        # Nobody can tell where such a box should have been.
        ignored[i] = loose and i not in taken and box.h > _LARGE
    bare = int((~masked & ~ignored).sum()) + sum(not unsure for _, _, unsure in extra)
    return Scene(
        picture=frame.luma,
        truth=Truth(
            boxes=np.array([*boxes, *(e[0] for e in extra)], np.float32).reshape(-1, 4),
            keypoints=np.array([*points, *(e[1] for e in extra)], np.float32).reshape(
                -1, len(KEYPOINTS), 2
            ),
            ignored=np.array([*ignored, *(e[2] for e in extra)], bool),
        ),
        masked=np.array([*masked, *(False for _ in extra)], bool),
        source=source,
        weight=1.0 + min(bare, 6) * 0.5,
    )


def _everywhere(frame: Frame, teacher: Teacher, *, tiles: bool) -> list[Face]:
    """What the teacher finds in the whole frame and in overlapping quarters, once each."""
    faces = list(teacher.detect(frame))
    if tiles:
        w, h = frame.width * 0.6, frame.height * 0.6
        for x in (0.0, frame.width - w):
            for y in (0.0, frame.height - h):
                for face in teacher.detect_in(frame, Box(x=x, y=y, w=w, h=h)):
                    box = face.box
                    whole = (
                        box.x > x + 2 or x == 0,
                        box.y > y + 2 or y == 0,
                        box.x + box.w < x + w - 2 or x > 0,
                        box.y + box.h < y + h - 2 or y > 0,
                    )
                    if all(whole):
                        faces.append(face)
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(face.box.iou(other.box) < _SAME for other in kept):
            kept.append(face)
    return kept


def _points(face: Face) -> NDArray[np.float32]:
    """Eyes and mouth, ``float32[3, 2]``, of a BlazeFace: eyes, nose, mouth, ears."""
    named = face.keypoints or ()
    if len(named) < 4:
        raise ConfigError(
            "This detector cannot teach: its keypoints are not BlazeFace's (eyes, nose, mouth).",
            "Use blazeface-full; get it with: edge-fer models pull blazeface-full",
        )
    return np.array([named[0], named[1], named[3]], np.float32)


def crop_keypoints(
    images: Sequence[Image],
    teacher: Teacher,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Eyes and mouth in face crops, ``float32[N, K, 2]`` in fractions of the side, else NaN."""
    points = np.full((len(images), len(KEYPOINTS), 2), np.nan, np.float32)
    for i, image in enumerate(images):
        on_done(i + 1, len(images))
        size = image.shape[0]
        pad = size // 2
        luma = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        frame = Frame(
            luma=np.asarray(luma, np.uint8), colour=None, t_ns=0, sequence=0, source="crop"
        )
        found = teacher.detect(frame)
        if found and found[0].score > _SURE:
            points[i] = (_points(found[0]) - pad) / size
    return points


def median_square(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """Where FER2013's square lies in crops that are all alike, in fractions of their side.

    Args:
        points: from :func:`crop_keypoints`.

    Raises:
        DataError: the teacher found no face in them.
    """
    known = np.isfinite(points).all(axis=(1, 2))
    if not known.any():
        raise DataError("No face was found in these crops.", "Give upright faces, gray, square.")
    cx, cy, side = np.median([square_of_keypoints(p) for p in points[known]], axis=0)
    return float(cx), float(cy), float(side)
