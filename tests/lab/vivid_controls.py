"""Turning the knobs of the kernel's vivid driver; used inside the guest that guest.sh boots."""

from __future__ import annotations

import fcntl
import os

__all__ = ["FATAL", "set_control"]

#: VIVID_CID_FATAL_ERROR's name: the queue fails, as a camera's does that is pulled out.
FATAL = "Inject Fatal Streaming Error"
# The calls' numbers and the flag (linux/videodev2.h).
_QUERYCTRL, _S_CTRL, _NEXT = 0xC0445624, 0xC008561C, 0x80000000


def set_control(node: str, name: str, value: int) -> None:
    """Set a control by the name that the driver gives it.

    Raises:
        OSError: it has none of that name.
    """
    handle = os.open(node, os.O_RDWR)
    try:
        control, query = 0, bytearray(68)
        while query[8:40].rstrip(b"\0") != name.encode()[:31]:
            query[:4] = (control | _NEXT).to_bytes(4, "little")
            fcntl.ioctl(handle, _QUERYCTRL, query)
            control = int.from_bytes(query[:4], "little")
        words = control.to_bytes(4, "little") + value.to_bytes(4, "little")
        fcntl.ioctl(handle, _S_CTRL, bytearray(words))
    finally:
        os.close(handle)
