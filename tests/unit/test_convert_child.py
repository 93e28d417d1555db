"""A scratch folder is gone again, whenever Ctrl-C comes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from edge_fer_convert.child import scratch_folder


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    before = tempfile.tempdir
    tempfile.tempdir = str(tmp_path)
    yield tmp_path
    tempfile.tempdir = before


def _interrupt_after_mkdir(frame: FrameType, event: str, function: Any) -> None:
    if event == "c_return" and function is os.mkdir:
        sys.setprofile(None)
        raise KeyboardInterrupt


def test_it_is_there_and_then_gone(scratch: Path) -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == scratch
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(scratch.iterdir()) == []


def test_ctrl_c_in_the_instant_after_it_was_made(scratch: Path) -> None:
    def interrupted() -> None:
        sys.setprofile(_interrupt_after_mkdir)
        with scratch_folder():
            pytest.fail("never reached")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(scratch.iterdir()) == []


def test_an_error_inside_leaves_nothing(scratch: Path) -> None:
    def failing() -> None:
        with scratch_folder() as folder:
            (folder / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert list(scratch.iterdir()) == []
