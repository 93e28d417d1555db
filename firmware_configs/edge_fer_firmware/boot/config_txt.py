"""config.txt: the firmware's settings, and our block in a file that belongs to the user.

The rules are those of raspberrypi/documentation, ``config_txt/what_is_config_txt.adoc`` and
``conditional.adoc``: one ``property=value`` a line, ``#`` only at a line's start, nothing is read
beyond 98 characters, a filter in brackets holds until the next one of its kind or ``[all]``, and
``include FILE`` puts another file in, which is not looked into here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO

from edge_fer.errors import ConfigError
from edge_fer_firmware.plan import Plan

__all__ = ["BEGIN", "END", "LIMIT", "Setting", "lines", "merge", "settings"]

#: Our block stands between these two lines.
BEGIN, END = "# edge-fer: begin", "# edge-fer: end"
#: Characters of a line that the firmware reads.
LIMIT = 98

_ALL = "[all]"
_OVERLAY = "dtoverlay"
# Given as often as wanted, each time for something else.
_REPEATED = frozenset({_OVERLAY, "device_tree_overlay", "gpio", "include", "initramfs"})
_PARAMETER = frozenset({"dtparam", "device_tree_param"})
# Where the user says otherwise, theirs holds: a sensor that is not found by itself is named by its
# own overlay, with this off (raspberrypi/documentation, config_txt/common.adoc).
_YIELDING = frozenset({"camera_auto_detect"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A line of config.txt that sets something.

    Attributes:
        key: ``kernel``; of a parameter of the device tree with its name: ``dtparam=watchdog``.
        value: all after the ``=``.
        line: in the file, from 1.
        filters: those in force, as they are written, ``[pi4]``; empty: for every board.
    """

    key: str
    value: str
    line: int
    filters: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As it stands in the file."""
        return f"{self.key}={self.value}"


def lines(plan: Plan) -> tuple[str, ...]:
    """What this card needs in config.txt, without the ``[all]`` before it.

    The watchdog is off by default (raspberrypi/firmware, ``boot/overlays/README``). Cameras are
    found and a screen is driven by lines that Raspberry Pi OS brings itself; they are asked for
    again, because somebody may have taken them out. A screen is not turned here: under KMS the
    firmware's ``display_rotate`` has no effect, and the kiosk's compositor does it.
    """
    wanted = ["dtparam=watchdog=on"]
    if plan.source.startswith("picamera2"):
        wanted.append("camera_auto_detect=1")
    if plan.board.kernel:
        wanted.append(f"kernel={plan.board.kernel}")
    wanted += plan.board.config
    if plan.settings.kiosk.enabled:
        wanted.append("dtoverlay=vc4-kms-v3d")
    return tuple(dict.fromkeys(wanted))


def merge(existing: str, lines: Sequence[str], *, name: str = "config.txt") -> str:
    """The file with our block in it; the same again when it is merged again.

    Everything outside of the block stays as it is, with its line ends. A block that is there
    already is replaced where it stands; else it comes last. It begins with ``[all]``, so no filter
    of the user's holds in it. An overlay that the user loads for every board is not loaded twice,
    and a camera that the user set up by hand stays so: ``camera_auto_detect=0`` is not overruled.

    Args:
        existing: the file, as it was read without translating line ends.
        lines: ours, from :func:`lines`.
        name: of the file, for the error.

    Raises:
        ConfigError: the user's file sets something else than one of our lines, or half of our
            markers is gone; both with the line. Or a line of ours that the firmware cannot read.
    """
    for line in lines:
        _readable(line)
    rows = list(StringIO(existing, newline=""))  # \n, \r\n and \r; nothing is translated
    before, after = _around(rows, name)
    theirs = list(settings([*before, *([_ALL] if after else []), *after]))
    # Lines behind a block of ours come after its [all], which is where they are counted from.
    shift = len(rows) - len(before) - len(after) - 1
    theirs = [replace(s, line=s.line + shift) if s.line > len(before) else s for s in theirs]
    left = {s.text for s in theirs if s.key == _OVERLAY and not s.filters}
    for setting in settings(lines):
        if setting.key in _YIELDING:
            left |= {
                setting.text for s in theirs if s.key == setting.key and s.text != setting.text
            }
        else:
            _no_conflict(setting, theirs, name)
    kept = [line for line in lines if line not in left]
    end = "\r\n" if "\r\n" in existing else "\n"
    if before and not before[-1].endswith(("\n", "\r")):
        before[-1] += end
    block = [row + end for row in (BEGIN, _ALL, *kept, END)]
    return "".join([*before, *block, *after])


def settings(rows: Sequence[str]) -> Iterator[Setting]:
    """The settings of a file, each with its line and the filters in force.

    Args:
        rows: lines, with or without their ends. What stands under ``[none]`` is left out.
    """
    filters: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        text = row.strip()
        if text.startswith("[") and text.endswith("]"):
            if text == _ALL:
                filters = {}
            else:
                filters[_kind(text)] = text
        elif text and not text.startswith("#") and "[none]" not in filters.values():
            key, mark, value = text.partition("=")
            if not mark:  # include FILE, initramfs FILE ADDRESS
                key, _, value = text.partition(" ")
            active = tuple(filters.values())
            if key in _PARAMETER:
                # One line may set several: dtparam=i2c=on,spi=on
                for part in value.split(","):
                    word, _, chosen = part.partition("=")
                    yield Setting(
                        key=f"dtparam={word}", value=chosen or "on", line=number, filters=active
                    )
            else:
                yield Setting(key=key, value=value, line=number, filters=active)


def _kind(text: str) -> str:
    """Filters of one kind replace each other; those of different kinds hold together."""
    for mark in ("EDID=", "gpio", "HDMI:", "0x", "board-type=", "partition", "boot_"):
        if text.startswith(f"[{mark}"):
            return mark
    return "[tryboot]" if text == "[tryboot]" else "model"


def _around(rows: list[str], name: str) -> tuple[list[str], list[str]]:
    """The user's lines before and after our block; all and none where there is no block."""
    begins = [i for i, row in enumerate(rows) if row.strip() == BEGIN]
    ends = [i for i, row in enumerate(rows) if row.strip() == END]
    if not begins and not ends:
        return rows, []
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        odd = sorted([*begins, *ends])[1 if len(begins) == len(ends) == 1 else -1]
        raise ConfigError(
            f"{name}:{odd + 1}: {rows[odd].strip()!r} has no partner, or is there twice.",
            f"Take out what is between {BEGIN!r} and {END!r}, and both lines.",
        )
    return rows[: begins[0]], rows[ends[0] + 1 :]


def _no_conflict(ours: Setting, theirs: list[Setting], name: str) -> None:
    if ours.key in _REPEATED:
        return
    for found in theirs:
        if found.key == ours.key and found.value != ours.value:
            where = f" under {' '.join(found.filters)}" if found.filters else ""
            raise ConfigError(
                f"{name}:{found.line}: {found.text!r}{where} contradicts {ours.text!r}, "
                "which this card needs.",
                "Take that line out, or put a # before it.",
            )


def _readable(line: str) -> None:
    odd = "\n" in line or "\r" in line or not line.isascii() or line.startswith(("[", " ", "#"))
    if odd or len(line) > LIMIT or not line:
        raise ConfigError(
            f"{line!r} cannot be a line of config.txt.",
            f"Write key=value in at most {LIMIT} ASCII characters: the firmware ignores the rest.",
        )
