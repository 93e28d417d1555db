"""The class means: how they are made, and that the shipped file is what the script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_fer.cameras.synthetic
from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer_train.mean_faces import main, mean_faces, to_npz

SHIPPED = Path(edge_fer.cameras.synthetic.__file__).with_name("mean_faces.npz")


def rows(images: list[np.ndarray], truth: list[int]) -> LabelledFaces:
    return LabelledFaces(
        path="made up",
        sha256="ab" * 32,
        split="Training",
        images=images,
        labels=("neutral", "happiness"),
        truth=np.array(truth),
        target=np.eye(2, dtype=np.float32)[truth],
        copy_of_training=None,
    )


def test_the_mean_of_a_class_and_its_mirror() -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (6, 6), np.uint8) for _ in range(3)]
    made = mean_faces(rows(images, [0, 1, 0]))
    assert made.faces.shape == (2, 6, 6)
    assert made.n.tolist() == [2, 1]
    assert np.array_equal(made.faces, made.faces[:, :, ::-1])
    mean = (images[0] / 1.0 + images[2]) / 2
    mean = (mean + mean[:, ::-1]) / 2
    # A linear stretch keeps the order of the luma values.
    middle = (made.faces[0] > 0) & (made.faces[0] < 255)
    slope, offset = np.polyfit(mean[middle], made.faces[0][middle].astype(float), 1)
    assert np.abs(slope * mean + offset - made.faces[0])[middle].max() < 1
    assert slope > 1


def test_a_flat_class_does_not_divide_by_zero() -> None:
    flat = np.full((6, 6), 7, np.uint8)
    assert mean_faces(rows([flat, flat], [0, 1])).faces.tolist() == [[[40] * 6] * 6] * 2


def test_data_that_cannot_be_averaged() -> None:
    gray, wide = np.zeros((6, 6), np.uint8), np.zeros((6, 8), np.uint8)
    colour = np.zeros((6, 6, 3), np.uint8)
    with pytest.raises(DataError, match="no rows of happiness"):
        mean_faces(rows([gray], [0]))
    with pytest.raises(DataError, match="one size"):
        mean_faces(rows([gray, wide], [0, 1]))
    with pytest.raises(DataError, match="one size"):
        mean_faces(rows([colour, colour], [0, 1]))


def test_the_same_bytes_twice() -> None:
    noise = np.random.default_rng(0)
    given = rows([noise.integers(0, 256, (6, 6), np.uint8) for _ in range(2)], [0, 1])
    assert to_npz(mean_faces(given)) == to_npz(mean_faces(given))


def test_missing_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "gone.npz"), "-o", str(tmp_path / "out.npz")]) == 2
    assert "There is no data" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_file() -> None:
    with np.load(SHIPPED) as stored:
        assert stored["faces"].shape == (8, 48, 48)
        assert stored["faces"].dtype == np.uint8
        assert tuple(stored["labels"]) == FERPLUS8
        assert stored["n"].min() >= 90  # nobody's face
    assert SHIPPED.stat().st_size < 20_000


def test_the_shipped_file_comes_from_the_data(fer2013: Path, tmp_path: Path) -> None:
    assert main([str(fer2013), "-o", str(tmp_path / "again.npz")]) == 0
    with np.load(SHIPPED) as shipped, np.load(tmp_path / "again.npz") as again:
        assert sorted(shipped.files) == sorted(again.files)
        for name in shipped.files:
            assert np.array_equal(shipped[name], again[name]), name
