"""Boxes, labels and probability bars drawn on a copy of a frame, for people to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from edge_fer.types import UNKNOWN, Box, Expression, Face, Frame, Image

__all__ = ["annotate"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_KNOWN, _UNKNOWN, _INK = (80, 175, 76), (140, 140, 140), (255, 255, 255)
_PANEL, _TROUGH = (32, 32, 32), (80, 80, 80)
_PANEL_OPACITY = 0.75
_PAD = 3
# A panel that would hide more of some face than this is left out, unless there is only one face.
_MOST_HIDDEN = 0.1
_CLASSIFIED = (None, "low_confidence")


def annotate(frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> Image:
    """A picture of the frame with a box, a label and a panel of probability bars per face.

    The label has the track's number, and for ``unknown`` the reason. Panels stand beside the faces
    where there is room; in a crowd, those without room are left out. A face that was not classified
    has no bars.

    Args:
        frame: the picture; it is not changed.
        faces: pairs, as ``look`` gives them.

    Returns:
        ``uint8[H, W, 3]`` in BGR order.
    """
    if frame.colour is not None:
        picture = frame.colour.copy()
    else:
        picture = np.repeat(frame.luma[:, :, None], 3, axis=2)
    shown = list(faces)
    # Bars first, so that no panel lies over a box or a label.
    taken = [_label_box(picture, face, expression) for face, expression in shown]
    boxes = [face.box for face, _ in shown]
    for face, expression in shown:
        if expression.reason not in _CLASSIFIED:
            continue
        panel = _panel_box(picture, face.box, expression, boxes, taken)
        if panel is not None:
            _draw_bars(picture, panel, expression)
            taken.append(panel)
    for face, expression in shown:
        _draw(picture, face, expression)
    return picture


def _text(face: Face, expression: Expression) -> str:
    text = "" if face.track is None else f"#{face.track} "
    if expression.label == UNKNOWN:
        why = (expression.reason or "").replace("_", " ")
        return text + (f"{UNKNOWN}: {why}" if why else UNKNOWN)
    return text + f"{expression.label} {100 * expression.probabilities[expression.label]:.0f}%"


def _label_size(picture: Image, face: Face, text: str) -> tuple[float, int, tuple[int, int], int]:
    """Scale and stroke of a label, its width and height, and what hangs below its baseline."""
    least = _scale(picture)
    size = float(np.clip(face.box.w / 170, least, 1.4))
    stroke = max(1, round(size * 1.6))
    (w, h), base = cv2.getTextSize(text, _FONT, size, stroke)
    if w > 1.5 * face.box.w and size > least:  # it would run into the neighbour's
        size = max(least, size * 1.5 * face.box.w / w)
        stroke = max(1, round(size * 1.6))
        (w, h), base = cv2.getTextSize(text, _FONT, size, stroke)
    return size, stroke, (w, h), base


def _label_box(picture: Image, face: Face, expression: Expression) -> Box:
    """Above the face's box where there is room, else just inside its top."""
    height, width = picture.shape[:2]
    _, _, (w, h), base = _label_size(picture, face, _text(face, expression))
    w, h = w + 2 * _PAD, h + base + 2 * _PAD
    x, y = round(face.box.x), round(face.box.y)
    left = int(np.clip(x - _line(face) // 2, 0, max(0, width - w)))
    top = y - h if y >= h else min(max(y, 0), max(0, height - h))
    return Box(x=left, y=top, w=w, h=h)


def _draw(picture: Image, face: Face, expression: Expression) -> None:
    box, colour = face.box, _UNKNOWN if expression.label == UNKNOWN else _KNOWN
    x, y, right, below = (round(v) for v in (box.x, box.y, box.x + box.w, box.y + box.h))
    cv2.rectangle(picture, (x, y), (right, below), colour, _line(face), cv2.LINE_AA)
    text, at = _text(face, expression), _label_box(picture, face, expression)
    size, stroke, _, base = _label_size(picture, face, text)
    left, bottom = int(at.x), int(at.y + at.h)
    cv2.rectangle(picture, (left, int(at.y)), (int(at.x + at.w), bottom), colour, -1)
    foot = (left + _PAD, bottom - base - _PAD)
    cv2.putText(picture, text, foot, _FONT, size, _INK, stroke, cv2.LINE_AA)


def _line(face: Face) -> int:
    return max(2, round(face.box.w / 60))


def _scale(picture: Image) -> float:
    """Of small letters: from 320x240 up they can be read, and grow with the picture."""
    return float(np.clip(min(picture.shape[:2]) / 1000, 0.34, 0.9))


def _rows(picture: Image, expression: Expression) -> tuple[int, int, int]:
    """Of a panel: the height of a row, the width of the names, and that of the bars."""
    scale = _scale(picture)
    sizes = [cv2.getTextSize(name, _FONT, scale, 1)[0] for name in expression.probabilities]
    tall, wide = max(h for _, h in sizes), max(w for w, _ in sizes)
    return round(1.6 * tall) + 2, wide, max(24, wide)


def _panel_box(
    picture: Image, face: Box, expression: Expression, faces: Sequence[Box], taken: Sequence[Box]
) -> Box | None:
    """Where the bars go: beside the face, below or above it, in a corner; the first free place.

    None where every place hides too much of some face, or the picture is too small.
    """
    height, width = picture.shape[:2]
    row, names, bars = _rows(picture, expression)
    w, h = names + bars + 3 * _PAD, row * len(expression.probabilities) + 2 * _PAD
    if w > width or h > height:
        return None
    gap = 4
    beside = (face.x + face.w + gap, face.x - w - gap)
    places = [
        *((x, y) for x in beside for y in (face.y, face.y + face.h - h)),
        (face.x, face.y + face.h + gap),
        (face.x, face.y - h - gap),
    ]
    if len(faces) == 1:  # in a corner, of several faces one would have to guess whose it is
        places += [(x, y) for x in (width - w, 0) for y in (0, height - h)]
    best: tuple[float, Box] | None = None
    for x, y in places:
        at = Box(
            x=float(np.clip(round(x), 0, width - w)),
            y=float(np.clip(round(y), 0, height - h)),
            w=w,
            h=h,
        )
        hidden = max(_share(other, at) for other in faces)
        cost = hidden + sum(_share(at, other) for other in taken)
        if best is None or cost < best[0] - 1e-6:
            best = cost, at
    if best is None or (best[0] > _MOST_HIDDEN and len(faces) > 1):
        return None
    return best[1]


def _share(box: Box, under: Box) -> float:
    """How much of a box another one hides."""
    across = min(box.x + box.w, under.x + under.w) - max(box.x, under.x)
    down = min(box.y + box.h, under.y + under.h) - max(box.y, under.y)
    return max(0.0, across) * max(0.0, down) / max(box.area, 1e-9)


def _draw_bars(picture: Image, panel: Box, expression: Expression) -> None:
    left, top = int(panel.x), int(panel.y)
    area = picture[top : top + int(panel.h), left : left + int(panel.w)]
    shade = np.full_like(area, _PANEL)
    area[:] = cv2.addWeighted(shade, _PANEL_OPACITY, area, 1 - _PANEL_OPACITY, 0)
    row, names, bars = _rows(picture, expression)
    scale, start = _scale(picture), left + names + 2 * _PAD
    for i, (name, p) in enumerate(expression.probabilities.items()):
        upper = top + _PAD + i * row
        foot = (left + _PAD, upper + round(0.75 * row))
        cv2.putText(picture, name, foot, _FONT, scale, _INK, 1, cv2.LINE_AA)
        ends = (upper + max(1, row // 6), upper + row - max(1, row // 6) - 1)
        cv2.rectangle(picture, (start, ends[0]), (start + bars - 1, ends[1]), _TROUGH, -1)
        filled = round(bars * float(np.clip(p, 0, 1)))
        if filled:
            colour = _KNOWN if name == expression.label else _UNKNOWN
            cv2.rectangle(picture, (start, ends[0]), (start + filled - 1, ends[1]), colour, -1)
