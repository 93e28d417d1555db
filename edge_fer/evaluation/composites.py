"""The whole way of a face: pasted into a scene, found, cropped and named.

Labelled crops (FER2013's) stand in scenes without faces, one a frame. What the classifier says of
a crop that the detector led to is compared with what it says of the crop as it was given: the
difference is what detection costs. Frames are drawn one at a time and the same for every detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.cameras.synthetic import background
from edge_fer.classifier import Classifier
from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import FRAME, LabelledScene
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import wilson
from edge_fer.pictures import luma_of
from edge_fer.preprocess import crop, fit
from edge_fer.types import Box, Detector, Frame, Image, Square

__all__ = [
    "SIDES",
    "EndToEnd",
    "Pasted",
    "drawn_faces",
    "end_to_end",
    "end_to_end_each",
    "generated_scenes",
    "pasted",
]

SIDES = (60, 200)
"""Smallest and largest side of a pasted face, pixels of ``FRAME``."""

_MATCH = 0.4
_FEATHER = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """A frame with one face.

    Attributes:
        frame: the scene with the face in it.
        square: where it was pasted: the region that FER2013 cropped.
    """

    frame: Frame
    square: Box


def drawn_faces(faces: LabelledFaces, count: int, seed: int) -> LabelledFaces:
    """Some of the rows, drawn without replacement; all where there are no more.

    Raises:
        DataError: there are no rows.
    """
    if len(faces) == 0 or count < 1:
        raise DataError(f"{faces.path} has no faces to draw from.", "Give a split with rows.")
    chosen = np.random.default_rng(seed).permutation(len(faces))[:count]
    return faces.take(np.sort(chosen))


def generated_scenes(count: int, seed: int) -> tuple[LabelledScene, ...]:
    """Backgrounds of the synthetic camera: no faces, nobody's room, and less to mistake for one.

    Each is drawn when it is looked at, and the same again for the same seed.
    """
    return tuple(
        LabelledScene(
            name=f"generated {number}",
            faces=(),
            stated=None,
            original=None,
            contents=partial(_generated, seed, number),
        )
        for number in range(count)
    )


def _generated(seed: int, number: int) -> bytes:
    picture = background(FRAME, np.random.default_rng((seed, number)))
    return cv2.imencode(".png", picture)[1].tobytes()


def pasted(
    faces: LabelledFaces, scenes: Sequence[LabelledScene], seed: int, *, gray: bool = False
) -> Iterator[Pasted]:
    """One frame for each face, in order; scenes take turns, sides and places are drawn.

    A scene is scaled to cover ``FRAME``. A gray face stays gray in a coloured scene.

    Args:
        faces: the crops.
        scenes: without faces.
        seed: of sides and places.
        gray: show the scenes without their colours, too.

    Raises:
        DataError: there is no scene, or one cannot be read.
    """
    if not scenes:
        raise DataError("There is no scene to paste faces into.", "Give scenes without faces.")
    random = np.random.default_rng(seed)
    canvases: dict[int, Image] = {}
    for number, face in enumerate(faces.images):
        which = number % len(scenes)
        if which not in canvases:
            canvases[which] = _covering(scenes[which])
        picture = luma_of(canvases[which]) if gray else canvases[which]
        side = int(random.integers(SIDES[0], SIDES[1] + 1))
        left = int(random.integers(0, FRAME[0] - side + 1))
        top = int(random.integers(0, FRAME[1] - side + 1))
        picture = _paste(picture, face, left, top, side)
        yield Pasted(
            frame=Frame(
                luma=luma_of(picture),
                colour=picture if picture.ndim == 3 else None,
                t_ns=0,
                sequence=number,
                source=scenes[which].name,
            ),
            square=Box(x=left, y=top, w=side, h=side),
        )


def _covering(scene: LabelledScene) -> Image:
    """``uint8[480, 640]`` or ``uint8[480, 640, 3]``: the middle of the scene."""
    frame = scene.view().frame
    picture = frame.luma if frame.colour is None else frame.colour
    height, width = picture.shape[:2]
    zoom = max(FRAME[0] / width, FRAME[1] / height)
    size = (max(FRAME[0], round(width * zoom)), max(FRAME[1], round(height * zoom)))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
    left, top = (size[0] - FRAME[0]) // 2, (size[1] - FRAME[1]) // 2
    return np.ascontiguousarray(scaled[top : top + FRAME[1], left : left + FRAME[0]])


def _paste(picture: Image, face: Image, left: int, top: int, side: int) -> Image:
    """A copy of the picture with the face blended in, soft over the outer parts of its square."""
    how = cv2.INTER_AREA if side < min(face.shape[:2]) else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(face, (side, side), interpolation=how), np.float32)
    if picture.ndim == 2 and scaled.ndim == 3:
        scaled = np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY), np.float32)
    elif picture.ndim == 3:
        scaled = scaled[..., None] if scaled.ndim == 2 else scaled[..., ::-1]
    cover = _soft(side).reshape(side, side, *(1,) * (picture.ndim - 2))
    mixed = picture.copy()
    under = mixed[top : top + side, left : left + side]
    under[:] = np.clip(np.rint(under + cover * (scaled - under)), 0, 255)
    return mixed


def _soft(side: int) -> NDArray[np.float32]:
    """``float32[side, side]``: 1 inside, falling to 0 within 8 % of each edge."""
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.clip(from_edge / (_FEATHER * side), 0, 1).astype(np.float32)
    return np.minimum(ramp[:, None], ramp[None, :])


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """What became of the pasted faces.

    Attributes:
        found_square: ``bool[N]``, the square that a detection leads to overlaps the pasted one.
        found_box: ``bool[N]``, the detector's own box does.
        right_given: ``bool[N]``, the crop as it was given is named rightly.
        right_found: ``bool[N]``, the crop that was found is; False where none was.
        extra: detections that are not the pasted face.
    """

    found_square: NDArray[np.bool_]
    found_box: NDArray[np.bool_]
    right_given: NDArray[np.bool_]
    right_found: NDArray[np.bool_]
    extra: int

    def to_json(self) -> dict[str, Any]:
        """Fractions; ``cost_points`` is given minus found, on the found faces, in points."""
        n, found = len(self.found_square), self.found_square
        hits = int(found.sum())
        given = float(self.right_given[found].mean()) if hits else None
        after = float(self.right_found[found].mean()) if hits else None
        return {
            "n": n,
            "recall": hits / n,
            "recall_ci95": list(wilson(hits, n)),
            "recall_of_box": float(self.found_box.mean()),
            "extra": self.extra,
            "accuracy_given": float(self.right_given.mean()),
            "accuracy_given_of_found": given,
            "accuracy_found": after,
            "cost_points": None if given is None or after is None else 100 * (given - after),
            "accuracy_misses_wrong": float(self.right_found.mean()),
        }


def end_to_end(
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    faces: LabelledFaces,
    scenes: Sequence[LabelledScene],
    *,
    seed: int,
    gray: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, EndToEnd]:
    """Show every detector the same frames, and the classifier what each of them finds.

    A face is found where the square of a detection overlaps the pasted one by 0.4 or more; of
    several the one that overlaps most is cropped.

    Args:
        detectors: by name, as they are used.
        classifier: names the crops; its labels are those of ``faces``, in any order.
        faces: the crops.
        scenes: without faces.
        seed: of sides and places.
        gray: see :func:`pasted`.
        on_step: called with frames done and frames in all.
    """
    found = end_to_end_each(
        detectors, {"": classifier}, faces, scenes, seed=seed, gray=gray, on_step=on_step
    )
    return found[""]


def end_to_end_each(
    detectors: Mapping[str, Detector],
    classifiers: Mapping[str, Classifier],
    faces: LabelledFaces,
    scenes: Sequence[LabelledScene],
    *,
    seed: int,
    gray: bool = False,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, EndToEnd]]:
    """The same of several classifiers, which name what a detector found once.

    Args:
        detectors: by name, as they are used.
        classifiers: by name; the labels of each are those of ``faces``, in any order.
        faces: the crops.
        scenes: without faces.
        seed: of sides and places.
        gray: see :func:`pasted`.
        on_step: called with frames done and frames in all.

    Returns:
        By classifier, then by detector.
    """
    given: dict[str, list[bool]] = {name: [] for name in classifiers}
    kept: dict[tuple[str, str], list[tuple[bool, bool, bool, int]]] = {
        (model, name): [] for model in classifiers for name in detectors
    }
    frames = pasted(faces, scenes, seed, gray=gray)
    for row, (image, label) in enumerate(zip(faces.images, faces.truth.tolist(), strict=True)):
        shown, truth = next(frames), faces.labels[label]
        for model, classifier in classifiers.items():
            given[model].append(_named(classifier, fit(image, classifier.contract.input)) == truth)
        for name, detector in detectors.items():
            found = detector.detect(shown.frame)
            squares = [detector.face_square(face) for face in found]
            near = [_box(square).iou(shown.square) for square in squares]
            best = int(np.argmax(near)) if near else -1
            hit = best >= 0 and near[best] >= _MATCH
            in_box = any(face.box.iou(shown.square) >= _MATCH for face in found)
            for model, classifier in classifiers.items():
                right = hit and _rightly(classifier, shown.frame, squares[best], truth)
                kept[model, name].append((hit, in_box, right, len(found) - hit))
        on_step(row + 1, len(faces))
    return {
        model: {name: _together(kept[model, name], given[model]) for name in detectors}
        for model in classifiers
    }


def _rightly(classifier: Classifier, frame: Frame, square: Square, truth: str) -> bool:
    return _named(classifier, crop(frame, square, classifier.contract.input)) == truth


def _together(each: list[tuple[bool, bool, bool, int]], given: list[bool]) -> EndToEnd:
    hit, in_box, right, extra = zip(*each, strict=True)
    return EndToEnd(
        found_square=np.array(hit, bool),
        found_box=np.array(in_box, bool),
        right_given=np.array(given, bool),
        right_found=np.array(right, bool),
        extra=sum(extra),
    )


def _named(classifier: Classifier, pixels: Image) -> str:
    return classifier.labels[int(classifier.probabilities(pixels[None])[0].argmax())]


def _box(square: Square) -> Box:
    """Upright, around the same centre: what overlap is measured by, whatever the roll."""
    half = square.side / 2
    return Box(x=square.cx - half, y=square.cy - half, w=square.side, h=square.side)
