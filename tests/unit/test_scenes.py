"""Crops of scenes: of any size and colour, the same each time."""

from pathlib import Path

import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.evaluation.scenes import non_face_crops, scene_crop, split_scenes

RGB = InputSpec(
    height=64, width=64, channels=3, colour="rgb", scale=(1 / 255,) * 3, offset=(0.0,) * 3
)


def test_a_colour_model_gets_gray_three_times() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    crop = scene_crop(scene, RGB, np.random.default_rng(1))
    assert crop.shape == (64, 64, 3)
    assert (crop[..., 0] == crop[..., 2]).all()
    assert crop.std() > 10


def test_twenty_crops_of_each_and_the_same_again() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (90, 70), dtype=np.uint8)
    first, second = (non_face_crops([scene, scene], RGB) for _ in range(2))
    assert first is not None
    assert first.shape == (40, 64, 64, 3)
    assert (first == second).all()
    assert len({c.tobytes() for c in first}) == 40
    assert non_face_crops([], RGB) is None


def test_what_is_no_picture_is_passed_over() -> None:
    files = {"a.txt": b"x", "b.png": b"not a picture", str(Path("c") / "d.jpg"): b""}
    found = split_scenes(files)
    assert not found.teaching + found.choosing + found.reporting
