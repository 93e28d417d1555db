"""PicameraCamera on real picamera2 and libcamera's virtual camera; run by libcamera.sh.

The virtual camera needs no hardware, but lacks what picamera2 expects of a Pi: a raw mode, DMA
buffers and the module pykms. Those three are stood in for, and nothing else. Emulated: it paces
nothing and shows its pictures in no order, so that only content, shapes and calls are checked.
Ends with 3 where one of those is wrong, and with something else where the camera hangs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import sys
import time
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np


class AnyName(type):
    """A class all of whose attributes are their own names."""

    def __getattr__(cls, name: str) -> str:
        return name


pykms: Any = ModuleType("pykms")
pykms.PixelFormat = AnyName("PixelFormat", (), {})
sys.modules["pykms"] = pykms

from edge_fer.cameras.live import LiveCamera  # noqa: E402
from edge_fer.cameras.orientation import Orientation  # noqa: E402
from edge_fer.cameras.picamera import PicameraCamera, _installed  # noqa: E402
from edge_fer.errors import CameraAway, DeviceError  # noqa: E402
from edge_fer.types import Frame  # noqa: E402

libcamera = import_module("libcamera")
implementation: Any = import_module("picamera2.picamera2")
Picamera2: Any = implementation.Picamera2
Allocator: Any = import_module("picamera2.allocators.allocator").Allocator


class Mapped:
    """A buffer's bytes; picamera2 leaves it without saying why."""

    def __init__(self, allocator: Any, buffer: Any, write: bool) -> None:
        self.planes = buffer.planes

    def __enter__(self) -> mmap.mmap:
        return mmap.mmap(self.planes[0].fd, sum(plane.length for plane in self.planes))

    def __exit__(self, *_: object) -> None:
        pass


class MemoryAllocator(Allocator):  # type: ignore[misc]
    """Frame buffers in plain memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sync = Mapped
        self.handles: list[int] = []
        self.pool: dict[Any, list[Any]] = {}

    def allocate(self, config: Any, use_case: str) -> None:
        for stream in config:
            luma = stream.stride * stream.size.height
            paired = str(stream.pixel_format) == "NV12"
            sizes = [luma, luma // 2] if paired else [stream.frame_size]
            self.pool[stream.stream] = [self.buffer(sizes) for _ in range(stream.buffer_count)]

    def buffer(self, sizes: list[int]) -> Any:
        handle = os.memfd_create("frame")
        os.ftruncate(handle, sum(sizes))
        self.handles.append(handle)
        planes = []
        for number, size in enumerate(sizes):
            plane = libcamera.FrameBuffer.Plane()
            plane.fd, plane.offset, plane.length = handle, sum(sizes[:number]), size
            planes.append(plane)
        return libcamera.FrameBuffer(planes)

    def buffers(self, stream: Any) -> Any:
        return self.pool[stream]

    def acquire(self, *_: Any) -> None:
        pass

    release = cleanup = acquire

    def close(self) -> None:
        while self.handles:
            os.close(self.handles.pop())


class Virtual:
    """``Picamera2`` with buffers that this machine has."""

    global_camera_info = staticmethod(Picamera2.global_camera_info)

    def __call__(self, camera_num: int) -> Any:
        return Picamera2(camera_num, allocator=MemoryAllocator())


def opened(index: int = 0, **options: Any) -> PicameraCamera:
    return PicameraCamera(index, picamera2=Virtual(), colour_space=_installed()[1], **options)


def looked_at(frame: Frame, *, turned: bool = False) -> int:
    """The frame's grey, once all of it is as it should be."""
    colour = frame.colour
    assert colour is not None
    assert frame.luma.shape == ((640, 480) if turned else (480, 640))
    assert colour.shape == (*frame.luma.shape, 3)
    assert frame.luma.flags.c_contiguous
    # In full range, as in the file: not 16 + 200 * 219 / 255.
    grey = int(np.median(frame.luma))
    assert min(abs(grey - known) for known in (60, 120, 200)) <= 1
    patch = colour[50, -50] if turned else colour[50, 50]
    assert np.abs(patch.astype(int) - (200, 40, 30)).max() <= 4
    assert 0 <= time.monotonic_ns() - frame.t_ns < 5_000_000_000
    return grey


def refused(index: int) -> str:
    try:
        opened(index)
    except DeviceError as err:
        return str(err)
    raise AssertionError("it was opened")


def main() -> None:
    faulthandler.dump_traceback_later(25, exit=True)
    Picamera2._get_raw_modes = lambda _: [{"format": "SRGGB8", "size": (640, 480)}]
    implementation.DmaAllocator = lambda *_: None
    camera = opened(flicker=50)
    say(f"PASS opened: {camera.describe()}")
    frames = [camera.read() for _ in range(30)]
    greys = {looked_at(frame) for frame in frames}
    assert len(greys) > 1
    say(f"PASS frames: {len(frames)}, greys {sorted(greys)}")
    say(f"PASS in_use: {refused(0)}")
    looked_at(camera.read())
    camera.close()
    say(f"PASS not_there: {refused(7)}")
    camera = opened(orientation=Orientation(rotate=90))
    looked_at(camera.read(), turned=True)
    camera.close()
    say("PASS reopened_and_turned")
    live = LiveCamera(opened, source="picamera2:0")
    seen = 0
    while seen < 10:
        with contextlib.suppress(CameraAway):
            frame = live.read()
            assert frame is not None
            looked_at(frame)
            seen += 1
    live.close()
    say(f"PASS live: {live.status()['captured'] >= 10}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    code = 0
    try:
        main()
    except AssertionError:
        traceback.print_exc()
        code = 3
    sys.stdout.flush()
    # libcamera's threads may outlive the interpreter's; what was to be shown is shown.
    os._exit(code)
