"""V4l2Camera on the kernel's vivid driver; run by vivid.sh, inside the guest that guest.sh boots.

Prints ``PASS name`` and what was seen for each check, and ends with 1 when one failed. Emulated:
times say that something happened, not how fast a camera is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from vivid_controls import FATAL, set_control

from edge_fer.cameras import open_camera
from edge_fer.cameras.v4l2 import V4l2Camera
from edge_fer.cameras.v4l2_nodes import video_nodes
from edge_fer.errors import CameraAway, ConfigError, DeviceError, EdgeFerError
from edge_fer.pictures import luma_of
from edge_fer.types import Camera

DRIVER = Path("/sys/bus/platform/drivers/vivid")
NODE = "/dev/video0"


def refusal(open_it: Callable[[], object]) -> EdgeFerError:
    try:
        open_it()
    except EdgeFerError as err:
        return err
    raise AssertionError("it was opened")


def elsewhere(program: str) -> str:
    """What another process prints."""
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


TRY = f"""
from edge_fer.cameras.v4l2 import V4l2Camera
from edge_fer.errors import EdgeFerError
try:
    V4l2Camera({NODE!r})
except EdgeFerError as err:
    print(err.exit_code, err)
"""


def frames_of_the_driver() -> str:
    camera = V4l2Camera(NODE, size=(640, 480), fps=25)
    assert camera.fourcc == "YUYV"
    assert camera.size == (640, 480)
    frames = [camera.read() for _ in range(30)]
    text = camera.describe()
    camera.close()
    now = time.monotonic_ns()
    stamps = [frame.t_ns for frame in frames]
    assert stamps == sorted(stamps)
    assert now - 5_000_000_000 < stamps[0] <= stamps[-1] <= now
    for frame in frames:
        assert frame.luma.shape == (480, 640)
        assert np.ptp(frame.luma) > 100
        assert frame.colour is not None
        assert np.abs(frame.luma.astype(int) - luma_of(frame.colour)).max() <= 2
    assert len({frame.luma.tobytes() for frame in frames}) > 20
    return f"{text}; interval {np.median(np.diff(stamps)) / 1e6:.1f} ms"


def formats_that_are_not_there() -> str:
    # Asked for JPEG first at this size, which vivid lacks.
    camera = V4l2Camera(NODE, size=(1280, 720), fps=25)
    assert camera.fourcc == "YUYV"
    assert camera.read().luma.shape == (720, 1280)
    camera.close()
    return str(refusal(lambda: V4l2Camera(NODE, format="mjpg")))


def names() -> str:
    first, second = video_nodes()
    assert (first.name, second.name) == ("vivid-000-vid-cap", "vivid-001-vid-cap")
    camera = V4l2Camera("usb:VIVID-001", size=(320, 180))
    assert str(second.path) in camera.describe()
    assert camera.read().width == 320
    camera.close()
    several, none = refusal(lambda: V4l2Camera("usb:vivid")), refusal(lambda: V4l2Camera("usb:no"))
    assert isinstance(several, ConfigError)
    assert isinstance(none, DeviceError)
    return f"{several} {none}"


def two_instances() -> str:
    camera = V4l2Camera(NODE)
    camera.read()
    same = refusal(lambda: V4l2Camera(NODE))
    assert f"this process (pid {os.getpid()})" in same.message
    other = elsewhere(TRY)
    assert other.startswith(f"4 {NODE} is in use by python3 (pid {os.getpid()})")
    assert camera.read().sequence == 1
    camera.close()
    assert elsewhere(TRY) == ""
    return other.strip()


def in_use_by_a_stranger() -> str:
    # Without our lock: the driver itself says that it is busy.
    program = f"import cv2, sys; v = cv2.VideoCapture({NODE!r}, cv2.CAP_V4L2); v.read(); "
    program += "print('streams', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"streams\n"
        error = refusal(lambda: V4l2Camera(NODE))
        assert f"python3 (pid {other.pid})" in error.message
        other.communicate()
    V4l2Camera(NODE).close()
    return str(error)


def not_permitted_and_no_camera() -> str:
    drop = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    said = elsewhere(f"{drop}{TRY}")
    assert said.startswith("4 ")
    assert "usermod -aG video" in said
    assert "is no camera" in refusal(lambda: V4l2Camera("/dev/null")).message
    assert NODE in refusal(lambda: V4l2Camera("/dev/video9")).remedy
    return said.strip()


def fatal_error_while_streaming() -> str:
    camera = V4l2Camera(NODE)
    camera.read()
    set_control(NODE, FATAL, 1)

    def until_it_fails() -> None:
        for _ in range(10):
            camera.read()

    error = refusal(until_it_fails)
    assert "stopped giving pictures" in error.message
    camera.close()
    V4l2Camera(NODE).close()
    return str(error)


def unplugged_and_back_under_another_number() -> str:
    camera = open_camera("usb:vivid-000-vid-cap?size=640x360")
    for _ in range(5):
        camera.read()
    device = next(entry.name for entry in DRIVER.iterdir() if entry.name.startswith("vivid."))
    # As long as somebody holds the old node, its number is taken.
    held = os.open(NODE, os.O_RDONLY)
    (DRIVER / "unbind").write_text(device)
    away = waited_for(camera, frames=False)
    assert not video_nodes()
    (DRIVER / "bind").write_text(device)
    back = waited_for(camera, frames=True)
    (node,) = (node for node in video_nodes() if node.name == "vivid-000-vid-cap")
    assert str(node.path) != NODE
    camera.close()
    os.close(held)
    return f"away told after {away:.1f} s, back after {back:.1f} s as {node}"


def waited_for(camera: Camera, *, frames: bool) -> float:
    """Seconds until a live camera gives frames, or none."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            camera.read()
            found = True
        except CameraAway:
            found = False
        if found == frames:
            return time.monotonic() - began
    raise AssertionError(f"still {'away' if frames else 'giving frames'} after 60 s")


CHECKS = (
    frames_of_the_driver,
    formats_that_are_not_there,
    names,
    two_instances,
    in_use_by_a_stranger,
    not_permitted_and_no_camera,
    fatal_error_while_streaming,
    unplugged_and_back_under_another_number,
)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    say(f"kernel {os.uname().release}, OpenCV {cv2.__version__}, numpy {np.__version__}")
    failed = 0
    for check in CHECKS:
        try:
            say(f"PASS {check.__name__}: {check()}")
        except Exception:
            failed += 1
            say(f"FAIL {check.__name__}")
            traceback.print_exc(file=sys.stdout)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
