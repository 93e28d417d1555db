"""Training of the detector: what is composed, what cells are told, what is lost and kept."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.contract import ModelContract
from edge_fer.errors import ConfigError, DataError
from edge_fer.evaluation.scenes import archive_files, kept_aside
from edge_fer.types import Box, Face, Frame, Image
from edge_fer_train.detection.compose import Composer, FaceCrops, Scene, face_box
from edge_fer_train.detection.labels import (
    Teacher,
    crop_keypoints,
    labelled_scenes,
    median_square,
    square_of_keypoints,
)
from edge_fer_train.detection.material import read_material
from edge_fer_train.detection.network import KEYPOINTS, STRIDES, build_detector
from edge_fer_train.detection.record import detector_contract, save_detector
from edge_fer_train.detection.targets import COLUMNS, Truth, assign, detection_loss
from edge_fer_train.detection.training import DetectorRecipe, train_detector

HEIGHT, WIDTH = 96, 128


def truth(*boxes: tuple[float, float, float, float], ignored: bool = False) -> Truth:
    return Truth(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        keypoints=np.array(
            [[(x1 + 5, y1 + 5), (x2 - 5, y1 + 5), (np.nan, np.nan)] for x1, y1, x2, y2 in boxes],
            np.float32,
        ).reshape(-1, 3, 2),
        ignored=np.full(len(boxes), ignored),
    )


def grids(told: np.ndarray) -> list[np.ndarray]:
    sizes = [(HEIGHT // s) * (WIDTH // s) for s in STRIDES]
    parts = np.split(told, np.cumsum(sizes)[:-1])
    return [p.reshape(HEIGHT // s, WIDTH // s, -1) for p, s in zip(parts, STRIDES, strict=True)]


def test_a_face_is_told_to_the_cells_in_its_middle_on_the_grid_of_its_size() -> None:
    fine, middle, coarse = grids(assign(truth((24, 24, 43, 48)), HEIGHT, WIDTH))
    assert fine.shape == (12, 16, COLUMNS)
    rows, columns = np.nonzero(fine[..., 0] == 1)
    assert set(rows) == {3, 4, 5}
    assert set(columns) == {3, 4}
    assert fine[4, 4, 1:5].tolist() == [24, 24, 43, 48]
    assert fine[4, 4, 5:].tolist() == [29, 29, 1, 38, 29, 1, 0, 0, 0]
    assert not (middle[..., 0] == 1).any()
    assert not (coarse[..., 0] == 1).any()
    # The next grid sees the face, too, and is not told that it is none.
    assert (middle[..., 0] == -1).any()


def test_a_face_between_two_sizes_is_told_to_both_and_a_tiny_one_to_somebody() -> None:
    fine, middle, _ = grids(assign(truth((30, 30, 62, 70)), HEIGHT, WIDTH))
    assert (fine[..., 0] == 1).any()
    assert (middle[..., 0] == 1).any()
    fine, _, _ = grids(assign(truth((9, 9, 12, 12)), HEIGHT, WIDTH))
    assert (fine[..., 0] == 1).sum() == 1


def test_the_smaller_of_two_faces_has_the_cell_and_ignored_ones_stay_open() -> None:
    fine, _, _ = grids(assign(truth((16, 16, 44, 48), (26, 26, 36, 38)), HEIGHT, WIDTH))
    assert fine[3, 3, 1:5].tolist() == [26, 26, 36, 38]
    told = assign(truth((16, 16, 44, 48), ignored=True), HEIGHT, WIDTH)
    assert not (told[:, 0] == 1).any()
    assert (told[:, 0] == -1).any()
    assert not assign(truth(), HEIGHT, WIDTH).any()


def perfect_heads(told: np.ndarray) -> list[np.ndarray]:
    """Heads that say exactly what was told, in the form that the decoder ``grid`` reads."""
    heads = []
    for stride, grid in zip(STRIDES, grids(told), strict=True):
        rows, columns = grid.shape[:2]
        y, x = np.mgrid[:rows, :columns] + 0.5
        at = np.stack([x, y], axis=-1) * stride
        low, high = grid[..., 1:3], grid[..., 3:5]
        size = np.where(grid[..., :1] == 1, high - low, stride)
        middle = np.where(grid[..., :1] == 1, (low + high) / 2, at)
        points = grid[..., 5:].reshape(rows, columns, len(KEYPOINTS), 3)[..., :2]
        heads += [
            np.where(grid[..., :1] == 1, 1 - 1e-6, 1e-6),
            np.concatenate([(middle - at) / stride, np.log(size / stride)], axis=-1),
            ((points - at[:, :, None]) / stride).reshape(rows, columns, -1),
        ]
    return [h.astype(np.float32)[None] for h in heads]


def test_perfect_answers_lose_nothing_and_each_fault_is_seen_by_its_own_part() -> None:
    from keras import ops

    told = assign(truth((24, 24, 43, 48)), HEIGHT, WIDTH)

    def lost(heads: list[np.ndarray]) -> dict[str, float]:
        tensors = [ops.convert_to_tensor(h) for h in heads]
        return {k: float(v) for k, v in detection_loss(tensors, told[None]).items()}

    best = lost(perfect_heads(told))
    assert max(best.values()) < 1e-3
    shifted = perfect_heads(told)
    shifted[1][..., 0] += 0.5
    assert lost(shifted)["box"] > 0.3
    silent = perfect_heads(told)
    silent[0][...] = 1e-6
    assert lost(silent)["score"] > 10 * best["score"] + 1
    elsewhere = perfect_heads(told)
    elsewhere[0][0, 0, 0] = 0.99
    assert lost(elsewhere)["score"] > 1
    blind = perfect_heads(told)
    blind[2][...] += 1
    assert lost(blind)["keypoints"] > 0.3
    assert lost(blind)["box"] == pytest.approx(best["box"])


def test_the_net_has_the_heads_of_the_contract_at_every_size() -> None:
    for height, width in ((192, 256), (128, 128), (64, 96)):
        net = build_detector(height, width)
        shapes = [tuple(o.shape[1:]) for o in net.outputs]
        assert shapes == [
            (height // s, width // s, n) for s in STRIDES for n in (1, 4, 2 * len(KEYPOINTS))
        ]
    assert net.count_params() < 100_000
    scores = net(np.zeros((1, 64, 96, 1), np.float32))[0]
    assert float(np.max(scores)) < 0.1  # the prior: most cells hold no face


def test_cells_lie_alike_whatever_the_size() -> None:
    """A face moves with the picture's content, not with the picture's edges."""
    net = build_detector()
    rng = np.random.default_rng(0)
    small = rng.random((1, 128, 128, 1)).astype(np.float32)
    large = np.zeros((1, 192, 256, 1), np.float32)
    large[:, :128, :128] = small
    a, b = np.asarray(net(small)[1]), np.asarray(net(large)[1])
    # Far enough from the new right and bottom edges for what a cell sees.
    assert np.allclose(a[:, :2, :2], b[:, :2, :2], atol=1e-2)


def noise(rng: np.random.Generator, *shape: int) -> Image:
    return rng.integers(0, 256, shape).astype(np.uint8)


def composer(**changes: object) -> Composer:
    rng = np.random.default_rng(0)
    picture = noise(rng, 150, 200)
    scene = Scene(
        picture=picture,
        truth=truth((60, 40, 90, 80), (120, 50, 150, 90)),
        masked=np.array([1, 0]) > 0,
    )
    crops = FaceCrops(
        images=noise(rng, 5, 48, 48),
        keypoints=np.tile(np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.75]], np.float32), (5, 1, 1)),
        square=(0.5, 0.5, 1.0),
        weight=1.0,
    )
    stated = {
        "height": HEIGHT,
        "width": WIDTH,
        "scenes": [scene],
        "empty": [noise(rng, 70, 300), noise(rng, 300, 70)],
        "crops": [crops],
    }
    return Composer(**{**stated, **changes})  # type: ignore[arg-type]


def test_composed_pictures_hold_what_they_say() -> None:
    made = composer()
    rng = np.random.default_rng(1)
    faces = 0
    for _ in range(150):
        picture, found = made.one(rng)
        assert picture.shape == (HEIGHT, WIDTH)
        assert picture.dtype == np.uint8
        assert np.isfinite(found.boxes).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert found.boxes.min(initial=0) >= 0
        assert (found.boxes.max(axis=0, initial=0) <= (WIDTH, HEIGHT, WIDTH, HEIGHT)).all()
        told = found.keypoints[~found.ignored]
        eyes = told[np.isfinite(told).all(axis=(1, 2))][:, :2, 0]
        # The person's right eye is the left one in a picture of an upright face.
        assert (eyes[:, 0] < eyes[:, 1]).mean() > 0.5 if len(eyes) else True
        faces += int((~found.ignored).sum())
    assert faces > 150


def test_a_scene_moves_with_its_labels_mirrored_or_not() -> None:
    """A bright square in the middle of its box stays there to a part of a pixel."""
    picture = np.zeros((150, 200), np.uint8)
    picture[50:80, 70:100] = 255
    scene = Scene(picture=picture, truth=truth((60, 40, 110, 90)), masked=np.zeros(1, bool))
    made = composer(scenes=[scene], empty=[np.zeros((100, 100), np.uint8)])
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    off = []
    for _ in range(400):
        seen, (box,), _, _, _ = made._view(scene, rng)
        inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
        whole = (box[:2] > 3).all() and box[2] < WIDTH - 3 and box[3] < HEIGHT - 3
        if not whole or (seen[~inside] > 20).any():
            continue
        light = seen * inside / (seen * inside).sum()
        off.append((light * x).sum() - (box[0] + box[2]) / 2)
        off.append((light * y).sum() - (box[1] + box[3]) / 2)
    assert len(off) > 60
    assert np.percentile(np.abs(off), 90) < 0.3


def test_the_same_seed_composes_the_same() -> None:
    first, again = (composer().one(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1].boxes, again[1].boxes)


def test_a_pasted_face_lies_in_its_box() -> None:
    """On black, what is not black is the crop: it and its box have the same middle."""
    white = FaceCrops(
        images=np.full((1, 48, 48), 255, np.uint8),
        keypoints=np.full((1, 3, 2), np.nan, np.float32),
        square=(0.5, 0.5, 1.0),
        weight=1.0,
    )
    made = composer(crops=[white])
    rng = np.random.default_rng(2)
    for _ in range(20):
        canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
        cx, cy, side = rng.uniform(40, 80), rng.uniform(35, 60), rng.uniform(20, 50)
        made._put(canvas, cx, cy, side, 0.0, rng)
        ys, xs = np.nonzero(canvas > canvas.max() / 2)
        x1, y1, x2, y2 = face_box(cx, cy, side)
        assert abs(xs.mean() - (x1 + x2) / 2) < 0.1 * side
        assert abs(ys.mean() - (y1 + y2) / 2) < 0.1 * side


class KnowsOne:
    """A teacher that sees one face wherever the picture is brightest."""

    def __init__(self, score: float = 0.9) -> None:
        self.score = score

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        ys, xs = np.nonzero(frame.luma > 250)
        if not len(xs):
            return ()
        x, y, side = float(xs.min()), float(ys.min()), float(xs.max() - xs.min() + 1)
        eye, mouth = y + 0.35 * side, y + 0.75 * side
        points = [(0.32, eye), (0.68, eye), (0.5, y + 0.5 * side), (0.5, mouth)]
        return (
            Face(
                box=Box(x=x, y=y, w=side, h=side),
                score=self.score,
                keypoints=tuple((x + u * side, v) for u, v in points),
            ),
        )

    def detect_in(self, frame: Frame, region: Box) -> tuple[Face, ...]:
        return ()


def scenes_zip(path: Path, rows: list[tuple[str, str, int, int, int, int, str]]) -> Path:
    """Gray pictures with one white square at (60, 40), 50 wide."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["image", "source", "x1", "y1", "x2", "y2", "class"])
    writer.writerows(rows)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("boxes.csv", table.getvalue())
        for number, name in enumerate(dict.fromkeys(row[0] for row in rows)):
            picture = np.full((150, 200, 3), 90, np.uint8)
            picture[40:90, 60:110] = 255
            picture[0, 0] = number  # no two files alike
            archive.writestr(f"images/{name}", cv2.imencode(".png", picture)[1].tobytes())
    return path


def test_the_teacher_mends_loose_boxes_and_adds_what_nobody_drew(tmp_path: Path) -> None:
    rows = [
        ("loose.png", "maskedfacenet", 50, 50, 120, 110, "with_mask"),
        ("tight.png", "crowd", 62, 42, 108, 88, "without_mask"),
        ("other.png", "crowd", 5, 5, 25, 30, "without_mask"),
    ]
    path = scenes_zip(tmp_path / "s.zip", rows)
    loose, other, tight = (scene for _, scene in labelled_scenes(path, KnowsOne()))
    teacher_box = face_box(
        *square_of_keypoints(np.array([[76, 57.5], [94, 57.5], [85, 77.5]], np.float32))
    )
    assert np.allclose(loose.truth.boxes[0], teacher_box, atol=0.5)
    assert np.isfinite(loose.truth.keypoints).all()
    assert loose.masked.tolist() == [True]
    assert tight.truth.boxes[0].tolist() == [62, 42, 108, 88]
    assert len(other.truth) == 2
    assert not other.truth.ignored.any()
    unsure = [scene for _, scene in labelled_scenes(path, KnowsOne(score=0.6))][1]
    assert unsure.truth.ignored.tolist() == [False, True]


def test_scenes_without_a_table_or_a_column_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"x")
    with pytest.raises(DataError, match="no boxes"):
        list(labelled_scenes(path, KnowsOne()))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("boxes.csv", "image,x1\na.png,1\n")
    with pytest.raises(DataError, match="y2"):
        list(labelled_scenes(path, KnowsOne()))


def test_crops_learn_where_their_square_is() -> None:
    crop = np.full((48, 48), 90, np.uint8)
    crop[8:40, 8:40] = 255
    points = crop_keypoints([crop, np.full((48, 48), 90, np.uint8)], KnowsOne())
    assert np.isfinite(points[0]).all()
    assert np.isnan(points[1]).all()
    cx, _, side = median_square(points)
    assert cx == pytest.approx(0.5, abs=0.01)
    assert 0.5 < side < 0.8
    with pytest.raises(DataError, match="No face"):
        median_square(points[1:])


def write_material(folder: Path) -> tuple[Path, Path, Path]:
    rng = np.random.default_rng(0)
    rows = [(f"{i}.png", "crowd", 62, 42, 108, 88, "without_mask") for i in range(40)]
    scenes = scenes_zip(folder / "scenes.zip", rows)
    empty = folder / "empty.zip"
    with zipfile.ZipFile(empty, "w") as archive:
        for i in range(30):
            archive.writestr(f"{i}.png", cv2.imencode(".png", noise(rng, 80, 100))[1].tobytes())
    crop = np.full((200, 36, 36), 90, np.uint8)
    crop[:, 6:30, 6:30] = 255
    crop[:, 0, 0] = np.arange(200)
    np.savez(folder / "crops.npz", images=crop)
    return scenes, empty, folder / "crops.npz"


@pytest.mark.slow
def test_material_is_parted_and_a_short_training_learns_resumes_and_saves(tmp_path: Path) -> None:
    scenes, empty, crops = write_material(tmp_path)
    material = read_material(scenes, empty, [crops], KnowsOne())
    assert isinstance(KnowsOne(), Teacher)
    learning, judging = material.composers(64, 96)
    assert len(learning.scenes) + len(judging.scenes) == 40
    assert judging.scenes
    assert not {id(s) for s in learning.scenes} & {id(s) for s in judging.scenes}
    assert len(material.crops[0][0].images) + len(material.crops[1][0].images) == 200
    taught = next(name for name, data in archive_files(empty) if not kept_aside(data))
    fewer = read_material(scenes, empty, [crops], KnowsOne(), leave_out=(taught,))
    assert sum(fewer.sources["face_free"]) == sum(material.sources["face_free"]) - 1
    assert fewer.sources["left_out"] == [taught]
    assert material.sources["files"].keys() == {"scenes.zip", "empty.zip", "crops.npz"}

    recipe = DetectorRecipe(height=64, width=96, epochs=2, steps=3, batch=4, warm_up_epochs=0.5)
    lines = []

    def run(recipe: DetectorRecipe, **more: object) -> object:
        return train_detector(
            recipe,
            learning,
            judging,
            tmp_path / "run",
            learnt_from=material.sources,
            **more,  # type: ignore[arg-type]
        )

    trained = run(recipe, on_epoch=lines.append)
    assert [line.epoch for line in lines] == [1, 2]
    again = run(recipe, on_epoch=lines.append)
    assert len(lines) == 2  # nothing was left to do
    assert all(np.array_equal(a, b) for a, b in zip(trained.weights, again.weights, strict=True))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="another recipe"):
        run(DetectorRecipe(height=64, width=96, epochs=3, steps=3, batch=4))

    record = save_detector(tmp_path / "face.keras", recipe, material, trained)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "face.run.json").read_text()) == record
    with zipfile.ZipFile(tmp_path / "face.keras") as archive:
        contract = ModelContract.parse(archive.read("edge_fer.contract.json"), "face.keras")
    assert contract.task == "face-detection"
    assert (contract.input.height, contract.input.width) == (64, 96)
    import keras

    loaded = keras.models.load_model(tmp_path / "face.keras", compile=False)
    assert loaded.input_shape == (None, None, None, 1)


def test_the_square_of_the_contract_turns_the_training_box_around() -> None:
    rule = detector_contract(192, 256, {}).detection
    assert rule is not None
    x1, y1, x2, y2 = face_box(100.0, 80.0, 50.0)
    assert rule.square.unit == "height"
    assert (y2 - y1) * rule.square.side == pytest.approx(50.0, rel=1e-3)
    assert y1 + rule.square.centre_y * (y2 - y1) == pytest.approx(80.0, abs=0.05)
    assert (x1 + x2) / 2 == pytest.approx(100.0)


def test_too_little_to_part_is_refused(tmp_path: Path) -> None:
    rows = [("0.png", "crowd", 62, 42, 108, 88, "without_mask")]
    _, empty, crops = write_material(tmp_path)
    scenes = scenes_zip(tmp_path / "one.zip", rows)
    with pytest.raises(DataError, match="too few"):
        read_material(scenes, empty, [crops], KnowsOne())


@pytest.mark.slow
def test_a_run_may_begin_with_earlier_weights_of_the_same_net(tmp_path: Path) -> None:
    import keras

    made = composer()
    recipe = DetectorRecipe(
        height=HEIGHT, width=WIDTH, epochs=1, steps=1, batch=2, learning_rate=0.0, weight_decay=0.0
    )
    begun = build_detector(HEIGHT, WIDTH)
    trained = train_detector(recipe, made, made, tmp_path / "a", learnt_from={}, initial=begun)
    # At rate 0 only the moving statistics of the normalisation change.
    kept = [np.array_equal(a, b) for a, b in zip(trained.weights, begun.get_weights(), strict=True)]
    trainable = sum(len(layer.trainable_weights) for layer in begun.layers)
    assert sum(kept) >= trainable
    other = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ConfigError, match="another net"):
        train_detector(recipe, made, made, tmp_path / "b", learnt_from={}, initial=other)


def test_erased_faces_are_gone() -> None:
    made = composer(empty=[np.zeros((100, 100), np.uint8)])
    rng = np.random.default_rng(4)
    picture = np.full((HEIGHT, WIDTH), 255, np.uint8)
    boxes = np.array([[20, 20, 50, 60]], np.float32)
    points = np.full((1, 3, 2), np.nan, np.float32)
    erased, *nothing = made._erase(picture, boxes, points, np.zeros(1, bool), rng)
    assert (erased[20:60, 20:50] == 0).all()
    assert erased[0, 0] == 255
    assert all(len(part) == 0 for part in nothing)
