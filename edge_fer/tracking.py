"""Faces followed from frame to frame: searched for in the whole frame now and then, and in between
only where they are expected.

The whole frame is searched when

* there is nobody to follow, or the source, its size or its clock has jumped; a pause is a jump if
  it is much longer than the time from frame to frame, which may itself be many seconds,
* a face was not found where it was expected (once, in the frame after),
* ``interval`` frames have passed since the last time, so that newcomers are found, or
* searching the regions would cost more: too many faces, or too large ones.

Otherwise each face is looked for in a square 2.5 times its size around the place where a constant
velocity takes it. A network sees it larger there and finds it more often than in the whole frame,
so a face that the whole frame did not show is looked for there as well. New faces are taken up
from whole frames only, where nothing is cut off at the edge of a region.

A face is reported in the frames in which it was found, never where it is only believed to be.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter_ns

from edge_fer.errors import ConfigError
from edge_fer.tracks import Track, distinct, pairs_of
from edge_fer.types import Box, Detector, Face, Frame, RegionDetector

__all__ = ["Search", "Tracker", "detect_in_crop"]

_REGION = 2.5  # its side, in longer sides of the face's box
# A longer pause is a jump: three times the period in which frames come, within these bounds.
_GAP_PERIODS = 3
_LEAST_GAP_NS, _MOST_GAP_NS = 1_500_000_000, 30_000_000_000
_INCUMBENT = 1.5  # so much larger must a newcomer be to take another's place
# A network takes the same time for any region: two of a net of half the cost are one whole frame.
_MAX_REGIONS = 2
_MAX_CROPPED = 0.5  # share of the frame; a detector without regions takes time by the area


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the tracker did in one frame; nothing, before the first.

    Attributes:
        full_frame: whether the whole frame was searched.
        regions: how many regions were.
        missed: how many faces were looked for and not found.
        detect_ms: time in the detectors, milliseconds.
    """

    full_frame: bool = False
    regions: int = 0
    missed: int = 0
    detect_ms: float = 0.0


class Tracker:
    """A detector with a memory: ``update`` in place of ``detect``, the frames in their order.

    The same frames give the same faces and ids. No id is given twice. A face keeps its id over 10
    searches without success; the first one ends a face that was found only once, or that is
    leaving the frame.

    Args:
        detector: searches whole frames, and regions where there is no other for them. The tracker
            owns both.
        region_detector: searches regions. Its boxes must mean the same as the detector's, as those
            of the same weights with a smaller input do.
        interval: frames from one search of the whole frame to the next; 1: every frame.
        max_faces: how many are followed, the larger and better scored ones. A newcomer takes the
            place of a face that is in sight only if it is half as large again, so that two people
            of equal size do not take turns.
        first_id: of the first face: another tracker may have given those below.

    Attributes:
        search: what was done in the last frame.
        next_id: of the next newcomer.

    Raises:
        ConfigError: ``interval`` or ``max_faces`` is below 1.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        region_detector: Detector | None = None,
        interval: int = 10,
        max_faces: int = 8,
        first_id: int = 0,
    ) -> None:
        if interval < 1 or max_faces < 1:
            raise ConfigError(
                f"interval and max_faces must be at least 1, not {interval} and {max_faces}.",
                "Try 10 and 8.",
            )
        self.search = Search()
        self._detector, self._region_detector = detector, region_detector
        near = region_detector or detector
        # Whether a region shows more than that part of the whole frame did.
        self._magnifies = isinstance(near, RegionDetector)
        self._detect_in = (
            near.detect_in if isinstance(near, RegionDetector) else partial(detect_in_crop, near)
        )
        self._interval, self._max_faces = interval, max_faces
        self._tracks: list[Track] = []
        self.next_id, self._since_full = first_id, 0
        self._lost = False
        self._last: Frame | None = None
        self._periods: deque[int] = deque(maxlen=2)  # ns, from frame to frame

    def update(self, frame: Frame) -> tuple[Face, ...]:
        """The faces found in the next frame, with their ids, the longest followed first.

        Boxes and keypoints are smoothed over time, boxes lie in the frame; scores are the
        detector's own.

        Raises:
            DataError: the detector cannot use the frame.
            DeviceError: the processor failed.
        """
        if self._last is not None and self._is_cut(self._last, frame):
            self._tracks = []
        self._last = frame
        expected = [track.expected(frame.sequence) for track in self._tracks]
        regions = [_around(box) for box in expected]
        full = self._full_frame_is_due(frame, regions)
        started = perf_counter_ns()
        whole = distinct(self._detector.detect(frame)) if full else ()
        pairs = pairs_of(expected, whole)
        unseen = [i for i in range(len(expected)) if i not in pairs]
        if full:
            unseen = unseen[:_MAX_REGIONS] if self._magnifies else []
        near = [face for i in unseen for face in self._detect_in(frame, regions[i])]
        ended = perf_counter_ns()
        found = distinct((*whole, *sorted(near, key=lambda face: -face.score)))
        pairs = pairs_of(expected, found)
        self._follow(frame, found, pairs, full)
        if full:
            # Those of the whole frame stand first.
            new = [found[j] for j in range(len(whole)) if j not in pairs.values()]
            self._admit([Track.of(face, frame.sequence) for face in new])
        self._since_full = 0 if full else self._since_full + 1
        self.search = Search(
            full_frame=full,
            regions=len(unseen),
            missed=len(expected) - len(pairs),
            detect_ms=(ended - started) / 1e6,
        )
        faces = (track.face(frame) for track in self._tracks if track.misses == 0)
        return tuple(face for face in faces if face is not None)

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """That of whole frames, and that of regions where it is another."""
        near = self._region_detector
        return (self._detector,) if near is None else (self._detector, near)

    def close(self) -> None:
        """Close the detectors. Calling it twice is fine."""
        self._detector.close()
        if self._region_detector is not None:
            self._region_detector.close()

    def _is_cut(self, before: Frame, now: Frame) -> bool:
        """Whether what was seen before says nothing about this frame."""
        same = (before.source, before.width, before.height) == (now.source, now.width, now.height)
        elapsed = now.t_ns - before.t_ns
        if not same or elapsed < 0 or now.sequence < before.sequence:
            self._periods.clear()
            return True
        # The shorter of the last two: one pause says nothing of the period. Before it is known, a
        # pause may be one.
        period = min(self._periods, default=_MOST_GAP_NS // _GAP_PERIODS)
        self._periods.append(elapsed)
        return elapsed > min(max(_LEAST_GAP_NS, _GAP_PERIODS * period), _MOST_GAP_NS)

    def _full_frame_is_due(self, frame: Frame, regions: Sequence[Box]) -> bool:
        if not regions or self._lost or self._since_full + 1 >= self._interval:
            return True
        if self._magnifies:
            return len(regions) > _MAX_REGIONS
        parts = (_inside(region, frame) for region in regions)
        area = sum((right - x) * (below - y) for x, y, right, below in parts)
        return area > _MAX_CROPPED * frame.width * frame.height

    def _follow(
        self, frame: Frame, found: Sequence[Face], pairs: Mapping[int, int], full: bool
    ) -> None:
        """Every one of them was looked for: in the whole frame, or in its region."""
        self._lost = False
        for i, track in enumerate(self._tracks):
            if i in pairs:
                track.see(found[pairs[i]], frame.sequence)
            else:
                track.miss()
                self._lost |= track.misses == 1 and not full
        self._tracks = [track for track in self._tracks if not track.is_over(frame)]

    def _admit(self, newcomers: Sequence[Track]) -> None:
        """Within the budget, the largest first; the sort leaves equal ones in their order."""
        ranked = sorted([*self._tracks, *newcomers], key=_claim, reverse=True)[: self._max_faces]
        for track in ranked:
            if track.id is None:
                track.id = self.next_id
                self.next_id += 1
        self._tracks = sorted(ranked, key=lambda track: track.id or 0)


def detect_in_crop(detector: Detector, frame: Frame, region: Box) -> tuple[Face, ...]:
    """The faces in a region, by a detector of whole frames: it is given that part of the pixels.

    Args:
        detector: any.
        frame: the picture.
        region: in pixels of the frame, widened to whole ones; it may stick out.

    Returns:
        In pixels of the frame, in the detector's order.
    """
    x, y, right, below = _inside(region, frame)
    part = (slice(y, below), slice(x, right))
    colour = None if frame.colour is None else frame.colour[part]
    crop = replace(frame, luma=frame.luma[part], colour=colour, lores=None)
    if crop.luma.size == 0:
        return ()
    return tuple(_moved(face, x, y) for face in detector.detect(crop))


def _moved(face: Face, x: float, y: float) -> Face:
    box, points = face.box, face.keypoints
    return replace(
        face,
        box=replace(box, x=box.x + x, y=box.y + y),
        keypoints=points and tuple((px + x, py + y) for px, py in points),
    )


def _claim(track: Track) -> float:
    """To a place in the budget."""
    worth = track.expected(track.sequence).area * track.score
    return worth * _INCUMBENT if track.id is not None and track.misses == 0 else worth


def _around(box: Box) -> Box:
    side = _REGION * max(box.w, box.h)
    return Box(x=box.x + (box.w - side) / 2, y=box.y + (box.h - side) / 2, w=side, h=side)


def _inside(box: Box, frame: Frame) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what lies in the frame, in whole pixels; it may be empty."""
    x, y = max(0, math.floor(box.x)), max(0, math.floor(box.y))
    right = max(x, min(frame.width, math.ceil(box.x + box.w)))
    below = max(y, min(frame.height, math.ceil(box.y + box.h)))
    return x, y, right, below
