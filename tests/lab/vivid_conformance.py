"""What every camera must do, asked of V4l2Camera on the kernel's vivid driver; run by vivid.sh.

The cases are those of tests/contract/test_camera.py. A camera that is never lost is lost here after
four frames, by the driver's own knob.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import test_camera
from test_camera import (  # noqa: F401 (pytest finds the cases here)
    test_a_frame_outlives_the_next,
    test_close_twice_and_read_after,
    test_frames_are_whole_and_in_order,
    test_live_close_twice_and_read_after,
    test_live_frames_are_whole_and_in_order,
    test_over_stays_over,
)
from vivid_controls import FATAL, set_control

from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.cameras.v4l2 import V4l2Camera
from edge_fer.cameras.v4l2_nodes import video_nodes
from edge_fer.errors import DeviceError
from edge_fer.types import Frame

FRAMES = 4
# Menu entries of vivid: no movement and to the right; all text and none.
MOVING = {"Horizontal Movement": 5, "OSD Text Mode": 0}
STILL = {"Horizontal Movement": 3, "OSD Text Mode": 2}


class Lost(V4l2Camera):
    """The camera's own frames, and then its end."""

    def read(self) -> Frame:
        if self._read == FRAMES:
            set_control(str(self._node.path), FATAL, 1)
            # What was filled already is still given.
            for _ in range(10):
                super().read()
        return super().read()


def first_free(orientation: Orientation, knobs: dict[str, int]) -> V4l2Camera:
    for node in video_nodes():
        for name, value in knobs.items():
            set_control(str(node.path), name, value)
        try:
            return Lost(str(node.path), size=(320, 180), orientation=orientation)
        except DeviceError as err:
            if "in use" not in err.message:
                raise
    raise AssertionError("both cameras are in use")


def moving(folder: Path, orientation: Orientation) -> V4l2Camera:
    return first_free(orientation, MOVING)


def still(folder: Path, orientation: Orientation) -> V4l2Camera:
    return first_free(orientation, STILL)


KIND = test_camera.Kind(make=moving, frames=FRAMES, ends=False)
test_camera.KINDS["vivid still"] = test_camera.Kind(make=still, frames=FRAMES, ends=False)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[test_camera.Opened]:
    camera = KIND.make(tmp_path, UPRIGHT)
    yield camera, KIND
    camera.close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[LiveCamera, test_camera.Kind]]:
    camera = LiveCamera(lambda: KIND.make(tmp_path, UPRIGHT), source="it", patience_s=0.05)
    yield camera, KIND
    camera.close()


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_turned_as_numpy_turns(rotate: int, mirror: bool, tmp_path: Path) -> None:
    test_camera.test_turned_as_numpy_turns("vivid still", rotate, mirror, tmp_path)
