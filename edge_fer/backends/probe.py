"""Can a delegate be used? Tried in a process of its own, and the failure explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_fer.backends.coral import Coral, find_corals, may_use

__all__ = ["LIBRARY", "Cause", "Probe", "probe_delegate"]

#: The delegate of google-coral/libedgetpu and of its successor feranick/libedgetpu.
LIBRARY = "libedgetpu.so.1"
_CHILD = Path(__file__).with_name("_probe_child.py")
_INSTALL = "Install libedgetpu: see https://github.com/feranick/libedgetpu/releases"
_REBUILT = f"{_INSTALL} (its release must be built for a TensorFlow near this runtime's)."
_RULES_FILE = "/etc/udev/rules.d/60-edge-fer-coral.rules"

Cause = Literal[
    "",
    "no_runtime",
    "no_library",
    "no_device",
    "no_driver",
    "no_permission",
    "no_firmware",
    "refused",
    "wrong_model",
    "crashed",
    "hung",
]
#: Causes that can go away by themselves: a stick that is plugged in, or comes back after a reset.
_PASSING = frozenset({"no_device", "no_permission", "no_firmware", "refused", "hung"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a try in another process showed.

    Attributes:
        ok: the delegate was loaded, and ran the model if there was one.
        reason: what is wrong, one sentence; empty when ``ok``.
        remedy: the line that mends it.
        cause: the reason as a word.
    """

    ok: bool
    reason: str = ""
    remedy: str = ""
    cause: Cause = ""

    @property
    def passing(self) -> bool:
        """Whether trying again later makes sense with nothing installed in between."""
        return self.cause in _PASSING


def probe_delegate(
    library: str = LIBRARY,
    timeout: float = 20.0,
    *,
    model: bytes | None = None,
    device: str | None = None,
    root: Path = Path("/"),
    may: Callable[[Path], bool] = may_use,
) -> Probe:
    """Load a delegate in a process of its own, and run a model on it once.

    A library that was built for another TensorFlow than the runtime does not raise, it crashes:
    here that is a signal of the other process. It has to be idle: only one process at a time can
    use an accelerator.

    Args:
        library: what the loader finds, or a path.
        timeout: seconds until it counts as hung; loading the firmware takes some of them.
        model: one compiled for the Edge TPU; None tries the library alone.
        device: as libedgetpu's option ``device`` takes it: ``usb``, ``pci``, ``usb:0``.
        root: where ``sys`` and ``dev`` lie, to tell why there is no device.
        may: whether a node may be read and written.
    """
    words = [sys.executable, "-P", str(_CHILD), library]
    words += [f"device={device}"] if device else []
    try:
        child = subprocess.run(
            words,
            input=model or b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Probe(
            ok=False,
            cause="hung",
            reason=f"{library} did not answer within {timeout:g} s.",
            remedy="Unplug the Coral and plug it in again, at a port that gives it 900 mA.",
        )
    if child.returncode < 0:
        return Probe(
            ok=False,
            cause="crashed",
            reason=f"{library} crashed ({_signal(-child.returncode)}): "
            "it does not fit this runtime.",
            remedy=_REBUILT,
        )
    return _explained(library, _failure(child.returncode, child.stdout), find_corals(root, may))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _failure(code: int, output: bytes) -> str:
    """``step: what``, or an empty text. A library may print to stdout as well: ours is last."""
    try:
        return str(json.loads(output.splitlines()[-1])["failed"])
    except (IndexError, ValueError, KeyError, TypeError):
        return f"delegate: it ended its process with {code}"


def _explained(library: str, failure: str, corals: Sequence[Coral]) -> Probe:
    step, _, detail = failure.partition(": ")
    detail = " ".join(detail.split())
    if not failure:
        return Probe(ok=True)
    if step == "runtime":
        return Probe(
            ok=False,
            cause="no_runtime",
            reason=f"No runtime can be loaded ({detail}).",
            remedy="Install it with: pip install ai-edge-litert",
        )
    if step == "library":
        return Probe(
            ok=False,
            cause="no_library",
            reason=f"The library cannot be loaded ({detail}).",
            remedy=_INSTALL,
        )
    if step == "model":
        return Probe(
            ok=False,
            cause="wrong_model",
            reason=f"{library} was loaded and did not run the model ({detail}).",
            remedy="Compile it again for this device: edge-fer convert --target coral",
        )
    return _no_device(library, corals)


def _no_device(library: str, corals: Sequence[Coral]) -> Probe:
    """The delegate's own reason is empty: the kernel's view tells which it is."""
    if not corals:
        return Probe(
            ok=False,
            cause="no_device",
            reason=f"{library} is there, and no Coral is plugged in (USB 1a6e:089a or 18d1:9302, "
            "PCIe 1ac1:089a).",
            remedy="Plug it in, straight into a USB 3 port; then: lsusb",
        )
    absent = [coral for coral in corals if not coral.present]
    if len(absent) == len(corals):
        pcie = absent[0].bus == "pcie"
        return Probe(
            ok=False,
            cause="no_driver",
            reason=f"The {absent[0].words} is seen by the kernel and has no node.",
            remedy="Install the driver gasket-dkms; then: ls -l /dev/apex_0"
            if pcie
            else "Give this process /dev/bus/usb: a container needs --device /dev/bus/usb",
        )
    closed = [coral for coral in corals if coral.present and not coral.permitted]
    if closed and not any(coral.permitted for coral in corals):
        return Probe(
            ok=False,
            cause="no_permission",
            reason=f"The {closed[0].words} may not be used by {_who()}.",
            remedy=f"sudo usermod -aG plugdev {_who()}, then log in again (a service needs "
            f"SupplementaryGroups=plugdev); the rules for {_RULES_FILE} are in: edge-fer doctor",
        )
    fresh = next((coral for coral in corals if coral.permitted and not coral.firmware), None)
    if fresh is not None:
        return Probe(
            ok=False,
            cause="no_firmware",
            reason=f"The {fresh.words} has not got its firmware: it is still {fresh.identity}, "
            "not 18d1:9302.",
            remedy="Plug it in again, straight into a port of the board; its second identity "
            f"needs a line in {_RULES_FILE} too",
        )
    usable = next(coral for coral in corals if coral.permitted)
    return Probe(
        ok=False,
        cause="refused",
        reason=f"{library} refuses the {usable.words}: another process may be using it.",
        remedy="End the other process (sudo fuser -v /dev/bus/usb/*/* /dev/apex_*), "
        "or plug the Coral in again",
    )


def _who() -> str:
    return os.environ.get("USER") or f"user {os.getuid()}"
