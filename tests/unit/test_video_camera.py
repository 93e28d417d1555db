"""Videos: whole, cut off, trimmed, paced, and files that are none."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras.video import VideoCamera
from edge_fer.errors import DataError
from edge_fer.types import Frame

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def write(path: Path, frames: int = 40, fps: float = 20.0, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (96, 64))
    assert writer.isOpened()
    noise = np.random.default_rng(0)
    for _ in range(frames):
        writer.write(noise.integers(0, 256, (64, 96, 3), np.uint8))
    writer.release()
    return path


def drain(camera: VideoCamera) -> tuple[list[Frame], DataError | None]:
    frames: list[Frame] = []
    try:
        while (frame := camera.read()) is not None:
            frames.append(frame)
    except DataError as err:
        assert camera.read() is None
        return frames, err
    return frames, None


def boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every box of an mp4, parents before children."""
    while at < end:
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, at + length
        if kind in PARENTS:
            yield from boxes(data, at + 8, at + length)
        at += length


def index_first(data: bytes) -> bytes:
    """The same mp4 with its index before the pictures, as it is made for streaming."""
    _, begin, end = next(b for b in boxes(data, 0, len(data)) if b[0] == b"moov")
    assert end == len(data)
    moov = bytearray(data[begin:end])
    for kind, at, _ in boxes(bytes(moov), 0, len(moov)):
        if kind == b"stco":
            (count,) = struct.unpack_from(">I", moov, at + 12)
            for i in range(count):
                (offset,) = struct.unpack_from(">I", moov, at + 16 + 4 * i)
                struct.pack_into(">I", moov, at + 16 + 4 * i, offset + len(moov))
    (head,) = struct.unpack_from(">I", data, 0)
    return data[:head] + bytes(moov) + data[head:begin]


def test_a_whole_video(tmp_path: Path) -> None:
    camera = VideoCamera(write(tmp_path / "a.avi"))
    frames, error = drain(camera)
    assert error is None
    assert [frame.sequence for frame in frames] == list(range(40))
    assert [frame.t_ns for frame in frames] == pytest.approx(
        [n * 50_000_000 for n in range(40)], abs=1
    )
    assert frames[0].colour is not None
    assert frames[0].colour.shape == (64, 96, 3)


@pytest.mark.parametrize("name", ["a.avi", "a.mkv"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_video_that_ends_mid_frame(name: str, share: float, tmp_path: Path) -> None:
    path = write(tmp_path / name, codec="MJPG")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    frames, error = drain(VideoCamera(path))
    assert len(frames) == pytest.approx(share * 40, abs=3)
    assert error is not None
    assert f"ended after {len(frames)} of 40 frames" in error.message
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("name", "frames", "last_ms"), [("single_face.mp4", 72, 2367), ("face_noface.mov", 169, 6360)]
)
def test_real_clips(name: str, frames: int, last_ms: int, shared: Path) -> None:
    seen, error = drain(VideoCamera(shared / "data" / "clips" / name))
    assert error is None
    assert [frame.sequence for frame in seen] == list(range(frames))
    assert all(a.t_ns < b.t_ns for a, b in pairwise(seen))
    assert seen[-1].t_ns / 1e6 == pytest.approx(
        last_ms, abs=20
    )  # releases of FFMPEG differ by a frame


@pytest.mark.parametrize("name", ["single_face.mp4", "face_noface.mov"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_a_real_clip_cut_off(name: str, share: float, shared: Path, tmp_path: Path) -> None:
    data = index_first((shared / "data" / "clips" / name).read_bytes())
    path = tmp_path / name
    path.write_bytes(data)
    whole, error = drain(VideoCamera(path))
    assert error is None
    path.write_bytes(data[: int(share * len(data))])
    frames, error = drain(VideoCamera(path))
    assert 0 < len(frames) < len(whole)
    assert error is not None
    assert f"ended after {len(frames)} of {len(whole)} frames" in error.message


def test_a_trimmed_clip_is_not_cut_off(shared: Path, tmp_path: Path) -> None:
    data = bytearray((shared / "data" / "clips" / "single_face.mp4").read_bytes())
    for kind, at, _ in boxes(bytes(data), 0, len(data)):
        if kind == b"elst":
            (duration,) = struct.unpack_from(">I", data, at + 16)
            struct.pack_into(">I", data, at + 16, duration // 3)
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(data)
    frames, error = drain(VideoCamera(path))
    assert len(frames) == 24
    assert error is None


def test_cut_before_its_index(shared: Path, tmp_path: Path) -> None:
    data = (shared / "data" / "clips" / "single_face.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="not a video that can be read") as caught:
        VideoCamera(path)
    assert "cut off" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"hello\n" * 500])
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a"])
def test_not_a_video(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a video that can be read"):
        VideoCamera(path)


QUIET = """
import sys
from pathlib import Path
from edge_fer.cameras.video import VideoCamera
from edge_fer.errors import DataError
for name in sys.argv[1:]:
    try:
        camera = VideoCamera(Path(name))
        while camera.read() is not None:
            pass
    except DataError:
        continue
    sys.exit(f"{name} is bad, and nothing was said")
"""


def test_bad_files_leave_stderr_alone(shared: Path, tmp_path: Path) -> None:
    """In a process of its own: OpenCV settles how loud FFMPEG is at its first use."""
    data = (shared / "data" / "clips" / "single_face.mp4").read_bytes()
    contents = [b"", b"hello" * 500, data[: len(data) // 2], index_first(data)[: len(data) // 2]]
    names = []
    for number, content in enumerate(contents):
        names.append(str(tmp_path / f"{number}.mp4"))
        Path(names[-1]).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", QUIET, *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no video"):
        VideoCamera(tmp_path)


def test_no_frame_that_decodes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", frames=3)
    data = path.read_bytes()
    at = data.index(b"movi") + 4
    path.write_bytes(data[:at])
    try:
        camera = VideoCamera(path)
    except DataError:
        return
    frames, error = drain(camera)
    assert frames == []
    assert error is not None
    assert "No frame" in error.message


def test_paced(tmp_path: Path) -> None:
    """A clock that stands still but for the waits: every frame comes out when it is due."""
    now, waits = 1_000_000_000, []

    def wait(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += round(seconds * 1e9)

    path = write(tmp_path / "a.avi", frames=4)
    camera = VideoCamera(path, pace=True, clock_ns=lambda: now, wait=wait)
    frames, _ = drain(camera)
    assert waits == pytest.approx([0.05] * 3)
    assert now - 1_000_000_000 == pytest.approx(frames[-1].t_ns, abs=3)


def test_paced_but_late_never_drops(tmp_path: Path) -> None:
    now = 0

    def slow_clock() -> int:
        nonlocal now
        now += 80_000_000
        return now

    def never(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s although late")

    path = write(tmp_path / "a.avi", frames=4)
    frames, _ = drain(VideoCamera(path, pace=True, clock_ns=slow_clock, wait=never))
    assert len(frames) == 4
