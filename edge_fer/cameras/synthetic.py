"""A generated scene with moving faces: real work for a detector, and nobody's picture.

The background is drawn from a seed (gradients, soft shapes, blurred noise). The faces are class
means of FER2013 (``mean_faces.npz``, made by ``edge_fer_train.mean_faces``), 80 to 200 pixels
wide, blended in through a soft disc, each in a cell of its own so that they never overlap.

A mean face fills its square, and Haar needs its hair and cheeks (fading those out too, it found
a quarter of them; measured). So its border is carried on outwards, and only that fades.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns, sleep

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.errors import ConfigError, EdgeFerError
from edge_fer.types import Box, Frame, Image

__all__ = ["SyntheticCamera", "background"]

_SMALLEST, _LARGEST = 80, 200  # side of a face's square in pixels
_FRAMES_PER_EXPRESSION = 45
# Haar's box is 1/1.04 of FER2013's crop, around the same centre (measured on FER2013 faces).
_CROP_TO_BOX = 1 / 1.04
# Side of the patch that is blended in, relative to the face's square within it.
_PATCH = 4 / 3
# Blue, green, red of skin relative to its luma; keeps BT.601 luma within 1 %.
_SKIN = np.array([0.80, 0.96, 1.16], np.float32)
_MEANS = Path(__file__).with_name("mean_faces.npz")


class SyntheticCamera:
    """An endless, or ``frames`` long, scene; the same seed gives the same pictures.

    Args:
        size: width and height in pixels, before the turn.
        faces: how many, each in its own cell of the picture.
        seed: of the background and the movement.
        frames: after so many the source ends; None goes on for ever.
        orientation: how to turn the frames.
        fps: None draws as fast as it is read. With a rate it is a live source on a clock of its
            own: frames come when they are due, and those that a slow reader missed are skipped.
        clock_ns: stamps the frames, and paces them; a monotonic clock in ns.
        wait: sleeps for so many seconds, until a frame is due.

    Raises:
        ConfigError: that many faces have no room in the picture.
    """

    source = "synthetic"

    def __init__(
        self,
        *,
        size: tuple[int, int] = (640, 480),
        faces: int = 2,
        seed: int = 0,
        frames: int | None = None,
        fps: int | None = None,
        orientation: Orientation = UPRIGHT,
        clock_ns: Callable[[], int] = monotonic_ns,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        random = np.random.default_rng(seed)
        self._orientation, self._frames, self._clock_ns = orientation, frames, clock_ns
        with np.load(_MEANS) as stored:
            self._patches = [_patch(face) for face in stored["faces"]]
            self._labels = tuple(str(label) for label in stored["labels"])
        self._mask = _soft_disc(len(self._patches[0]))
        self._scene = background(size, random)
        self._actors = tuple(_actor(cell, random) for cell in _cells(size, faces))
        self._fps, self._wait = fps, wait
        self._started_ns: int | None = None
        self._number = 0
        self._truth: tuple[tuple[Box, str], ...] = ()
        self._closed = False

    @property
    def truth(self) -> tuple[tuple[Box, str], ...]:
        """Where the faces of the last frame are, as Haar would box them, and their classes."""
        return self._truth

    def read(self) -> Frame | None:
        """Draw the next frame, or None after the last."""
        if self._closed:
            raise EdgeFerError("The synthetic source was closed.")
        t_ns = self._keep_time(self._fps) if self._fps else self._clock_ns()
        if self._frames is not None and self._number >= self._frames:
            self._truth = ()
            return None
        number = self._number
        self._number += 1
        height, width = self._scene.shape[:2]
        picture = self._scene.copy()
        truth = []
        for actor in self._actors:
            x, y, side = actor.place(number)
            which = actor.expression(number, len(self._patches))
            self._paste(picture, x, y, side, actor.gain * self._patches[which])
            wide = side / _PATCH * _CROP_TO_BOX
            box = Box(x=x + (side - wide) / 2, y=y + (side - wide) / 2, w=wide, h=wide)
            truth.append((self._orientation.apply_box(box, width, height), self._labels[which]))
        self._truth = tuple(truth)
        return self._orientation.frame(picture, t_ns=t_ns, sequence=number, source=self.source)

    def close(self) -> None:
        """Nothing is held open; ``read`` fails from now on."""
        self._closed = True

    def _keep_time(self, fps: int) -> int:
        """Wait until the next frame, or skip to the newest that is due; when that was, in ns."""
        now = self._clock_ns()
        if self._started_ns is None:
            self._started_ns = now
        self._number = max(self._number, (now - self._started_ns) * fps // 10**9)
        due = self._started_ns - (-self._number * 10**9 // fps)
        if due > now:
            self._wait((due - now) / 1e9)
        return due

    def _paste(self, picture: Image, x: int, y: int, side: int, patch: NDArray[np.float32]) -> None:
        luma = cv2.resize(patch, (side, side), interpolation=cv2.INTER_CUBIC)
        opacity = cv2.resize(self._mask, (side, side), interpolation=cv2.INTER_LINEAR)[:, :, None]
        under = picture[y : y + side, x : x + side]
        mixed = under + opacity * (luma[:, :, None] * _SKIN - under)
        picture[y : y + side, x : x + side] = np.clip(mixed, 0, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Actor:
    """One face: the cell it stays in, how it moves (periods in frames), and how bright it is."""

    cell: tuple[int, int, int, int]
    periods: tuple[float, float, float]
    phases: tuple[float, float, float]
    gain: np.float32
    first: int

    def place(self, frame: int) -> tuple[int, int, int]:
        """Left, top and side of the patch in whole pixels."""
        x, y, width, height = self.cell
        across, down, near = (
            0.5 + 0.5 * math.sin(2 * math.pi * (frame / period + phase))
            for period, phase in zip(self.periods, self.phases, strict=True)
        )
        largest = min(_LARGEST * _PATCH, width, height)
        side = math.ceil(_SMALLEST * _PATCH)
        side += math.floor(near * (largest - side))
        return x + round(across * (width - side)), y + round(down * (height - side)), side

    def expression(self, frame: int, classes: int) -> int:
        """Which class it shows: all of them in turn."""
        return (self.first + frame // _FRAMES_PER_EXPRESSION) % classes


def _actor(cell: tuple[int, int, int, int], random: np.random.Generator) -> _Actor:
    across, down, near = random.uniform(0, 1, 3)
    return _Actor(
        cell=cell,
        periods=(random.uniform(150, 300), random.uniform(150, 300), random.uniform(200, 400)),
        phases=(float(across), float(down), float(near)),
        gain=np.float32(random.uniform(0.7, 1.05)),
        first=int(random.integers(64)),
    )


def _cells(size: tuple[int, int], faces: int) -> list[tuple[int, int, int, int]]:
    """Equal cells (x, y, w, h), one per face, as square as they can be."""
    width, height = size
    if faces == 0:
        return []
    columns = max(
        range(1, faces + 1),
        key=lambda n: min(width // n, height // math.ceil(faces / n)),
    )
    w, h = width // columns, height // math.ceil(faces / columns)
    if min(w, h) < math.ceil(_SMALLEST * _PATCH):
        raise ConfigError(
            f"{faces} faces of {_SMALLEST} pixels have no room in a scene of {width}x{height}.",
            "Ask for fewer faces or a larger size: synthetic?size=1280x720&faces=8",
        )
    return [(i % columns * w, i // columns * h, w, h) for i in range(faces)]


def _patch(face: Image) -> NDArray[np.float32]:
    """``float32`` luma of a face with its border carried on outwards."""
    pad = round(len(face) * (_PATCH - 1) / 2)
    return cv2.copyMakeBorder(face, pad, pad, pad, pad, cv2.BORDER_REPLICATE).astype(np.float32)


def _soft_disc(side: int) -> NDArray[np.float32]:
    """``float32[side, side]`` opacity of a patch: 1 over the face, falling to 0 at its edge."""
    at = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    fall = np.clip((1.0 - np.hypot(at[None, :], at[:, None])) / 0.3, 0, 1)
    return np.asarray(fall * fall * (3 - 2 * fall), np.float32)


def background(size: tuple[int, int], random: np.random.Generator) -> Image:
    """A scene without faces: a colour gradient, soft discs and bars, and cloudy noise.

    Args:
        size: width and height in pixels.
        random: draws it.

    Returns:
        ``uint8[H, W, 3]``, BGR.
    """
    width, height = size
    corners = random.uniform(70, 170, (2, 2, 3)).astype(np.float32)
    scene = np.asarray(cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR), np.float32)
    shapes = np.zeros((height, width, 3), np.float32)
    for _ in range(10):
        centre = (int(random.integers(width)), int(random.integers(height)))
        axes = (int(random.integers(width // 12, width // 4)), int(random.integers(8, height // 3)))
        shade = tuple(float(v) for v in random.uniform(-45, 45, 3))
        turn = float(random.uniform(0, 180))
        cv2.ellipse(shapes, centre, axes, turn, 0, 360, shade, thickness=-1)
    scene += cv2.GaussianBlur(shapes, (0, 0), max(2.0, width / 160))
    # Rooms are greyer than random colours are.
    scene = 0.4 * scene + 0.6 * scene.mean(axis=2, keepdims=True)
    for cell, strength in ((64, 10.0), (16, 3.0), (3, 3.0)):
        grid = (max(2, height // cell), max(2, width // cell))
        cloud = random.normal(0, strength, grid).astype(np.float32)
        scene += cv2.resize(cloud, size, interpolation=cv2.INTER_CUBIC)[:, :, None]
    return np.asarray(np.clip(np.rint(scene), 0, 255), np.uint8)
