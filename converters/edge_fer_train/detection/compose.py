"""Training pictures: real scenes shaken, masked faces exchanged for whole ones, and faces pasted
where there are none.

Four of five faces in the scenes at hand wear masks, and face-free pictures are few. So most of
what the net learns of bare faces comes from face crops put into scenes: onto masked heads, with
their hair and shoulders around, and onto anything else (cut, paste and learn: Dwibedi et al.,
arXiv:1708.01642). Cut edges are feathered differently each time, lest the net learn the edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.types import Image
from edge_fer_train.detection.network import KEYPOINTS
from edge_fer_train.detection.pasting import light_of, of_centres, stencil
from edge_fer_train.detection.shaking import cover, shake
from edge_fer_train.detection.targets import Truth

__all__ = ["BOX_DOWN", "BOX_HEIGHT", "BOX_WIDTH", "Composer", "FaceCrops", "Scene", "face_box"]

# FER2013's square to the box that people draw around a face: forehead to chin, cheek to cheek.
BOX_WIDTH, BOX_HEIGHT, BOX_DOWN = 0.76, 0.98, 0.02
_TOO_SMALL = 9.0  # pixels of the input; smaller faces are neither right nor wrong
_SCALE_LIMIT = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture ``uint8[H, W]`` luma and its faces.

    Attributes:
        picture: gray.
        truth: boxes and keypoints in its pixels.
        masked: ``bool[N]``: which faces wear something over mouth and nose.
        source: who took it and drew its boxes.
        weight: how often it is drawn, against others.
    """

    picture: Image
    truth: Truth
    masked: NDArray[np.bool_]
    source: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceCrops:
    """Faces cut out, all alike.

    Attributes:
        images: ``uint8[N, S, S]``.
        keypoints: ``float32[N, K, 2]`` in fractions of the side; NaN where unknown.
        square: FER2013's square in the crop: centre x, centre y, side, in fractions of the side.
        weight: how often one of these is drawn, against other crops.
    """

    images: Image
    keypoints: NDArray[np.float32]
    square: tuple[float, float, float]
    weight: float


def face_box(cx: float, cy: float, side: float) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of the face in a square of FER2013's."""
    half_w, half_h = BOX_WIDTH * side / 2, BOX_HEIGHT * side / 2
    cy += BOX_DOWN * side
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """Makes training pictures of one size.

    Attributes:
        height: of the pictures.
        width: of the pictures.
        scenes: with faces.
        empty: luma pictures without faces.
        crops: what is pasted.
        empty_share: of the pictures that no scene is in, how many stay without a face.
    """

    height: int
    width: int
    scenes: Sequence[Scene]
    empty: Sequence[Image]
    crops: Sequence[FaceCrops]
    empty_share: float = 0.5

    def one(self, rng: np.random.Generator) -> tuple[Image, Truth]:
        """``uint8[height, width]`` and what is in it."""
        chance = rng.random()
        if chance < 0.6:
            weights = np.array([s.weight for s in self.scenes])
            scene = self.scenes[int(rng.choice(len(self.scenes), p=weights / weights.sum()))]
            picture, boxes, points, ignored, masked = self._view(scene, rng)
            exchange = rng.random() < 0.5
            for i in np.flatnonzero(masked & ~ignored) if exchange else ():
                if rng.random() < 0.8:
                    box, found = self._exchange(picture, boxes[i], points[i], rng)
                    boxes[i], points[i] = box, found
            if rng.random() < 0.12:
                picture, boxes, points, ignored = self._erase(picture, boxes, points, ignored, rng)
            if rng.random() < 0.2:
                picture, boxes, points, ignored = self._paste(
                    picture, boxes, points, ignored, int(rng.integers(1, 3)), rng
                )
        else:
            picture = self._background(rng)
            boxes = np.empty((0, 4), np.float32)
            points = np.empty((0, len(KEYPOINTS), 2), np.float32)
            ignored = np.empty(0, bool)
            many = 0 if rng.random() < self.empty_share else int(rng.integers(1, 6))
            picture, boxes, points, ignored = self._paste(
                picture, boxes, points, ignored, many, rng
            )
        if len(boxes) and rng.random() < 0.25:
            picture = cover(picture, boxes[int(rng.integers(len(boxes)))], rng)
        return shake(picture, rng), self._truth(boxes, points, ignored)

    def _truth(
        self, boxes: NDArray[np.float32], points: NDArray[np.float32], ignored: NDArray[np.bool_]
    ) -> Truth:
        clipped = boxes.copy()
        clipped[:, 0::2] = boxes[:, 0::2].clip(0, self.width)
        clipped[:, 1::2] = boxes[:, 1::2].clip(0, self.height)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        left = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
        seen = left > 0.2 * area
        small = (boxes[:, 3] - boxes[:, 1]) < _TOO_SMALL
        unsure = ignored | small | (left < 0.5 * area)
        return Truth(
            boxes=clipped[seen].astype(np.float32),
            keypoints=points[seen].astype(np.float32),
            ignored=unsure[seen],
        )

    def _view(
        self, scene: Scene, rng: np.random.Generator
    ) -> tuple[
        Image, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]
    ]:
        """A scene moved so that one of its faces has a size drawn first."""
        truth = scene.truth
        one = int(rng.choice(np.flatnonzero(~truth.ignored)))
        x1, y1, x2, y2 = truth.boxes[one]
        wanted = float(np.exp(rng.uniform(math.log(11), math.log(0.85 * self.height))))
        scale = min(wanted / (y2 - y1), _SCALE_LIMIT)
        angle = math.radians(rng.normal(0, 10))
        mirrored = rng.random() < 0.5
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        flip = -1.0 if mirrored else 1.0
        linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
        # The face lands anywhere; whole more often than not.
        margin = 0.45 * (y2 - y1) * scale
        at = np.array(
            [
                rng.uniform(min(margin, self.width / 2), max(self.width - margin, self.width / 2)),
                rng.uniform(
                    min(margin, self.height / 2), max(self.height - margin, self.height / 2)
                ),
            ]
        )
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        matrix = np.column_stack([linear, at - linear @ middle])
        source = scene.picture
        if scale < 0.6:  # so that little aliases
            small = cv2.resize(
                source, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA
            )
            shrink = np.diag(
                [source.shape[1] / small.shape[1], source.shape[0] / small.shape[0], 1]
            )
            picture = self._laid(np.asarray(small, np.uint8), matrix @ shrink, rng)
        else:
            picture = self._laid(source, matrix, rng)
        boxes = _moved_boxes(truth.boxes, matrix, scale)
        points = truth.keypoints @ linear.T.astype(np.float32) + matrix[:, 2].astype(np.float32)
        if mirrored:  # the eyes have changed sides
            points = points[:, [1, 0, *range(2, len(KEYPOINTS))]]
        return picture, boxes, points, truth.ignored.copy(), scene.masked

    def _laid(self, source: Image, matrix: NDArray[np.float64], rng: np.random.Generator) -> Image:
        """A scene moved, and around it another, nothing, or its own edge drawn on."""
        size, chance = (self.width, self.height), rng.random()
        if chance < 0.65:
            under = self._background(rng)
            how = cv2.BORDER_TRANSPARENT
            laid = cv2.warpAffine(source, of_centres(matrix), size, dst=under, borderMode=how)
            return np.asarray(laid, np.uint8)
        how = cv2.BORDER_CONSTANT if chance < 0.9 else cv2.BORDER_REPLICATE
        level = float(rng.choice([0, 0, 0, 114, 255]))
        moved = cv2.warpAffine(source, of_centres(matrix), size, borderMode=how, borderValue=level)
        return np.asarray(moved, np.uint8)

    def _background(self, rng: np.random.Generator) -> Image:
        """A face-free picture, part of one, or four in one: few pictures have to be many."""
        if rng.random() < 0.7:
            return self._part(rng)
        picture, other = self._part(rng), [self._part(rng) for _ in range(3)]
        x, y = int(rng.uniform(0.2, 0.8) * self.width), int(rng.uniform(0.2, 0.8) * self.height)
        picture[:y, x:] = other[0][:y, x:]
        picture[y:, :x] = other[1][y:, :x]
        picture[y:, x:] = other[2][y:, x:]
        return picture

    def _part(self, rng: np.random.Generator) -> Image:
        source = self.empty[int(rng.integers(len(self.empty)))]
        if rng.random() < 0.2:
            source = np.rot90(source, int(rng.integers(1, 4)))
        height, width = source.shape
        fit = max(self.width / width, self.height / height)
        scale = fit * float(np.exp(rng.uniform(0, math.log(3.5))))
        scale = max(fit, min(scale, 2.0))
        w, h = self.width / scale, self.height / scale
        x, y = rng.uniform(0, max(width - w, 0)), rng.uniform(0, max(height - h, 0))
        part = source[int(y) : int(y) + max(8, round(h)), int(x) : int(x) + max(8, round(w))]
        size = (self.width, self.height)
        picture = cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            picture = picture[:, ::-1]
        if rng.random() < 0.1:
            picture = picture[::-1]
        return np.array(picture, np.uint8)

    def _paste(
        self,
        picture: Image,
        boxes: NDArray[np.float32],
        points: NDArray[np.float32],
        ignored: NDArray[np.bool_],
        many: int,
        rng: np.random.Generator,
    ) -> tuple[Image, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Up to so many crops where nothing is yet."""
        for _ in range(many):
            side = float(np.exp(rng.uniform(math.log(11), math.log(0.85 * self.height))))
            cx, cy = (
                rng.uniform(0.3 * side, self.width - 0.3 * side),
                rng.uniform(0.3 * side, self.height - 0.3 * side),
            )
            box = np.array(face_box(cx, cy, side), np.float32)
            if len(boxes) and _touches(box, boxes):
                continue
            angle = float(rng.normal(0, 12))
            found = self._put(picture, cx, cy, side, angle, rng)
            boxes = np.concatenate([boxes, box[None]])
            points = np.concatenate([points, found[None]])
            ignored = np.append(ignored, False)
        return picture, boxes, points, ignored

    def _erase(
        self,
        picture: Image,
        boxes: NDArray[np.float32],
        points: NDArray[np.float32],
        ignored: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[Image, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """People without faces: every face under a piece of another picture."""
        under = self._background(rng)
        for x1, y1, x2, y2 in boxes.tolist():
            grown_x, grown_y = 0.08 * (x2 - x1), 0.08 * (y2 - y1)
            left, right = max(0, int(x1 - grown_x)), max(0, math.ceil(x2 + grown_x))
            top, bottom = max(0, int(y1 - grown_y)), max(0, math.ceil(y2 + grown_y))
            picture[top:bottom, left:right] = under[top:bottom, left:right]
        return picture, boxes[:0], points[:0], ignored[:0]

    def _exchange(
        self,
        picture: Image,
        box: NDArray[np.float32],
        points: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Another face over a masked one, with the head around it kept."""
        x1, y1, x2, y2 = (float(v) for v in box)
        side = (y2 - y1) / BOX_HEIGHT
        angle = float(rng.normal(0, 4))
        if np.isfinite(points[:2]).all():
            across, down = points[1] - points[0]
            angle = math.degrees(math.atan2(down, across))
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2 - BOX_DOWN * side
        found = self._put(picture, cx, cy, side, angle, rng, inner=True)
        return np.array(face_box(cx, cy, side), np.float32), found

    def _put(
        self,
        picture: Image,
        cx: float,
        cy: float,
        side: float,
        angle: float,
        rng: np.random.Generator,
        *,
        inner: bool = False,
    ) -> NDArray[np.float32]:
        """Draw a face crop so that FER2013's square of it lies there; where its keypoints are.

        Args:
            picture: changed in place.
            cx: centre of the square.
            cy: likewise.
            side: of the square.
            angle: roll, degrees clockwise.
            rng: decides.
            inner: only the face itself, not what was around it in the crop.
        """
        weights = np.array([c.weight for c in self.crops])
        crops = self.crops[int(rng.choice(len(self.crops), p=weights / weights.sum()))]
        i = int(rng.integers(len(crops.images)))
        image, points = crops.images[i], crops.keypoints[i]
        size = image.shape[0]
        mx, my, whole = crops.square
        if rng.random() < 0.5:
            image, mx = image[:, ::-1], 1 - mx
            points = points[[1, 0, *range(2, len(KEYPOINTS))]] * (-1, 1) + (1, 0)
        scale = side / (whole * size)
        turn = math.radians(angle)
        cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        linear[:, 0] *= rng.uniform(0.85, 1.05)  # heads are turned, lenses differ
        matrix = np.column_stack(
            [linear, np.array([cx, cy]) - linear @ (np.array([mx, my]) * size)]
        )
        height, width = picture.shape
        corners = linear @ (np.array([[0, 1, 0, 1], [0, 0, 1, 1]]) * size) + matrix[:, 2:]
        left, top = np.floor(corners.min(axis=1)).astype(int).clip(0)
        right, bottom = np.ceil(corners.max(axis=1)).astype(int) + 1
        right, bottom = min(int(right), width), min(int(bottom), height)
        if right - left < 4 or bottom - top < 4:
            return np.full((len(KEYPOINTS), 2), np.nan, np.float32)
        local = matrix.copy()
        local[:, 2] -= (left, top)
        region = picture[top:bottom, left:right]
        if scale < 0.6:
            small = max(4, round(size * scale * 1.5))
            image = cv2.resize(
                np.ascontiguousarray(image), (small, small), interpolation=cv2.INTER_AREA
            )
            local = local @ np.diag([size / small, size / small, 1.0])
        alpha = stencil(image.shape[0], (mx, my, whole), inner, rng)
        local, box = of_centres(local), (int(right - left), int(bottom - top))
        whole_image = np.ascontiguousarray(image)
        warped = cv2.warpAffine(whole_image, local, box, borderMode=cv2.BORDER_REPLICATE)
        new = np.asarray(warped, np.uint8)
        shown = np.asarray(cv2.warpAffine(alpha, local, box), np.float32)
        gain, added = light_of(region, new, rng)
        mixed = region + shown * (new * gain + added - region)
        region[...] = np.clip(mixed, 0, 255).astype(np.uint8)
        return np.asarray(points * size @ linear.T + matrix[:, 2], np.float32)


def _touches(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> bool:
    across = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    down = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    return bool(((across > 0) & (down > 0)).any())


def _moved_boxes(
    boxes: NDArray[np.float32], matrix: NDArray[np.float64], scale: float
) -> NDArray[np.float32]:
    """Upright boxes of the same size about the moved centres: a turned head is no wider."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * scale
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
