"""Exposure that libcamera on a Pi does not offer: a longest shutter time, metering on a face.

Both are slow loops around its own automatic exposure, fed once a frame. Checked against the
sources of libcamera and picamera2: there is no control for a longest shutter time (picamera2 issue
634), and the metering modes have fixed places in the picture (picamera2 issue 302).
"""

from __future__ import annotations

import math

__all__ = ["FaceMeter", "ShutterCap"]

# Frames until a change shows: two or three in the sensor's queue, then the automatic settles.
_SETTLE = 12
# Below this gain the light is enough for a shorter shutter than the longest. Some sensors start
# at 1.12 (IMX708).
_FREE_GAIN = 1.15
_SLACK = 1.02

# The mean of FER2013's training pictures (129.4, all 32,298): what classifiers have seen.
_TARGET = 129.0
# sRGB's slope, nearly: a stop of light is 1 / 2.2 stops of pixel value.
_GAMMA = 2.2
_EVERY, _PATIENCE = 10, 3
_DEAD_STOPS, _STEP_STOPS, _MOST_STOPS = 0.3, 0.5, 2.0


class ShutterCap:
    """Holds the shutter at its longest allowed time while the light would want a longer one.

    The shutter is fixed at the cap and the gain is left to the automatic. Once that needs no more
    gain, the shutter is free again. Above the cap it is never for more than 12 frames in a row.

    Args:
        longest_us: microseconds.
    """

    def __init__(self, longest_us: int) -> None:
        self.longest_us = longest_us
        self.holds = False
        self._since = _SETTLE

    def update(self, exposure_us: float, gain: float) -> int | None:
        """What ``ExposureTime`` to set after a frame: 0 frees it, None leaves it.

        Args:
            exposure_us: the frame's ``ExposureTime``.
            gain: the frame's ``AnalogueGain``.
        """
        self._since += 1
        if self._since <= _SETTLE:
            return None
        if not self.holds and exposure_us > self.longest_us * _SLACK:
            self.holds, self._since = True, 0
            return self.longest_us
        if self.holds and gain <= _FREE_GAIN:
            self.holds, self._since = False, 0
            return 0
        return None


class FaceMeter:
    """Moves ``ExposureValue`` until a face is as bright as classifiers know faces.

    For kiosks against a window, where the automatic exposes for the window. Within two stops;
    without a face it goes back to none.
    """

    def __init__(self) -> None:
        self.stops = 0.0
        self._frames = self._without = 0

    def update(self, luma: float | None) -> float | None:
        """What ``ExposureValue`` to set after a frame; None leaves it.

        Args:
            luma: mean of the face's pixels, 0 to 255; None where there is no face.
        """
        self._frames += 1
        if self._frames % _EVERY:
            return None
        before = self.stops
        if luma is None:
            self._without += 1
            if self._without > _PATIENCE:
                self.stops -= math.copysign(min(abs(before), _STEP_STOPS / 2), before)
        else:
            self._without = 0
            # Black and white tell a direction, not how far.
            off = _GAMMA * math.log2(_TARGET / min(max(luma, 8.0), 250.0))
            if abs(off) > _DEAD_STOPS:
                step = math.copysign(min(abs(off) / 2, _STEP_STOPS), off)
                self.stops = min(max(before + step, -_MOST_STOPS), _MOST_STOPS)
        return None if self.stops == before else self.stops
