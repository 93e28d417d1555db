"""One wheel: what its name and its METADATA say, and why a system cannot use it.

Names are those of the binary distribution format (packaging.python.org, PEP 427 and 425), contents
those of the core metadata (PEP 566). The packages' own code is never run.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import default_environment
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

__all__ = ["BrokenWheelError", "Target", "Wheel", "platforms", "read_wheel"]

_MACHINE = "aarch64"
# No image of bookworm or trixie has an older patch release: they began with 3.11.2 and 3.13.5.
_PATCH = 2
_GLIBC = re.compile(r"manylinux_2_(\d+)_" + _MACHINE)


class BrokenWheelError(Exception):
    """A file that is no wheel, or only the beginning of one."""


def platforms(glibc: int) -> list[str]:
    """Platform tags of 64-bit Arm Linux, best first (PEP 600, PEP 599).

    Args:
        glibc: minor version of the system's: 36 for bookworm.
    """
    manylinux = [f"manylinux_2_{minor}_{_MACHINE}" for minor in range(glibc, 16, -1)]
    return [*manylinux, f"manylinux2014_{_MACHINE}", f"linux_{_MACHINE}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The system that wheels are for.

    Attributes:
        python: ``3.13``.
        glibc: minor version.
        order: usable tags, each with its rank; 0 is best.
        environment: what markers of requirements are evaluated with (PEP 508).
    """

    python: str
    glibc: int
    order: Mapping[Tag, int]
    environment: Mapping[str, str]

    @classmethod
    def of(cls, python: str, glibc: int) -> Target:
        """CPython of that version on 64-bit Arm Linux."""
        version = tuple(int(part) for part in python.split("."))
        interpreter = f"cp{version[0]}{version[1]}"
        usable = platforms(glibc)
        tags = [
            *cpython_tags(version, abis=[interpreter], platforms=usable),
            *compatible_tags(version, interpreter=interpreter, platforms=usable),
        ]
        full = f"{python}.{_PATCH}"
        environment = {
            **{key: str(value) for key, value in default_environment().items()},
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": _MACHINE,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": python,
            "sys_platform": "linux",
        }
        order = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
        return cls(python=python, glibc=glibc, order=order, environment=environment)

    def wants(self, requirement: Requirement, extras: frozenset[str]) -> bool:
        """Whether a requirement counts here, of a package that was asked for with these extras."""
        if requirement.marker is None:
            return True
        return any(
            requirement.marker.evaluate({**self.environment, "extra": extra})
            for extra in sorted(extras | {""})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that could be read.

    Attributes:
        path: of the file.
        name: of the distribution, normalised (PEP 503).
        version: of it.
        tags: what it is for.
        python: the Pythons that it declares.
        requires: what it needs, markers and all.
    """

    path: Path
    name: str
    version: Version
    tags: frozenset[Tag]
    python: SpecifierSet = field(default_factory=SpecifierSet)
    requires: tuple[Requirement, ...] = ()

    def rank(self, target: Target) -> int:
        """How well its tags fit, less is better; the wheel has to be usable."""
        return min(target.order[tag] for tag in self.tags if tag in target.order)

    def unfit(self, target: Target) -> str:
        """Why the target cannot use it, as the end of a sentence; empty: it can."""
        if self.tags & target.order.keys():
            if not self.python.contains(f"{target.python}.{_PATCH}", prereleases=True):
                return f"declares Python {self.python}, the image has {target.python}"
            return ""
        built_for = sorted({tag.platform for tag in self.tags})
        if {tag.platform for tag in target.order}.isdisjoint(built_for):
            # One line for "manylinux2014_x86_64.manylinux_2_17_x86_64": they mean the same.
            newer = [int(found[1]) for name in built_for if (found := _GLIBC.fullmatch(name))]
            if newer:
                return f"needs glibc 2.{min(newer)}, the image has 2.{target.glibc}"
            return f"is for {built_for[0]}, the image is 64-bit Linux on {_MACHINE}"
        pythons = sorted({_interpreter(tag.interpreter) for tag in self.tags})
        if pythons == [_interpreter(f"cp{target.python.replace('.', '')}")]:
            abis = ", ".join(sorted({tag.abi for tag in self.tags}))
            return f"is for another build of Python {target.python} ({abis})"
        return f"is for {' and '.join(pythons)}, the image has {target.python}"


def read_wheel(path: Path) -> Wheel:
    """The name and the metadata of a wheel.

    Raises:
        BrokenWheelError: it is none; the message is the end of a sentence that begins with it.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as err:
        raise BrokenWheelError("does not have the name of a wheel") from err
    python, requires = _metadata(path, name)
    return Wheel(path=path, name=name, version=version, tags=tags, python=python, requires=requires)


def _metadata(path: Path, name: str) -> tuple[SpecifierSet, tuple[Requirement, ...]]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [
                n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)
            ]
            if len(inside) != 1:
                raise BrokenWheelError("holds no METADATA")
            text = archive.read(inside[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as err:
        raise BrokenWheelError("is no zip archive, or only the beginning of one") from err
    except OSError as err:
        raise BrokenWheelError(f"cannot be read ({err.strerror or err})") from err
    stated, _ = parse_email(text)
    if canonicalize_name(stated.get("name", "")) != name:
        raise BrokenWheelError(f"holds the metadata of {stated.get('name', 'nothing')!r}")
    try:
        requires = tuple(Requirement(text) for text in stated.get("requires_dist", []))
        return SpecifierSet(stated.get("requires_python", "")), requires
    except (InvalidRequirement, InvalidSpecifier) as err:
        raise BrokenWheelError("holds a METADATA that cannot be read") from err


def _interpreter(tag: str) -> str:
    """``cp313`` as ``Python 3.13``."""
    found = re.fullmatch(r"(?:cp|py)(\d)(\d*)", tag)
    if found is None:
        return tag
    return f"Python {found[1]}.{found[2]}" if found[2] else f"Python {found[1]}"
