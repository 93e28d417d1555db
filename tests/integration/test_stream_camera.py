"""Network cameras for real, on loopback: RTSP by GStreamer, motion JPEG by the standard library.

RTSP needs Debian's python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-rtsp.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from motion_jpeg import MotionJpeg, endless, jpeg

from edge_fer.cameras import open_camera
from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.stream import StreamCamera
from edge_fer.errors import CameraAway, ConfigError, DeviceError, EdgeFerError
from edge_fer.types import Camera, Frame

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
GENEROUS_S = 40.0


class Rtsp:
    """The server as a process that can be killed and started again on its port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the RTSP server did not start"
        self.port = int(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def url(self, path: str) -> str:
        return f"rtsp://admin:s3cret@127.0.0.1:{self.port}/{path}"


@pytest.fixture(scope="module")
def rtsp() -> Iterator[Rtsp]:
    needs = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", needs], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no GStreamer for the system's Python: apt-get install the packages above")
    server = Rtsp()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _nothing_is_left_in_the_environment() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ
    end = time.monotonic() + GENEROUS_S
    while set(threading.enumerate()) - before:
        assert time.monotonic() < end
        time.sleep(0.01)


def say(text: str) -> None:
    """For the log of the run: ``pytest -rP``."""
    print(text)  # noqa: T201


@contextmanager
def opened(uri: str, **how: Any) -> Iterator[LiveCamera]:
    camera = open_camera(uri, **how)
    assert isinstance(camera, LiveCamera)
    try:
        yield camera
    finally:
        camera.close()


def patient(camera: Camera) -> Frame:
    end = time.monotonic() + GENEROUS_S
    while True:
        try:
            frame = camera.read()
        except CameraAway:
            assert time.monotonic() < end, "it never came back"
        else:
            assert frame is not None
            return frame


def working_until(camera: LiveCamera, done: Callable[[dict[str, Any]], bool]) -> float:
    """Read as a worker does until the status says so; the seconds it took."""
    started = time.monotonic()
    while not done(camera.status()):
        assert time.monotonic() < started + GENEROUS_S, camera.status()
        with suppress(CameraAway):
            assert camera.read() is not None
    return time.monotonic() - started


@pytest.mark.parametrize("path", ["mjpeg", "h264", "udp"])
def test_rtsp_plays(rtsp: Rtsp, path: str) -> None:
    with opened(f"{rtsp.url(path)}?mirror=0&rotate=90") as camera:
        frames = [patient(camera) for _ in range(10)]
        assert camera.status()["state"] == "streaming"
    for frame in frames:
        assert (frame.width, frame.height) == (240, 320)
        assert frame.colour is not None
        assert frame.luma.max() > 200  # the ball
        assert frame.source == f"rtsp://***@127.0.0.1:{rtsp.port}/{path}"
    assert all(a.sequence < b.sequence and a.t_ns < b.t_ns for a, b in pairwise(frames))


def test_an_rtsp_server_is_killed_and_comes_back(rtsp: Rtsp) -> None:
    with opened(rtsp.url("mjpeg")) as camera:
        before = patient(camera)
        rtsp.kill()
        detected = working_until(camera, lambda status: status["last_error"] is not None)
        assert camera.status()["state"] == "away"
        with suppress(CameraAway):
            camera.read()  # a frame may have been waiting
        with pytest.raises(CameraAway, match=r"reached|ended") as away:
            camera.read()
        assert "s3cret" not in str(away.value)
        rtsp.start()
        recovered = working_until(camera, lambda status: status["state"] == "streaming")
        after = patient(camera)
        assert after.sequence > before.sequence
        assert after.t_ns > before.t_ns
        status = camera.status()
        assert (status["reopened"], status["abandoned"]) == (1, 0)
        assert "s3cret" not in str(status)
    say(f"RTSP server killed: told in {detected:.2f} s; back {recovered:.2f} s after it was")


def test_an_rtsp_server_that_falls_silent(rtsp: Rtsp) -> None:
    with opened(rtsp.url("mjpeg"), stall_after=2.5) as camera:
        patient(camera)
        rtsp.process.send_signal(signal.SIGSTOP)
        try:
            detected = working_until(camera, lambda status: status["last_error"] is not None)
            assert "gave no picture for 2 s" in camera.status()["last_error"]
        finally:
            rtsp.process.send_signal(signal.SIGCONT)
        recovered = working_until(camera, lambda status: status["state"] == "streaming")
        assert camera.status()["abandoned"] == 0
    say(f"RTSP server silent: told in {detected:.2f} s; back {recovered:.2f} s after it was")


def test_an_address_without_pictures(rtsp: Rtsp, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match="answers, but gives no pictures") as caught:
        open_camera(rtsp.url("nothing?token=s3cret"))
    assert caught.value.exit_code == 4
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeviceError, match=r"cannot be reached: 127\.0\.0\.1 port") as unreachable:
        open_camera(f"rtsp://admin:s3cret@127.0.0.1:{port}/user=admin_password=s3cret_stream=0.sdp")
    said = str(caught.value) + str(unreachable.value) + "".join(capfd.readouterr())
    assert "s3cret" not in said


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DeviceError, match="answers, but gives no pictures"):
            StreamCamera(f"http://127.0.0.1:{port}/a.mjpg", open_timeout_s=0.5)


def test_no_address_of_a_stream() -> None:
    for url in ("rtsp:///path", "rtsp://host:port/", "ftp://host/", "rtsp://host:99999/"):
        with pytest.raises(ConfigError, match="no address of a stream"):
            StreamCamera(url)


def test_motion_jpeg_and_its_own_query() -> None:
    credentials = "Basic " + b64encode(b"me:p@ss").decode()
    with MotionJpeg(endless, credentials) as server:
        uri = f"http://me:p%40ss@{server.host}/video.cgi?fps=5&mirror=1&name=a%20b&rotate=0&x&%6Dirror=1"
        with opened(uri) as camera:
            frames = [patient(camera) for _ in range(10)]
    assert all((f.width, f.height) == (160, 120) for f in frames)
    assert len({f.luma.tobytes() for f in frames}) == 10
    assert frames[0].source == f"http://***@{server.host}/video.cgi"
    assert set(server.requests) == {"/video.cgi?fps=5&name=a%20b&x&%6Dirror=1"}


def test_a_wrong_password() -> None:
    with MotionJpeg(endless, "Basic other") as server:
        with pytest.raises(DeviceError, match="Check path, user and password") as caught:
            open_camera(f"http://me:s3cret@{server.host}/")
        assert "s3cret" not in str(caught.value)


def test_the_end_of_motion_jpeg_is_a_loss() -> None:
    def few() -> Iterator[bytes]:
        yield from (jpeg(n) for n in range(20))

    with MotionJpeg(few) as server, opened(f"http://{server.host}/") as camera:
        working_until(camera, lambda status: status["reopened"] == 2)
        assert "ended" in camera.status()["last_error"]


def test_spoilt_pictures_are_passed_over() -> None:
    def messy() -> Iterator[bytes]:
        while True:
            for number in range(10):
                yield jpeg(number)
            for number in range(3):
                yield b"no picture"
                yield jpeg(number)[:5]

    with MotionJpeg(messy) as server, opened(f"http://{server.host}/") as camera:
        working_until(camera, lambda status: status["captured"] >= 45)
        status = camera.status()
        assert status["reopened"] == 0
        assert status["missed"] >= 3 * 6


def test_a_picture_of_another_size_comes_in_the_first_ones() -> None:
    def growing() -> Iterator[bytes]:
        for number in range(20):
            yield jpeg(number)
        while True:
            yield jpeg(5, (320, 240))

    with MotionJpeg(growing) as server, opened(f"http://{server.host}/") as camera:
        working_until(camera, lambda status: status["captured"] >= 25)
        frame = patient(camera)
        assert (frame.width, frame.height) == (160, 120)
        assert camera.status()["reopened"] == 0


def test_openings_leak_neither_threads_nor_files() -> None:
    def files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    with MotionJpeg(endless) as server:
        counts = []
        for _ in range(100 if os.environ.get("EDGE_FER_LONG") == "1" else 8):
            with opened(f"http://{server.host}/") as camera:
                patient(camera)
            end = time.monotonic() + GENEROUS_S
            # The server's side of the connection is in this process too.
            while any("process_request" in t.name for t in threading.enumerate()):
                assert time.monotonic() < end
                time.sleep(0.01)
            counts.append(files())
    assert counts[-1] <= counts[1]


def test_read_after_close() -> None:
    with MotionJpeg(endless) as server:
        camera = StreamCamera(f"http://{server.host}/")
        assert camera.read() is not None
        camera.close()
        camera.close()
        with pytest.raises(EdgeFerError, match="closed"):
            camera.read()
