"""PicameraCamera on real picamera2 and libcamera: keeps its fake from drifting.

Not a gate for what is not ours: libcamera's virtual camera has been seen to hang. Five tries, and
then the test is skipped with what happened; a wrong picture or call fails it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from needs import run_script, workplace

TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
WRONG = 3


def test_picamera2_on_the_virtual_camera(tmp_path: Path) -> None:
    work = workplace(tmp_path, TOOLS, lane="device")
    code, said = run_script("libcamera.sh", work)
    assert code != WRONG, said[-8000:]
    if code != 0:
        pytest.skip(f"the virtual camera did not run: {said[-1500:]}")
    assert said.count("PASS ") >= 6
