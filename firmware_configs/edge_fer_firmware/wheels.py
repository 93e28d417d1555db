"""Wheels for an installation with no network: downloaded here, for the system of a card.

pip takes the wheels' platform from us, but reads the markers of requirements with the Python that
it runs in (pip.pypa.io, "pip download"): what is needed only on the card is asked for in a
further round, and what is needed only here is left out.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_fer import __version__
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError
from edge_fer.files import sync_folder
from edge_fer_firmware.facts import System
from edge_fer_firmware.pip_run import pip
from edge_fer_firmware.wheel_folder import OURS, offer, platform_tags

__all__ = ["download", "origin"]

# The second brings what markers hid from the first; a third has been needed by nothing yet.
_ROUNDS = 4


def download(
    system: System,
    *,
    folder: Path,
    extras: Sequence[str] = (),
    picamera: bool = False,
    on_line: Callable[[str], None] = lambda line: None,
    ours: str | None = None,
) -> list[Path]:
    """Fill a folder with edge-fer's wheel and all that it needs on a system.

    The folder appears when all is there; a folder of wheels that had the name before is replaced.
    About 80 MB; pip's own cache makes a second time fast.

    Args:
        system: what the wheels are for.
        folder: where to.
        extras: of edge-fer: ``mqtt``.
        picamera: the system's picamera2 is used, so its constraints hold.
        on_line: told what pip says, without secrets.
        ours: what pip makes our own wheel from: a folder, a wheel or a requirement; None: where
            the edge-fer that runs came from.

    Returns:
        The wheels, each of them needed.

    Raises:
        ConfigError: the folder holds something else than wheels.
        DeviceError: no network, no wheel that fits, or no room.
        MissingExtra: pip or packaging is not installed.
    """
    folder = folder.resolve()
    constraints = system.constraints if picamera else ()
    look = partial(
        offer,
        python=system.python,
        glibc=system.glibc,
        extras=extras,
        constraints=constraints,
    )
    with _beside(folder) as work:
        _refuse_other(folder)
        new, own = work / "wheels", work / "own"
        new.mkdir()
        run = _Pip(system, work=work, constraints=constraints, on_line=on_line)
        run.build(ours or origin(), own)
        built = sorted(own.glob("*.whl"))
        if [wheel.name.partition("-")[0] for wheel in built] != ["edge_fer"]:
            raise DeviceError(
                f"pip made {', '.join(w.name for w in built) or 'nothing'} of {ours or origin()}, "
                "not a wheel of edge-fer.",
                "Install edge-fer again: pip install --force-reinstall edge-fer",
            )
        wanted = f"{OURS}[{','.join(sorted(extras))}]" if extras else OURS
        first = f"{wanted} @ {built[0].as_uri()}"
        lacking: tuple[str, ...] = ()
        for _ in range(_ROUNDS):
            run.download([first, *lacking], new)
            found = look(sorted(new.iterdir()))
            if not found.missing or found.lacking == lacking:
                break
            lacking = found.lacking
        if found.missing:
            raise DeviceError(
                f"The wheels are not complete for {system.title}: {' '.join(found.missing)}",
                "An index or a constraint that pip is set to hides them; see: pip config list",
            )
        for stray in set(new.iterdir()) - set(found.wheels):
            stray.unlink()
        _replace(folder, new, work / "before")
    return [folder / wheel.name for wheel in found.wheels]


def origin(
    installed: Callable[[str], Distribution] = distribution, version: str = __version__
) -> str:
    """What pip can make a wheel of this edge-fer from.

    Its source folder, wheel file or repository where it was installed from one (PEP 610), else
    this version of it from the package index.

    Raises:
        DeviceError: the folder or file is not there any more.
    """
    released = f"{OURS}=={version}"
    try:
        text = installed(OURS).read_text("direct_url.json")
    except PackageNotFoundError:
        return released
    if not text:
        return released
    stated = json.loads(text)
    url = str(stated["url"])
    if "vcs_info" in stated:
        return f"{OURS} @ {stated['vcs_info']['vcs']}+{url}@{stated['vcs_info']['commit_id']}"
    if urlsplit(url).scheme != "file":
        return f"{OURS} @ {url}"
    path = Path(unquote(urlsplit(url).path))
    if not path.exists():
        raise DeviceError(
            f"edge-fer was installed from {path}, which is not there any more.",
            "Put it back, or install edge-fer again from where it is now: pip install FOLDER",
        )
    return str(path)


class _Pip:
    """pip's two commands, for one system."""

    def __init__(
        self,
        system: System,
        *,
        work: Path,
        constraints: Sequence[str],
        on_line: Callable[[str], None],
    ) -> None:
        self._work, self._on_line = work, on_line
        digits = system.python.replace(".", "")
        self._target = ["--only-binary=:all:", "--implementation=cp", f"--abi=cp{digits}"]
        self._target += [f"--python-version={system.python}"]
        self._target += [f"--platform={name}" for name in platform_tags(system.glibc)]
        if constraints:
            file = work / "constraints.txt"
            file.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
            self._target += [f"--constraint={file}"]

    def build(self, what: str, to: Path) -> None:
        """Our own wheel."""
        self._run(["wheel", "--no-deps", f"--wheel-dir={to}", what])

    def download(self, requirements: Sequence[str], to: Path) -> None:
        """Requirements and all that pip knows them to need."""
        self._run(["download", f"--dest={to}", *self._target, *requirements])

    def _run(self, arguments: Sequence[str]) -> None:
        pip(arguments, work=self._work, on_line=self._on_line)


def _refuse_other(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder.", "Name a folder for the wheels.")
    if other := sorted(p.name for p in folder.iterdir() if p.suffix != ".whl"):
        raise ConfigError(
            f"{folder} holds something else than wheels: {other[0]}.",
            "Name a new folder: it is replaced as a whole.",
        )


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder on the same file system, gone at the end whatever happens."""
    work = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield work
    except EdgeFerError:
        raise
    except OSError as err:
        raise DeviceError(
            f"{folder} could not be written: {err.strerror or err}.",
            "Check that the folder above it exists, is writable and has room (df -h).",
        ) from err
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _replace(folder: Path, new: Path, before: Path) -> None:
    if folder.exists():
        folder.rename(before)
    try:
        new.rename(folder)
    except BaseException:
        if before.exists():
            before.rename(folder)
        raise
    sync_folder(folder.parent)
