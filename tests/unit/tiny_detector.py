"""A tiny BlazeFace, made without TensorFlow: what is bright is a face.

Two grids, RESHAPE and CONCATENATION at the end and a ReLU that stands alone, as in the published
files. Scores come from the brightest pixel under a cell; a face is two cells across.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flat_graph import FlatGraph

from edge_fer.contract import (
    DetectionSpec,
    InputSpec,
    Licence,
    ModelContract,
    OutputSpec,
    SquareRule,
)

SIDE, STRIDES, ANCHORS = 64, (8, 16), (1, 2)
KEYPOINTS = ("right_eye", "left_eye")
VALUES = 4 + 2 * len(KEYPOINTS)
FEATURES = 4


def tiny_detector_contract(**changes: Any) -> ModelContract:
    detection = DetectionSpec(
        decoder="anchors",
        strides=STRIDES,
        anchors=ANCHORS,
        keypoints=KEYPOINTS,
        min_score=0.5,
        square=SquareRule(unit="width", side=1.2, centre_y=0.5),
    )
    return ModelContract(
        task="face-detection",
        labels=("face",),
        label_scheme="custom",
        input=InputSpec(
            height=SIDE, width=SIDE, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
        ),
        output=OutputSpec(kind="logits"),
        detection=detection,
        licence=Licence(code="Apache-2.0", weights="none"),
        provenance={"made_by": "a test"},
    ).with_(**changes)


def reshape(flat: FlatGraph, name: str, x: int, shape: tuple[int, ...]) -> int:
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    return flat.operator("RESHAPE", options, [x], flat.tensor(name, shape))


def concatenation(flat: FlatGraph, name: str, parts: list[int]) -> int:
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    shapes = [flat.graph.tensors[part].shape for part in parts]
    shape = (1, sum(s[1] for s in shapes), shapes[0][2])
    return flat.operator("CONCATENATION", options, parts, flat.tensor(name, shape))


def tiny_detector(score_gain: float = 20.0) -> bytes:
    """``float32[1, 64, 64, 1]`` to ``regressors [1, 96, 8]`` and ``classificators [1, 96, 1]``."""
    rng = np.random.default_rng(5)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    kernel = np.zeros((FEATURES, 1, 1, 1))
    kernel[:, 0, 0, 0] = (1.0, 0.9, 0.6, 0.3)
    x = flat.conv("features", picture, kernel, np.array([0.0, 0.05, 0.1, 0.0]))
    x = flat.unary("RELU", "positive", x)
    grids = []
    for level in range(4):
        x = flat.pool(f"pool_{level}", x)
        if level >= 2:
            grids.append(x)
    scores, boxes = [], []
    for grid, stride, anchors in zip(grids, STRIDES, ANCHORS, strict=True):
        weights = np.zeros((anchors, 1, 1, FEATURES))
        weights[:, 0, 0, 0] = score_gain
        bias = np.full(anchors, -0.6 * score_gain) - np.arange(anchors)
        scores.append(flat.conv(f"classificator_{stride}", grid, weights, bias))
        face = np.array([0, 0, 2 * stride, 2 * stride, -stride / 2, -3, stride / 2, -3])
        weights = 0.4 * rng.normal(size=(anchors * VALUES, 1, 1, FEATURES))
        boxes.append(flat.conv(f"regressor_{stride}", grid, weights, np.tile(face, anchors)))
    parts = {"classificators": (scores, 1), "regressors": (boxes, VALUES)}
    ends = {
        name: concatenation(
            flat,
            name,
            [
                reshape(flat, f"{name}_{i}", head, (1, _rows(flat, head, values), values))
                for i, head in enumerate(heads)
            ],
        )
        for name, (heads, values) in parts.items()
    }
    return flat.done([picture], [ends["regressors"], ends["classificators"]])


def _rows(flat: FlatGraph, head: int, values: int) -> int:
    return int(np.prod(flat.graph.tensors[head].shape)) // values


def scene(number: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """``uint8[96, 96]`` with one bright square, and its box (x1, y1, x2, y2)."""
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 60, (96, 96), np.uint8)
    side = int(rng.integers(10, 20))
    x, y = (int(v) for v in rng.integers(8, 96 - side - 8, 2))
    picture[y : y + side, x : x + side] = rng.integers(215, 256)
    return picture, (x, y, x + side, y + side)


def write_scenes(path: Path, numbers: range, *, boxes: bool = False) -> Path:
    """A zip of scenes, with a ``boxes.csv`` where it is asked for."""
    rows = ["image,x1,y1,x2,y2"]
    with zipfile.ZipFile(path, "w") as archive:
        for number in numbers:
            picture, box = scene(number)
            name = f"{number:03}.png"
            archive.writestr(f"images/{name}", cv2.imencode(".png", picture)[1].tobytes())
            rows.append(",".join([name, *map(str, box)]))
        if boxes:
            archive.writestr("boxes.csv", "\n".join(rows) + "\n")
    return path
