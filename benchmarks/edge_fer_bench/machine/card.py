"""The machine that a run was measured on, as it says of itself; what it does not say is None."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from edge_fer import __version__
from edge_fer_bench.machine.sysfs import text

__all__ = ["Machine", "MachineKind", "read_machine", "software"]

MachineKind = Literal["raspberry_pi", "board", "computer", "virtual", "emulated"]
# Cores of the Raspberry Pis, by the part number in /proc/cpuinfo (Arm's MIDR_EL1).
_ARM_PARTS = {
    "0xb76": "ARM1176JZF-S",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the figures belong to.

    Attributes:
        kind: ``raspberry_pi`` only where the firmware itself says so; ``emulated`` where an Arm
            system runs on another processor, or a Pi's name comes without a Pi's firmware.
        name: the board's model, else what kind of computer it is.
        architecture: as the kernel names it.
        cpu: the processor.
        cores: how many of them this process may use.
        governor: of the processor's frequency.
        max_mhz: highest frequency.
        memory_mb: in all, in 10^6 bytes.
        system: operating system and kernel.
    """

    kind: MachineKind
    name: str
    architecture: str
    cpu: str | None
    cores: int
    governor: str | None
    max_mhz: float | None
    memory_mb: float | None
    system: str

    @property
    def is_pi(self) -> bool:
        """Whether timings may be called a Raspberry Pi's."""
        return self.kind == "raspberry_pi"

    @property
    def words(self) -> str:
        """One sentence that says where the times are from, and what they are not."""
        if self.is_pi:
            return f"Measured on a {self.name}."
        which = self.name if self.kind == "board" else f"{self.cpu or self.architecture}"
        where = f"Measured on {_ARTICLE[self.kind]} ({which})"
        if self.kind == "emulated":
            return f"{where}: emulated times are no times of any device."
        return f"{where}, not on a Raspberry Pi: these times say nothing about one."

    def to_json(self) -> dict[str, Any]:
        """The field ``device``."""
        return {**asdict(self), "words": self.words}


def read_machine(root: Path = Path("/"), architecture: str = platform.machine()) -> Machine:
    """Read this machine.

    Args:
        root: where ``proc``, ``sys`` and ``etc`` lie.
        architecture: of the running kernel, as ``uname -m``.
    """
    cpuinfo = text(root / "proc/cpuinfo") or ""
    model = text(root / "proc/device-tree/model")
    kind = _kind(root, cpuinfo, model, architecture)
    frequency = text(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    memory = re.search(r"^MemTotal:\s+(\d+) kB", text(root / "proc/meminfo") or "", re.M)
    return Machine(
        kind=kind,
        name=model or f"{architecture} {'virtual machine' if kind == 'virtual' else 'computer'}",
        architecture=architecture,
        cpu=_cpu(cpuinfo),
        cores=len(os.sched_getaffinity(0)),
        governor=text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        max_mhz=int(frequency) / 1000 if frequency and frequency.isdigit() else None,
        memory_mb=int(memory[1]) * 1024 / 1e6 if memory else None,
        system=_system(root),
    )


def software(backend: str) -> dict[str, Any]:
    """The field ``software``: versions of what took part.

    Args:
        backend: what the runtime calls itself.
    """
    import cv2

    return {
        "edge_fer": __version__,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "opencv": cv2.__version__,
        "opencv_threads": cv2.getNumThreads(),
        "litert": _version("ai-edge-litert"),
        "tflite_runtime": _version("tflite-runtime"),
        "backend": backend,
    }


def _kind(root: Path, cpuinfo: str, model: str | None, architecture: str) -> MachineKind:
    arm = architecture.startswith(("aarch64", "arm"))
    if arm and re.search(r"^(vendor_id|flags)\s*:", cpuinfo, re.M):
        return "emulated"  # qemu-user shows the host's x86 cpuinfo
    if model and "qemu" not in model.lower() and "dummy-virt" not in model:
        if "Raspberry Pi" not in model:
            return "board"
        # Only the Pi's own firmware writes this; QEMU's raspi machines carry just the name.
        firmware = root / "proc/device-tree/system/linux,revision"
        return "raspberry_pi" if firmware.exists() else "emulated"
    vendor = text(root / "sys/class/dmi/id/sys_vendor") or ""
    if model or "QEMU" in vendor or re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.M):
        return "emulated" if model else "virtual"
    return "computer"


def _cpu(cpuinfo: str) -> str | None:
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.M)
    if named:
        return " ".join(named[1].split())
    parts = re.findall(r"^CPU part\s*:\s*(\S+)$", cpuinfo, re.M)
    names = sorted({_ARM_PARTS.get(part, f"Arm part {part}") for part in parts})
    return ", ".join(names) or None


def _system(root: Path) -> str:
    release = re.search(r'^PRETTY_NAME="?([^"\n]+)', text(root / "etc/os-release") or "", re.M)
    kernel = f"{platform.system()} {platform.release()}"
    return f"{release[1]}, {kernel}" if release else kernel


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


_ARTICLE = {
    "board": "another board",
    "computer": "an ordinary computer",
    "virtual": "a virtual machine",
    "emulated": "an emulated machine",
}
