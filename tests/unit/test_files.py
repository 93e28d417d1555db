import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_fer.errors import DeviceError
from edge_fer.files import atomic_write, write_bytes, write_text


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_mode_is_kept_and_new_files_follow_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o600)
    write_text(path, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "two"


def test_a_link_stays_a_link_and_a_device_is_refused(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    with pytest.raises(DeviceError, match="not a file"):
        write_text(Path("/dev/null"), "x")


def test_a_missing_folder_is_a_device_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="could not be written"):
        write_bytes(tmp_path / "none" / "a", b"x")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A file-size limit stands for the full disk: the write fails with an OSError all the same."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from edge_fer.files import write_bytes\n"
        "from edge_fer.errors import DeviceError\n"
        "try: write_bytes(Path(sys.argv[1]), bytes(5000))\n"
        "except DeviceError as err: sys.exit(err.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 4
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
