"""The surroundings of a process that imports TensorFlow for us."""

from __future__ import annotations

import os
import sys

__all__ = ["child_environment"]


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
