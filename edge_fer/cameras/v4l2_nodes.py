"""Which V4L2 cameras there are, by names that stay, and the right to use one of them."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_fer.errors import ConfigError, DeviceError

__all__ = ["Claim", "DeviceClaim", "VideoNode", "claim", "find_node", "video_nodes"]

_DEV, _SYS, _PROC = Path("/dev"), Path("/sys"), Path("/proc")

# linux/videodev2.h: _IOR('V', 0, struct v4l2_capability) and _IOWR('V', 8, v4l2_requestbuffers).
_QUERYCAP, _REQBUFS = 0x80685600, 0xC0145608
_CAPABILITY = struct.Struct("=16s32s32s6I")
_BUFFERS = struct.Struct("=5I")
# V4L2_BUF_TYPE_VIDEO_CAPTURE and .._MPLANE, V4L2_MEMORY_MMAP
_CAPTURE, _CAPTURE_PLANES, _MMAP = 1, 9, 1
# V4L2_CAP_VIDEO_CAPTURE, .._MPLANE, and V4L2_CAP_DEVICE_CAPS: the node's own stand apart.
_CAN_CAPTURE, _CAN_PLANES, _OF_THE_NODE = 0x1, 0x1000, 0x80000000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoNode:
    """A video node of the kernel and what it is called.

    Attributes:
        path: where it is now (``/dev/video0``); a replugged camera may come back elsewhere.
        name: the driver's name for people ("HD Pro Webcam C920").
        serial: the USB serial number, or an empty string.
        usb_id: ``vendor:product`` in hexadecimal, or an empty string.
        links: its names under ``/dev/v4l/by-id``, which stay.
    """

    path: Path
    name: str
    serial: str = ""
    usb_id: str = ""
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        stable = f" (usb:{self.links[0]})" if self.links else ""
        return f"{self.path} {self.name}{stable}".strip()


class Claim(Protocol):
    """The right to use a camera, held until it is closed."""

    @property
    def node(self) -> VideoNode:
        """Which camera it is."""
        ...

    def present(self) -> bool:
        """Whether the camera is still plugged in."""
        ...

    def close(self) -> None:
        """Let somebody else have it. Calling it twice is fine."""
        ...


def video_nodes(*, dev: Path = _DEV, sysfs: Path = _SYS) -> tuple[VideoNode, ...]:
    """The cameras that are there, in the order of their numbers.

    Only nodes with index 0: a UVC camera's second node carries metadata, no pictures.

    Args:
        dev: where the device nodes are.
        sysfs: where the kernel describes them.
    """
    links: dict[str, list[str]] = {}
    for link in sorted(_entries(dev / "v4l" / "by-id")):
        links.setdefault(Path(os.path.realpath(link)).name, []).append(link.name)
    found = []
    for entry in sorted(_entries(sysfs / "class" / "video4linux"), key=_number):
        if not entry.name.startswith("video") or _text(entry / "index") not in ("", "0"):
            continue
        # The node hangs on a USB interface; the stick itself is the folder above.
        stick = Path(os.path.realpath(entry / "device")).parent
        vendor, product = _text(stick / "idVendor"), _text(stick / "idProduct")
        node = VideoNode(
            path=dev / entry.name,
            name=_text(entry / "name"),
            serial=_text(stick / "serial"),
            usb_id=f"{vendor}:{product}" if vendor else "",
            links=tuple(links.get(entry.name, ())),
        )
        found.append(node)
    return tuple(found)


def find_node(device: str, *, dev: Path = _DEV, sysfs: Path = _SYS) -> VideoNode:
    """The camera that an address names.

    Args:
        device: a path (``/dev/video0``), or ``usb:NAME`` with a name under ``/dev/v4l/by-id``,
            the driver's name, the serial number or ``vendor:product``; a part of a name will do
            where it fits one camera only.
        dev: where the device nodes are.
        sysfs: where the kernel describes them.

    Raises:
        DeviceError: there is no such camera now.
        ConfigError: the name is empty or fits several.
    """
    nodes = video_nodes(dev=dev, sysfs=sysfs)
    if not device.startswith("usb:"):
        path = Path(device)
        target = Path(os.path.realpath(path))
        known = next((node for node in nodes if node.path.name == target.name), None)
        if not target.exists():
            raise DeviceError(f"There is no camera {device}.", _there(nodes))
        return VideoNode(path=target, name="") if known is None else known
    wanted = device.removeprefix("usb:").casefold()
    if not wanted:
        raise ConfigError("usb: names no camera.", _there(nodes))
    fits = [node for node in nodes if wanted in _names(node)]
    fits = fits or [node for node in nodes if any(wanted in name for name in _names(node))]
    if not fits:
        raise DeviceError(f"No camera is called {device.removeprefix('usb:')!r}.", _there(nodes))
    if len(fits) > 1:
        raise ConfigError(f"{device!r} fits {len(fits)} cameras.", _there(fits))
    return fits[0]


class DeviceClaim:
    """A claim on a node of this machine: opened, known to capture, and locked.

    The lock (``flock``) is what keeps two edge-fer processes apart: between asking the driver
    whether it is busy and starting to stream, it answers "free" to both.
    """

    def __init__(self, node: VideoNode, handle: int) -> None:
        self.node = node
        self._handle: int | None = handle

    def present(self) -> bool:
        """Whether the node is still there."""
        return self.node.path.exists()

    def close(self) -> None:
        """Unlock and close it. Calling it twice is fine."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def claim(
    device: str,
    *,
    dev: Path = _DEV,
    sysfs: Path = _SYS,
    proc: Path = _PROC,
    opened: Callable[[Path, int], int] = os.open,
    ioctl: Callable[[int, int, bytearray], int] = fcntl.ioctl,
) -> DeviceClaim:
    """Find a camera, and make sure that it is one, may be used and is free.

    Args:
        device: as in :func:`find_node`.
        dev: where the device nodes are.
        sysfs: where the kernel describes them.
        proc: where it describes the processes.
        opened: opens a node.
        ioctl: asks a driver.

    Raises:
        DeviceError: no such camera, not permitted, in use, or not a camera.
        ConfigError: the name fits several.
    """
    node = find_node(device, dev=dev, sysfs=sysfs)
    try:
        handle = opened(node.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        raise _refused(node, err, proc) from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check(handle, ioctl)
    except OSError as err:
        os.close(handle)
        raise _refused(node, err, proc) from err
    except BaseException:
        os.close(handle)
        raise
    return DeviceClaim(node, handle)


def _check(handle: int, ioctl: Callable[[int, int, bytearray], int]) -> None:
    capability = bytearray(_CAPABILITY.size)
    ioctl(handle, _QUERYCAP, capability)
    can, here = _CAPABILITY.unpack(capability)[4:6]
    can = here if can & _OF_THE_NODE else can
    if not can & (_CAN_CAPTURE | _CAN_PLANES):
        raise OSError(errno.ENOTTY, "gives no pictures")
    kind = _CAPTURE if can & _CAN_CAPTURE else _CAPTURE_PLANES
    # Drivers say that they are busy when buffers are asked for; none is asked for here.
    ioctl(handle, _REQBUFS, bytearray(_BUFFERS.pack(0, kind, _MMAP, 0, 0)))


def _refused(node: VideoNode, err: OSError, proc: Path) -> DeviceError:
    path = node.path
    if err.errno in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"{path} may not be used by this account.",
            "sudo usermod -aG video $USER, then log in again; a service needs "
            "SupplementaryGroups=video.",
        )
    if err.errno in (errno.EBUSY, errno.EWOULDBLOCK):
        holders = ", ".join(_holders(path, proc))
        return DeviceError(
            f"{path} is in use by {holders or 'another process'}.",
            f"Stop that process first: sudo fuser -v {path}",
        )
    # A driver that knows the call but not this kind of buffer is a decoder or an output.
    if err.errno in (errno.ENOTTY, errno.EINVAL):
        return DeviceError(
            f"{path} is no camera: it gives no pictures.",
            "List the cameras with: v4l2-ctl --list-devices (a camera's second node is metadata).",
        )
    if err.errno in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
        return DeviceError(f"{path} is gone.", "Plug the camera in again.")
    return DeviceError(f"{path} cannot be opened ({err.strerror}).", "See: dmesg | tail")


def _holders(path: Path, proc: Path) -> Iterator[str]:
    """The processes that have the node open, as far as they may be looked at."""
    for process in sorted(_entries(proc), key=_number):
        if not process.name.isdigit():
            continue
        if any(_link(handle) == str(path) for handle in _entries(process / "fd")):
            ours = int(process.name) == os.getpid()
            name = "this process" if ours else _text(process / "comm") or "a process"
            yield f"{name} (pid {process.name})"


def _there(nodes: tuple[VideoNode, ...] | list[VideoNode]) -> str:
    if not nodes:
        return "No camera is there: check its cable, then dmesg | tail"
    # A Pi's own decoders and raw sensors have nodes, too; whoever looks for a camera means a stick.
    sticks = [node for node in nodes if node.usb_id] or nodes
    return f"There: {'; '.join(str(node) for node in sticks)}."


def _names(node: VideoNode) -> tuple[str, ...]:
    names = (*node.links, node.name, node.serial, node.usb_id)
    return tuple(name.casefold() for name in names if name)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not there, not permitted, or gone meanwhile
        return []


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(letter for letter in path.name if letter.isdigit())
    return int(digits or 0), path.name


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile, or not permitted
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
