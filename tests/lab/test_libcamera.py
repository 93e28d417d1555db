"""PicameraCamera on real picamera2 and libcamera: keeps its fake from drifting.

Not a gate for what is not ours: libcamera's virtual camera has been seen to hang. Five tries, and
then the test is skipped with what happened; a wrong picture or call fails it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from needs import workplace

SCRIPT = Path(__file__).with_name("libcamera.sh")
TOOLS = {"debootstrap": "debootstrap", "unshare": "util-linux", "apt-get": "apt"}
WRONG = 3


def test_picamera2_on_the_virtual_camera(tmp_path: Path) -> None:
    work = workplace(tmp_path, TOOLS)
    ran = subprocess.run(
        ["bash", SCRIPT, work], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = ran.stdout.decode(errors="replace")
    assert ran.returncode != WRONG, said[-8000:]
    if ran.returncode != 0:
        pytest.skip(f"the virtual camera did not run: {said[-1500:]}")
    assert said.count("PASS ") >= 6
