"""Wheels through the real pip: from a folder, from nowhere, stopped, and from an index."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_wheels import make_wheel

from edge_fer.errors import DeviceError
from edge_fer_firmware.facts import System, system, systems
from edge_fer_firmware.wheel_file import platforms
from edge_fer_firmware.wheel_folder import offer
from edge_fer_firmware.wheels import download

TRIXIE = System(
    name="trixie",
    title="Trixie",
    sources=(),
    python="3.13",
    glibc=41,
    mechanism="cloud-init",
    boot="/boot/firmware",
    constraints=("numpy<2",),
)
CP313 = "cp313-cp313-manylinux_2_28_aarch64"


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip finds anything."""
    folder = tmp_path / "offered"
    make_wheel(folder, "edge-fer", "9.9", requires=["numpy>=1.26", 'paho; extra == "mqtt"'])
    make_wheel(folder, "numpy", "1.26.4", tag=CP313)
    make_wheel(folder, "numpy", "2.3", tag=CP313)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_RETRIES", "0")
    return folder


def test_a_folder_is_filled_for_the_card_not_for_this_machine(
    tmp_path: Path, offered: Path
) -> None:
    make_wheel(offered, "numpy", "1.99", tag="cp313-cp313-manylinux_2_28_x86_64")
    make_wheel(
        offered,
        "paho",
        # pip on x86 wants the second and does not know of the first.
        requires=['there; platform_machine == "aarch64"', 'here; platform_machine != "aarch64"'],
    )
    make_wheel(offered, "there", requires=["deeper"])
    make_wheel(offered, "deeper")
    make_wheel(offered, "here")
    folder = tmp_path / "new" / "wheels"
    make_wheel(folder, "edge-fer", "0.0.1")  # of a former time
    source = make_source(tmp_path / "source")
    lines: list[str] = []
    wheels = download(
        TRIXIE,
        folder=folder,
        extras=["mqtt"],
        picamera=True,  # numpy<2
        ours=str(source),
        on_line=lines.append,
    )
    assert [wheel.name for wheel in wheels] == [
        "deeper-1.0-py3-none-any.whl",
        "edge_fer-10.0-py3-none-any.whl",
        f"numpy-1.26.4-{CP313}.whl",
        "paho-1.0-py3-none-any.whl",
        "there-1.0-py3-none-any.whl",
    ]
    assert sorted(folder.iterdir()) == wheels
    assert [p.name for p in folder.parent.iterdir()] == ["wheels"]
    assert any("numpy" in line for line in lines)


def make_source(folder: Path) -> Path:
    wheel = make_wheel(
        folder, "edge-fer", "10.0", requires=["numpy>=1.26", 'paho; extra == "mqtt"']
    )
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "edge-fer"\nversion = "10.0"\n'
    )
    (folder / "backend.py").write_text(
        "import shutil\n"
        "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
        f"    return shutil.copy({str(wheel)!r}, folder).rpartition('/')[2]\n"
    )
    return folder


def test_no_wheel_that_fits_leaves_the_folder_as_it_was(tmp_path: Path, offered: Path) -> None:
    folder = tmp_path / "wheels"
    before = make_wheel(folder, "edge-fer", "0.0.1")
    with pytest.raises(DeviceError, match="has no wheel that fits") as caught:
        download(TRIXIE, folder=folder, ours="edge-fer==9.8")
    assert "edge-fer==9.8" in caught.value.message
    assert "PIP_FIND_LINKS" in caught.value.remedy
    assert list(folder.iterdir()) == [before]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["offered", "wheels"]


def test_another_distribution_is_not_taken_for_ours(tmp_path: Path, offered: Path) -> None:
    with pytest.raises(DeviceError, match="not a wheel of edge-fer") as caught:
        download(TRIXIE, folder=tmp_path / "wheels", ours=str(make_wheel(offered, "other")))
    assert "other-1.0-py3-none-any.whl" in caught.value.message


def test_no_network_is_said_and_no_password(
    tmp_path: Path, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://someone:hunter2@{address}/t0ken/simple")
        lines: list[str] = []
        with pytest.raises(DeviceError, match="A package index cannot be reached") as caught:
            download(TRIXIE, folder=tmp_path / "wheels", ours="edge-fer==9.9", on_line=lines.append)
    everything = "\n".join([*lines, str(caught.value)])
    assert address in everything
    assert not [secret for secret in ("hunter2", "t0ken") if secret in everything]
    assert "PIP_NO_INDEX=1" in caught.value.remedy
    assert [p.name for p in tmp_path.iterdir()] == ["offered"]


def test_ctrl_c_stops_pip_and_leaves_nothing(
    tmp_path: Path, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    code = (
        "from pathlib import Path\n"
        "from test_provision_wheels_download import TRIXIE, download\n"
        f"download(TRIXIE, folder=Path({str(tmp_path / 'wheels')!r}), ours='edge-fer')"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
        here = Path(__file__).parent
        monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent}")
        child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            assert [p for p in tmp_path.iterdir() if p.name.startswith(".wheels.")]
            assert connection.recv(4) == b"GET "  # pip waits for the answer
            child.send_signal(signal.SIGINT)
            _, said = child.communicate(timeout=30)
            connection.settimeout(10)
            while connection.recv(1 << 16):  # until the other end is closed: pip is gone too
                pass
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said
    assert [p.name for p in tmp_path.iterdir()] == ["offered"]


@pytest.mark.slow
@pytest.mark.parametrize("name", systems())
def test_the_real_wheels_of_a_system(name: str, tmp_path: Path) -> None:
    facts = system(name)
    folder, began = tmp_path / "wheels", time.monotonic()
    try:
        wheels = download(facts, folder=folder, extras=["mqtt"], picamera=True)
    except DeviceError as err:
        if "A package index cannot be reached" in err.message:
            pytest.skip(f"no package index answers: {err.message}")
        raise
    size = sum(wheel.stat().st_size for wheel in wheels)
    took = time.monotonic() - began
    sys.stdout.write(f"{name}: {len(wheels)} wheels, {size / 1e6:.1f} MB, {took:.0f} s\n")
    assert 40e6 < size < 150e6
    assert not offer(wheels, python=facts.python, glibc=facts.glibc, extras=["mqtt"]).missing
    done = _resolved(facts, folder)
    assert done.returncode == 0, done.stdout
    # "Would install A-1 B-2 ...": all of them, and nothing else.
    assert len(done.stdout.rpartition("Would install ")[2].split()) == len(wheels)
    numpy = next(folder.glob("numpy-*"))
    numpy.unlink()
    assert "numpy" in _resolved(facts, folder).stdout
    left = offer(sorted(folder.iterdir()), python=facts.python, glibc=facts.glibc)
    assert "numpy" in left.missing[0]


def _resolved(facts: System, folder: Path) -> subprocess.CompletedProcess[str]:
    """What pip on the card would install from the folder alone."""
    command: Sequence[str] = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--no-index"),
        *("--find-links", str(folder), "--target", str(folder.parent / "nowhere")),
        # pip 23 compares Requires-Python with its own Python here, whatever it is told.
        *("--ignore-requires-python", "--only-binary=:all:"),
        *("--implementation=cp", f"--python-version={facts.python}"),
        *(f"--platform={tag}" for tag in platforms(facts.glibc)),
        "edge-fer[mqtt]",
    ]
    environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    return subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
