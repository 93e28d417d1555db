"""A Coral Edge TPU: there, permitted, with a library that fits."""

from __future__ import annotations

from edge_fer.backends.compiled import compiled_beside
from edge_fer.backends.coral import UDEV_RULES, find_corals
from edge_fer.config import Settings
from edge_fer.doctor.findings import Finding, not_applicable, ok, problem, warning
from edge_fer.doctor.machine import Machine
from edge_fer.errors import EdgeFerError
from edge_fer.models import load

__all__ = ["check_coral", "check_delegate", "check_page_size", "check_udev"]

_NONE = "No Coral is plugged in."
_RULE_FOLDERS = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
_OWN_RULES = "/etc/udev/rules.d/60-edge-fer-coral.rules"
_NEEDS = {"usb": ("1a6e", "089a", "18d1", "9302"), "pcie": ("apex",)}


def check_coral(machine: Machine) -> Finding:
    """The accelerators that the kernel shows, and the right to use them."""
    name = "Coral"
    corals = find_corals(machine.root, machine.usable)
    if not corals:
        return not_applicable(name, f"{_NONE} Models run on the CPU.")
    for coral in corals:
        if not coral.present:
            return problem(
                name,
                f"{coral.words} has no node.",
                "Install the driver gasket-dkms; then: ls -l /dev/apex_0"
                if coral.bus == "pcie"
                else "A container needs --device /dev/bus/usb",
            )
        if not coral.permitted:
            return problem(
                name,
                f"{coral.words} may not be used by {machine.user}.",
                f"sudo usermod -aG plugdev {machine.user}, then log in again; a service needs "
                "SupplementaryGroups=plugdev",
            )
    fresh = [coral for coral in corals if not coral.firmware]
    more = "; it gets its firmware by the first use" if fresh else ""
    return ok(name, f"{', '.join(coral.words for coral in corals)}{more}.")


def check_udev(machine: Machine) -> Finding:
    """The rules that give the node to a group: a USB Coral needs one for each identity."""
    name = "udev rules"
    corals = find_corals(machine.root, machine.usable)
    if not corals:
        return not_applicable(name, _NONE)
    rules = "\n".join(_rules(machine)).lower()
    lacking = [
        word for bus in sorted({c.bus for c in corals}) for word in _NEEDS[bus] if word not in rules
    ]
    if not lacking:
        return ok(name, "There is a rule for each identity of the Coral.")
    if machine.user == "root":
        return ok(name, "There is none for the Coral, and root needs none.")
    lines = " ".join(f"'{line}'" for line in UDEV_RULES)
    return problem(
        name,
        f"No rule names {', '.join(lacking)}: the Coral changes its identity when it gets its "
        "firmware, and is closed to others than root then."
        if "apex" not in lacking
        else "No rule names apex: the PCIe Coral is closed to others than root.",
        f"printf '%s\\n' {lines} | sudo tee {_OWN_RULES} && sudo udevadm control --reload && "
        "sudo udevadm trigger",
    )


def check_delegate(machine: Machine, settings: Settings | None = None) -> Finding:
    """Load libedgetpu in a process of its own, where a crash does no harm.

    One that does not fit the runtime may crash only when it runs a model: the configured one's
    compiled file is tried where there is one.
    """
    name = "libedgetpu"
    compiled = None if settings is None else _compiled(settings.model)
    found = machine.probe(compiled)
    if found.ok and compiled is None:
        return ok(name, "It loads, and finds the Edge TPU; no compiled model was tried.")
    if found.ok:
        return ok(name, "It loads, and ran the configured model on the Edge TPU.")
    if not find_corals(machine.root, machine.usable) and found.cause in ("no_library", "no_device"):
        there = "It is not installed" if found.cause == "no_library" else "It is installed"
        return not_applicable(name, f"{there}; no Coral is plugged in.")
    if found.cause == "refused":  # by far most often: the service itself
        return warning(name, found.reason, found.remedy)
    return problem(name, found.reason, found.remedy)


def check_page_size(machine: Machine) -> Finding:
    """The driver of a PCIe Coral needs pages of 4 KiB; a Pi 5's usual kernel has 16."""
    name = "page size"
    size = f"{machine.page_size // 1024} KiB"
    pcie = any(coral.bus == "pcie" for coral in find_corals(machine.root, machine.usable))
    if pcie and machine.page_size != 4096:
        return warning(
            name,
            f"{size}, and there is a PCIe Coral: its driver is reported to need 4 KiB (not tried "
            "by us).",
            "Put kernel=kernel8.img under [all] in /boot/firmware/config.txt, and restart.",
        )
    return ok(name, f"{size}.")


def _compiled(model: str) -> bytes | None:
    try:
        return compiled_beside(load(model))
    except EdgeFerError:  # which the check of the models says
        return None


def _rules(machine: Machine) -> list[str]:
    """The lines of all rules that are no comments."""
    lines: list[str] = []
    for folder in _RULE_FOLDERS:
        for path in sorted((machine.root / folder).glob("*.rules")):
            text = machine.text(str(path.relative_to(machine.root))) or ""
            lines += [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return lines
