"""The settings that a run would take, and the service that takes them."""

from __future__ import annotations

from edge_fer.config import Settings, load_settings
from edge_fer.doctor.findings import Finding, not_applicable, ok, problem, warning
from edge_fer.doctor.machine import Machine
from edge_fer.errors import ConfigError

__all__ = ["UNIT", "check_service", "check_settings"]

UNIT = "edge-fer.service"
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "NRestarts", "Result")
_RESTLESS = 5


def check_settings() -> tuple[Finding, Settings | None]:
    """Read the settings as ``edge-fer run`` does."""
    name = "settings"
    try:
        settings = load_settings()
    except ConfigError as err:
        return problem(name, err.message, err.remedy or "See edge_fer/defaults.toml."), None
    shown = settings.source.partition("?")[0] if "://" not in settings.source else "a stream"
    return ok(name, f"Source {shown}, model {settings.model}, {settings.backend}."), settings


def check_service(machine: Machine) -> Finding:
    """Whether systemd runs it, and how often it had to be started again."""
    name = "service"
    answer = machine.run(["systemctl", "show", UNIT, f"--property={','.join(_PROPERTIES)}"])
    if answer is None or answer.code != 0:
        return not_applicable(name, "There is no systemd to ask.")
    state = dict(line.split("=", 1) for line in answer.out.splitlines() if "=" in line)
    if state.get("LoadState") != "loaded":
        return not_applicable(name, f"{UNIT} is not installed.")
    active = f"{state.get('ActiveState')} ({state.get('SubState')})"
    restarts = state.get("NRestarts", "0")
    log = f"journalctl -u {UNIT} -e"
    if state.get("ActiveState") == "failed":
        return problem(name, f"{UNIT} failed: {state.get('Result')}.", log)
    if restarts.isdigit() and int(restarts) >= _RESTLESS:
        return warning(name, f"{UNIT} is {active}, started again {restarts} times.", log)
    if state.get("ActiveState") != "active":
        return warning(name, f"{UNIT} is {active}.", f"sudo systemctl enable --now {UNIT}")
    return ok(name, f"{UNIT} is {active}, started again {restarts} times.")
