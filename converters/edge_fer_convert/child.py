"""The surroundings of a process that works for us: TensorFlow, a compiler."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from tempfile import gettempdir

__all__ = ["child_environment", "scratch_folder"]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of our own that is gone after the ``with`` block, whatever ends it.

    ``tempfile`` makes a folder and notes its name afterwards: Ctrl-C in between leaves it behind.
    This one has its name before it is there.
    """
    folder = Path(gettempdir()) / f"edge-fer-{token_hex(8)}"
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        rmtree(folder, ignore_errors=True)


def child_environment(folder: str, *, legacy_keras: bool = False) -> dict[str, str]:
    """Environment variables for it.

    Args:
        folder: where it may leave what it likes.
        legacy_keras: Keras 2, from the package tf-keras; read when TensorFlow is imported.
    """
    return {
        **os.environ,
        # The child must find what this process found, however that came about.
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TMPDIR": folder,  # TensorFlow leaves its intermediate files there
        "KERAS_BACKEND": "tensorflow",
        "TF_USE_LEGACY_KERAS": "1" if legacy_keras else "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
