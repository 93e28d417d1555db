"""What training a detector leaves behind: OUT.keras with its contract inside, and OUT.run.json."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_fer import __version__
from edge_fer.contract import (
    DetectionSpec,
    InputSpec,
    Licence,
    ModelContract,
    OutputSpec,
    SquareRule,
)
from edge_fer.files import atomic_write
from edge_fer_train.detection.compose import BOX_DOWN, BOX_HEIGHT
from edge_fer_train.detection.material import Material
from edge_fer_train.detection.network import KEYPOINTS, STRIDES, build_detector
from edge_fer_train.detection.training import DetectorRecipe, TrainedDetector
from edge_fer_train.record import keras_bytes, plain_json
from edge_fer_train.zoo import count_macs

__all__ = ["SCHEMA", "detector_contract", "save_detector"]

SCHEMA = "edge-fer/train-detector/1"
_TERMS = (
    "scenes and face-free pictures: mixed and unstated terms",
    "FER2013: Kaggle competition data of 2013, no clear redistribution licence",
    "keypoints and missing boxes: BlazeFace full range (Apache-2.0)",
)


def detector_contract(height: int, width: int, provenance: dict[str, Any]) -> ModelContract:
    """What the files say of themselves: gray in [0, 1], decoder ``grid``.

    The square is the one that the training boxes were drawn by, turned around.
    """
    return ModelContract(
        task="face-detection",
        labels=("face",),
        label_scheme="custom",
        input=InputSpec(
            height=height,
            width=width,
            channels=1,
            colour="gray",
            scale=(1 / 255,),
            offset=(0.0,),
        ),
        output=OutputSpec(kind="probabilities"),
        detection=DetectionSpec(
            decoder="grid",
            strides=STRIDES,
            anchors=(1,) * len(STRIDES),
            keypoints=KEYPOINTS,
            square=SquareRule(
                unit="height",
                side=round(1 / BOX_HEIGHT, 4),
                centre_y=round(0.5 - BOX_DOWN / BOX_HEIGHT, 4),
            ),
        ),
        licence=Licence(
            code="Apache-2.0",
            weights="Apache-2.0, as far as the data allow",
            data=_TERMS,
        ),
        provenance=provenance,
    )


def save_detector(
    output: Path, recipe: DetectorRecipe, material: Material, trained: TrainedDetector
) -> dict[str, Any]:
    """Write both files, each appearing whole.

    The Keras model takes pictures of any size that is a multiple of 32.

    Returns:
        The run record, ``edge-fer/train-detector/1``.

    Raises:
        DeviceError: the disk is full or not writable.
    """
    sized = build_detector(recipe.height, recipe.width)
    model = build_detector()
    model.set_weights(trained.weights)
    best = min(trained.curve, key=lambda e: (e.judged_by, -e.epoch))
    parameters, macs = int(sized.count_params()), count_macs(sized)
    contract = detector_contract(
        recipe.height,
        recipe.width,
        {
            "made_by": f"edge-fer {__version__}",
            "parameters": parameters,
            "macs": macs,
            "epochs": recipe.epochs,
            "best_epoch": best.epoch,
            "seed": recipe.seed,
            "trained_on": material.sources,
        },
    )
    record: dict[str, Any] = plain_json(
        {
            "schema": SCHEMA,
            "recipe": asdict(recipe),
            "trained_on": material.sources,
            "parameters": parameters,
            "macs": macs,
            "best": asdict(best),
            "curve": [asdict(e) for e in trained.curve],
        }
    )
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    with ExitStack() as stack:
        # Renamed in reverse on leaving the block: when the model appears, its record is there.
        stack.enter_context(atomic_write(output)).write(keras_bytes(model, contract))
        stack.enter_context(atomic_write(output.with_suffix(".run.json"))).write(text.encode())
    return record
