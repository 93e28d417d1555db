"""YuNet by OpenCV, where OpenCV itself needs help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_detector import frame_of

from edge_fer.detectors import open_detector


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 3), (32, 32), (30, 320), (240, 20)])
def test_a_strip_is_answered_from_its_pixels_alone(shared: Path, size: tuple[int, int]) -> None:
    """A detector that reads memory which nobody set says something else every time."""
    model = shared / "models" / "yunet_2023mar.onnx"
    detector = open_detector(f"yunet?file={model}&min_score=0.0001")
    rng = np.random.default_rng(0)
    strip = frame_of(rng.integers(0, 200, size, dtype=np.uint8))
    answers = set()
    for _ in range(20):
        soil = [np.full(n, 1e30, np.float32) for n in rng.integers(100, 200_000, 10)]
        del soil  # what the next buffers will hold
        detector.detect(frame_of(np.zeros((480, 640), np.uint8)))  # new buffers for the strip
        answers.add(detector.detect(strip))
    assert len(answers) == 1
