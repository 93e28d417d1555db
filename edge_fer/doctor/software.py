"""Python, the runtime for models with its numpy, and OpenCV."""

from __future__ import annotations

import re
from typing import Any

from edge_fer.doctor.findings import Finding, ok, problem, warning
from edge_fer.doctor.machine import Machine

__all__ = ["check_opencv", "check_python", "check_runtime"]

_OLDEST = (3, 11)
_CONSTRAINTS = "-c firmware_configs/constraints-tflite-runtime.txt"
_LITERT = 'pip install "ai-edge-litert>=2.1"'
_OPENCV = 'pip install "opencv-python-headless>=4.11,<5,!=4.12.*"'


def check_python(machine: Machine) -> Finding:
    """Version and architecture: both decide whether there are wheels."""
    name = "Python"
    version = ".".join(str(part) for part in machine.python)
    where = f"Python {version} on {machine.architecture}"
    if machine.bits == 32 or machine.architecture.startswith(("armv6", "armv7")):
        return problem(
            name,
            f"{where}, a 32-bit system: numpy, OpenCV and LiteRT have no packages for it.",
            "Flash the 64-bit Raspberry Pi OS (a Pi 3, Zero 2 W or later runs it).",
        )
    if machine.python[:2] < _OLDEST:
        return problem(
            name,
            f"{where} is too old: 3.11 is the oldest that works.",
            "Use Raspberry Pi OS bookworm (Python 3.11) or trixie (3.13).",
        )
    return ok(name, f"{where}.")


def check_runtime(machine: Machine) -> Finding:
    """LiteRT, or tflite-runtime with the numpy that it was built for; never both."""
    name = "runtime"
    litert, older = machine.version("ai-edge-litert"), machine.version("tflite-runtime")
    numpy = machine.version("numpy") or "none"
    if litert and older:
        return warning(
            name,
            f"ai-edge-litert {litert} and tflite-runtime {older} lie beside each other: the first "
            "is used, and they want different releases of numpy.",
            "pip uninstall tflite-runtime",
        )
    if not litert and not older:
        return problem(name, "No runtime for models is installed.", _LITERT)
    if older and numpy.partition(".")[0] not in ("0", "1"):
        return problem(
            name,
            f"tflite-runtime {older} with numpy {numpy}: it was built for numpy 1 and fails with "
            "a SystemError.",
            f"pip install tflite-runtime {_CONSTRAINTS}",
        )
    module = "ai_edge_litert" if litert else "tflite_runtime"
    found = f"{'ai-edge-litert' if litert else 'tflite-runtime'} {litert or older}"
    error = _import_error(machine, f"{module}.interpreter")
    if error:
        remedy = _LITERT if litert else f"pip install tflite-runtime {_CONSTRAINTS}"
        return problem(
            name,
            f"{found} is installed and cannot be loaded ({error}).",
            f"{remedy} --force-reinstall",
        )
    return ok(name, f"{found} with numpy {numpy}.")


def check_opencv(machine: Machine) -> Finding:
    """A release that has what is used, with the parts for videos and cameras built in."""
    name = "OpenCV"
    error = _import_error(machine, "cv2")
    if error:
        return problem(name, f"OpenCV cannot be loaded ({error}).", _OPENCV)
    cv2 = machine.load("cv2")
    version = str(cv2.__version__)
    several = [p for p in _PACKAGES if machine.version(p)]
    if len(several) > 1:
        return warning(
            name,
            f"{' and '.join(several)} write into the same folder: what OpenCV {version} can do "
            "hangs on which came last.",
            f"pip uninstall -y {' '.join(several)} && {_OPENCV}",
        )
    if not hasattr(cv2, "CascadeClassifier"):
        return warning(
            name,
            f"OpenCV {version} has no CascadeClassifier: the detector haar does not work.",
            _OPENCV,
        )
    if version.startswith("4.12."):
        return warning(name, f"OpenCV {version} does not go with numpy 2.3 and later.", _OPENCV)
    lacking = [what for part, what in _PARTS.items() if not _built_in(cv2, part)]
    if lacking:
        return warning(
            name, f"OpenCV {version} was built without {' and '.join(lacking)}.", _OPENCV
        )
    return ok(name, f"OpenCV {version}, with videos and streams (FFMPEG) and USB cameras (V4L2).")


_PACKAGES = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
_PARTS = {"FFMPEG": "FFMPEG (videos, RTSP)", "v4l/v4l2": "V4L2 (USB cameras)"}


def _built_in(cv2: Any, part: str) -> bool:
    return bool(
        re.search(rf"^\s*{re.escape(part)}:\s+YES", cv2.getBuildInformation(), re.MULTILINE)
    )


def _import_error(machine: Machine, module: str) -> str:
    """What goes wrong, in one line; compiled modules raise all sorts of things."""
    try:
        machine.load(module)
    except Exception as err:
        return " ".join(str(err).split()) or type(err).__name__
    return ""
