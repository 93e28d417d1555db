"""Which cameras there are, and what keeps the Pi's own ones from being used."""

from __future__ import annotations

import json

from edge_fer.cameras.v4l2_nodes import VideoNode, video_nodes
from edge_fer.doctor.findings import Finding, not_applicable, ok, problem, warning
from edge_fer.doctor.machine import Machine

__all__ = ["check_camera_module", "check_usb_cameras", "check_venv", "first_source"]

_APT = "sudo apt install -y python3-picamera2 --no-install-recommends"
# In a process of its own: modules of apt and of pip in one process can crash, and libcamera talks.
_ASK = (
    "import json, simplejpeg, picamera2; "
    "print(json.dumps([c.get('Model', '?') for c in picamera2.Picamera2.global_camera_info()]))"
)
_DIST_PACKAGES = "usr/lib/python3/dist-packages/picamera2"


def check_usb_cameras(machine: Machine) -> Finding:
    """USB cameras, by the names that stay, and the right to use them."""
    name = "USB cameras"
    sticks = _sticks(machine)
    if not sticks:
        return not_applicable(name, "None is plugged in (a stream or a file needs none).")
    hidden = [node for node in sticks if not node.path.exists()]
    if hidden:
        return problem(
            name,
            f"{hidden[0]} is seen by the kernel and has no node here.",
            f"A container needs --device {hidden[0].path}",
        )
    closed = [node for node in sticks if not machine.usable(node.path)]
    if closed:
        return problem(
            name,
            f"{closed[0]} may not be used by {machine.user}.",
            f"sudo usermod -aG video {machine.user}, then log in again; "
            "a service needs SupplementaryGroups=video",
        )
    return ok(name, f"{'; '.join(str(node) for node in sticks)}.")


def check_camera_module(machine: Machine) -> Finding:
    """Cameras on the ribbon cable: picamera2 with libcamera, which only apt brings."""
    name = "camera module"
    if machine.version("picamera2") is None and not (machine.root / _DIST_PACKAGES).exists():
        if not machine.is_pi:
            return not_applicable(name, "Only a Raspberry Pi has one.")
        return warning(
            name,
            "picamera2 is not installed: a camera on the ribbon cable cannot be used.",
            f"{_APT}; the virtual environment needs --system-site-packages",
        )
    answer = machine.run([machine.executable, "-c", _ASK])
    if answer is None:
        return problem(name, "picamera2 did not answer.", "sudo systemctl reboot; then: dmesg")
    if answer.code != 0:
        return _broken(name, machine, answer.err)
    models = _models(answer.out)
    if not models:
        return not_applicable(name, "picamera2 works, and sees no camera on a ribbon cable.")
    found = "; ".join(f"picamera2:{n} {model}" for n, model in enumerate(models))
    return ok(name, f"{found}.")


def check_venv(machine: Machine) -> Finding:
    """Whether apt's packages can be seen from this virtual environment."""
    name = "virtual environment"
    try:
        text = (machine.prefix / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return ok(name, f"None: the system's Python in {machine.prefix}.")
    lines = (line.partition("=") for line in text.splitlines())
    settings = {key.strip().lower(): value.strip().lower() for key, _, value in lines}
    if settings.get("include-system-site-packages") == "true":
        return ok(name, f"{machine.prefix}, with the system's packages.")
    if machine.is_pi:
        return warning(
            name,
            f"{machine.prefix} does not see the system's packages, so no picamera2.",
            f"python3 -m venv --system-site-packages {machine.prefix}",
        )
    return ok(name, f"{machine.prefix}, without the system's packages.")


def first_source(machine: Machine) -> str | None:
    """The address of the first camera there is: a USB one, else a camera module."""
    sticks = _sticks(machine)
    if sticks:
        return str(sticks[0].path)
    return "picamera2:0" if check_camera_module(machine).state == "ok" else None


def _sticks(machine: Machine) -> list[VideoNode]:
    """A Pi's decoders and sensors have nodes too: a camera for V4L2 is one on USB, or emulated."""
    nodes = video_nodes(dev=machine.root / "dev", sysfs=machine.root / "sys")
    return [node for node in nodes if node.usb_id or node.name.startswith("vivid")]


def _broken(name: str, machine: Machine, error: str) -> Finding:
    if "numpy" in error and ("dtype size" in error or "ABI" in error or "numpy.core" in error):
        return problem(
            name,
            f"apt's camera modules do not go with this numpy ({error}).",
            f'{machine.executable} -m pip install "numpy<2"',
        )
    return problem(
        name,
        f"picamera2 cannot be loaded ({error}).",
        f"{_APT}; the virtual environment needs --system-site-packages",
    )


def _models(out: str) -> list[str]:
    try:
        return [str(model) for model in json.loads(out.strip().rpartition("\n")[2])]
    except (ValueError, TypeError):
        return []
