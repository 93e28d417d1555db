"""The groups that open devices, as this process has them and as the machine gives them."""

from __future__ import annotations

from edge_fer.backends.coral import find_corals
from edge_fer.doctor.findings import Finding, not_applicable, ok, warning
from edge_fer.doctor.machine import Machine

__all__ = ["check_groups"]


def check_groups(machine: Machine) -> Finding:
    """``video`` for cameras, ``plugdev`` for a USB Coral; a login shell learns of them at login."""
    name = "groups"
    if machine.user == "root":
        return ok(name, "root may use every device; a service should run as somebody else.")
    wanted = ["video", *(["plugdev"] if find_corals(machine.root) else [])]
    members = _members(machine)
    wanted = [group for group in wanted if group in members]
    if not wanted:
        return not_applicable(name, "This system has no group for devices.")
    lacking = [group for group in wanted if group not in machine.groups]
    if not lacking:
        return ok(name, f"{machine.user} is in {' and '.join(wanted)}.")
    late = [group for group in lacking if machine.user in members[group]]
    if late == lacking:
        return warning(
            name,
            f"{machine.user} was put into {' and '.join(late)} after this session began.",
            "Log out and in again, or restart the service.",
        )
    return warning(
        name,
        f"{machine.user} is not in {' and '.join(lacking)}.",
        f"sudo usermod -aG {','.join(lacking)} {machine.user}, then log in again; a service "
        f"needs SupplementaryGroups={' '.join(lacking)}",
    )


def _members(machine: Machine) -> dict[str, list[str]]:
    """Group to the users that ``/etc/group`` lists."""
    rows = (line.split(":") for line in (machine.text("etc/group") or "").splitlines())
    return {row[0]: row[3].split(",") for row in rows if len(row) >= 4}
