"""V4l2Camera on a real driver: the kernel's vivid, in an emulated machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from needs import workplace

SCRIPT = Path(__file__).with_name("vivid.sh")
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "depmod": "kmod",
    "mke2fs": "e2fsprogs",
    "apt-get": "apt",
}


def test_v4l2_on_vivid(tmp_path: Path) -> None:
    work = workplace(tmp_path, TOOLS)
    ran = subprocess.run(
        ["bash", SCRIPT, work], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = ran.stdout.decode(errors="replace")
    assert ran.returncode == 0, said[-8000:]
    assert "GUEST 0" in said, said[-8000:]
    assert said.count("PASS ") == 8
