import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.errors import DataError, EdgeFerError
from edge_fer_bench.accuracy.precheck import require_usable

LABELS = ("neutral", "happiness")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for label in LABELS:
        (tmp_path / "faces" / "test" / label).mkdir(parents=True)
        for i in range(2):
            picture = np.full((48, 48), 40 * i + 90, np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / "test" / label / f"{i}.png"), picture)
    return tmp_path / "faces"


def test_rows_that_can_be_used_are_counted(faces: Path) -> None:
    assert require_usable(faces, LABELS) == 4


def test_what_is_wrong_comes_back_as_it_was_raised(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nope") as caught:
        require_usable(faces, LABELS, split="nope")
    assert caught.value.remedy
    with pytest.raises(DataError):
        require_usable(faces, ("awe", "boredom"))
    groups = tmp_path / "groups.csv"
    groups.write_text("image,side\ntest/neutral/9.png,left\n")
    with pytest.raises(DataError, match=r"9\.png"):
        require_usable(faces, LABELS, groups=groups)


def test_a_reader_that_dies_is_no_success(faces: Path) -> None:
    dying = (sys.executable, "-c", "import sys; sys.exit('no memory')")
    with pytest.raises(EdgeFerError, match="no memory"):
        require_usable(faces, LABELS, program=dying)
