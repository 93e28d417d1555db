"""Labelled scenes under a kiosk's conditions, made from the boxes at hand: the same every time.

The masks and the dark are :mod:`~edge_fer.evaluation.corruptions`'s. ``height_N`` shows the
largest face of a scene N pixels high in a frame of 640x480; faces are enlarged to at most
twice their size, and the picture's border is carried on where it is too small.

``half_profile`` is an approximation: the far half of the face is squeezed and the near one
stretched, so that its middle line moves by two fifths of the half width, as in a head that is
turned by some 25 degrees. No nose stands out and no ear comes into sight; a face that was turned
already is turned further, or back. It says what foreshortening costs, not what real half-profiles
do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.evaluation.boxes import FRAME, SceneSet, View, moved
from edge_fer.evaluation.corruptions import corrupt
from edge_fer.evaluation.detection import Scored, one_to_one, overlaps
from edge_fer.evaluation.detector import MATCH, MIN_HEIGHT, counts, views
from edge_fer.pictures import luma_of
from edge_fer.types import Box, Detector, Image

__all__ = ["CONDITIONS", "HEIGHTS", "Condition", "recall_under_conditions"]

Condition = Callable[[View, np.random.Generator, float], View | None]
HEIGHTS = (40, 60, 100, 200)
_MOST_ENLARGED = 2.0
_STRENGTH = 2.0
# Below 0.5 the picture does not fold over; it moves the middle line by 0.38.
_SQUEEZE = 0.45
# A tight box of a face as FER2013's square: its side is the box's height (measured with YuNet).
_SQUARE_UP = 0.019


def _picture(view: View) -> Image:
    frame = view.frame
    return frame.luma if frame.colour is None else frame.colour


def _showing(view: View, picture: Image) -> View:
    colour = picture if picture.ndim == 3 else None
    return replace(view, frame=replace(view.frame, luma=luma_of(picture), colour=colour))


def _spec(picture: Image) -> InputSpec:
    channels = 1 if picture.ndim == 2 else 3
    return InputSpec(
        height=picture.shape[0],
        width=picture.shape[1],
        channels=channels,
        colour="gray" if channels == 1 else "rgb",
        scale=(1.0,) * channels,
        offset=(0.0,) * channels,
    )


def _spoilt(name: str, picture: Image, rng: np.random.Generator) -> Image:
    spec = _spec(picture)
    pixels = picture.reshape(1, spec.height, spec.width, spec.channels)
    return corrupt(name, _STRENGTH, pixels, spec, rng).reshape(picture.shape)


def _on_faces(
    view: View, region: Callable[[Box], Box], change: Callable[[Image], Image], least: float
) -> View | None:
    """Change a region around every face that counts; None where there is none."""
    picture = _picture(view).copy()
    counted = [f.box for f, c in zip(view.faces, counts(view, least), strict=True) if c]
    height, width = picture.shape[:2]
    for box in map(region, counted):
        left, top, across, down = (round(v) for v in (box.x, box.y, box.w, box.h))
        # A face may be cut off by the picture's border: it is carried on, changed, and cut again.
        rows = np.clip(np.arange(top, top + down), 0, height - 1)
        columns = np.clip(np.arange(left, left + across), 0, width - 1)
        changed = change(np.ascontiguousarray(picture[np.ix_(rows, columns)]))
        inside = picture[max(top, 0) : top + down, max(left, 0) : left + across]
        y, x = max(-top, 0), max(-left, 0)
        inside[:] = changed[y : y + inside.shape[0], x : x + inside.shape[1]]
    return _showing(view, picture) if counted else None


def _square(box: Box) -> Box:
    """What FER2013 would have cropped, by the height of a tight box."""
    middle, top = box.x + box.w / 2, box.y - _SQUARE_UP * box.h
    return Box(x=middle - box.h / 2, y=top, w=box.h, h=box.h)


def _with_ears(box: Box) -> Box:
    return Box(x=box.x - 0.1 * box.w, y=box.y, w=1.2 * box.w, h=box.h)


def _as_it_is(view: View, rng: np.random.Generator, least: float) -> View | None:
    return view if counts(view, least).any() else None


def _masked(view: View, rng: np.random.Generator, least: float) -> View | None:
    return _on_faces(view, _square, lambda face: _spoilt("covered_mouth", face, rng), least)


def _dark_noise(view: View, rng: np.random.Generator, least: float) -> View | None:
    if not counts(view, least).any():
        return None
    return _showing(view, _spoilt("dark_noise", _picture(view), rng))


def _half_profile(view: View, rng: np.random.Generator, least: float) -> View | None:
    def turn(face: Image) -> Image:
        return _turned(face, float(rng.choice((-1.0, 1.0))))

    return _on_faces(view, _with_ears, turn, least)


def _turned(face: Image, side: float) -> Image:
    """Squeezed to one side; left and right edge, top and bottom stay where they are."""
    height, width = face.shape[:2]
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width * 2 - 1
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
    source = x - side * _SQUEEZE * (1 - x**2) * (1 - y**4)
    columns = ((source + 1) / 2 * width - 0.5).astype(np.float32)
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    turned = cv2.remap(face, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def _of_height(pixels: int) -> Condition:
    def show(view: View, rng: np.random.Generator, least: float) -> View | None:
        counted = counts(view, least)
        if not counted.any():
            return None
        heights = np.array([face.box.h for face in view.faces]) * counted
        largest = int(heights.argmax())
        zoom = pixels / float(heights[largest])
        if zoom > _MOST_ENLARGED:
            return None
        box = view.faces[largest].box
        width, height = FRAME
        # Somewhere in the frame, and wholly inside.
        room = (max(width - box.w * zoom, 0.0), max(height - box.h * zoom, 0.0))
        left, top = (float(rng.uniform(0.1, 0.9)) * r for r in room)
        shift = (left - box.x * zoom, top - box.y * zoom)
        faces = [moved(face, (zoom, zoom), shift) for face in view.faces]
        faces = [replace(f, ignore=f.ignore or i != largest) for i, f in enumerate(faces)]
        return replace(
            _showing(view, _window(_picture(view), zoom, shift)),
            faces=tuple(f for f in faces if _inside(f.box)),
        )

    return show


def _inside(box: Box) -> bool:
    width, height = FRAME
    return box.x < width and box.y < height and box.x + box.w > 0 and box.y + box.h > 0


def _window(picture: Image, zoom: float, shift: tuple[float, float]) -> Image:
    """``FRAME`` over a picture that was scaled, then shifted."""
    height, width = picture.shape[:2]
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, size, interpolation=how)
    columns = np.clip(np.arange(FRAME[0]) - round(shift[0]), 0, size[0] - 1)
    rows = np.clip(np.arange(FRAME[1]) - round(shift[1]), 0, size[1] - 1)
    return np.ascontiguousarray(np.asarray(scaled)[np.ix_(rows, columns)], np.uint8)


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "as_it_is": _as_it_is,
        "masked": _masked,
        "dark_noise": _dark_noise,
        "half_profile": _half_profile,
        **{f"height_{pixels}": _of_height(pixels) for pixels in HEIGHTS},
    }
)


def recall_under_conditions(
    detectors: Mapping[str, Detector],
    scenes: SceneSet,
    *,
    seed: int,
    fit: tuple[int, int] | None = None,
    min_height: float = MIN_HEIGHT,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Share of faces found, by detector and condition: ``{"n", "recall", "ci95"}``.

    Every detector is shown the same pixels. ``n`` differs between conditions: not every scene has
    a face that can be shown at every height.

    Args:
        detectors: by name, as they are used.
        scenes: the data.
        seed: of masks, noise and places.
        fit: frame to fit every picture into, see ``LabelledScene.view``.
        min_height: least size of a face that counts, a fraction of the picture's height.
        on_step: called with scenes done and scenes in all.
    """
    found: dict[tuple[str, str], list[tuple[int, int]]] = {
        (detector, name): [] for detector in detectors for name in CONDITIONS
    }
    for done, view in enumerate(views(scenes, fit, []), 1):
        for name, condition in CONDITIONS.items():
            scene = zlib.crc32(view.frame.source.encode())
            # Seeded by both names, so that one more of either does not change the others.
            rng = np.random.default_rng((seed, zlib.crc32(name.encode()), scene))
            shown = condition(view, rng, min_height)
            if shown is None:
                continue
            # The height was judged before the face was scaled.
            least = 0.0 if name.startswith("height_") else min_height
            counted = counts(shown, least)
            for each, detector in detectors.items():
                boxes = [face.box for face in detector.detect(shown.frame)]
                pairs = one_to_one(
                    overlaps(boxes, [face.box for face in shown.faces]), counted, MATCH
                )
                found[each, name].append((int((pairs >= 0).sum()), int(counted.sum())))
        on_step(done, len(scenes.scenes))
    return {
        detector: {name: _share(found[detector, name]) for name in CONDITIONS}
        for detector in detectors
    }


def _share(each: list[tuple[int, int]]) -> dict[str, Any]:
    share = Scored.share([hits for hits, _ in each], [faces for _, faces in each])
    return {
        "n": sum(faces for _, faces in each),
        "recall": share.value,
        "ci95": share.ci95 and list(share.ci95),
    }
