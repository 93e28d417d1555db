"""What a training run leaves behind: OUT.keras with its contract inside, OUT.run.json beside it."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_fer import __version__
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer.errors import ConfigError, DeviceError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.files import write_bytes, write_text
from edge_fer_train.training import Recipe, TrainedModel

__all__ = ["CONTRACT_MEMBER", "check_output", "expression_spec", "save"]

CONTRACT_MEMBER = "edge_fer.contract.json"
_UNCLEAR = "images: Kaggle competition data of 2013, no clear redistribution licence"


def expression_spec() -> InputSpec:
    """48x48 luma in [0, 1]: the int8 input is then exactly ``uint8 - 128``."""
    return InputSpec(
        height=48, width=48, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
    )


def check_output(output: Path, *, force: bool) -> None:
    """Refuse before hours of training what could not be written after them.

    Raises:
        ConfigError: not a ``.keras`` name, or it exists and ``force`` is not set.
        DeviceError: the folder is missing or not writable.
    """
    if output.suffix != ".keras":
        raise ConfigError(f"{output} is no name for a Keras model.", "Name it OUT.keras.")
    if output.exists() and not force:
        raise ConfigError(f"{output} exists.", "Add --force to replace it.")
    if not os.access(output.parent, os.W_OK):
        raise DeviceError(f"{output.parent} is missing or not writable.", "Make the folder first.")


def save(
    output: Path,
    recipe: Recipe,
    scheme: str,
    training: LabelledFaces,
    validation: LabelledFaces,
    trained: TrainedModel,
) -> dict[str, Any]:
    """Write both files atomically; returns the run record."""
    trained_on = {
        "data": Path(training.path).name,
        "data_sha256": training.sha256,
        "split": training.split,
        "n": len(training),
        "chosen_by": f"{validation.split}, n {len(validation)}",
    }
    contract = ModelContract(
        labels=training.labels,
        label_scheme=scheme,
        input=expression_spec(),
        output=OutputSpec(kind="logits", temperature=trained.temperature),
        licence=Licence(
            code="Apache-2.0",
            weights="Apache-2.0, as far as the data allow",
            data=(f"FER2013 ({_UNCLEAR})", "FER+ votes: MIT"),
        ),
        provenance={
            "made_by": f"edge-fer {__version__}",
            "arch": recipe.arch,
            "parameters": trained.parameters,
            "macs": trained.macs,
            "epochs": recipe.epochs,
            "best_epoch": trained.best.epoch,
            "seed": recipe.seed,
            "trained_on": trained_on,
        },
    )
    record = {
        "schema": "edge-fer/train/1",
        "recipe": asdict(recipe),
        "trained_on": trained_on,
        "parameters": trained.parameters,
        "macs": trained.macs,
        "temperature": trained.temperature,
        "best": asdict(trained.best),
        "curve": [asdict(e) for e in trained.curve],
    }
    write_bytes(output, _keras_bytes(trained.model, contract))
    write_text(output.with_suffix(".run.json"), json.dumps(record, indent=1, sort_keys=True) + "\n")
    return record


def _keras_bytes(model: Any, contract: ModelContract) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        whole = BytesIO(path.read_bytes())
    with zipfile.ZipFile(whole, "a") as archive:
        member = zipfile.ZipInfo(CONTRACT_MEMBER, (1980, 1, 1, 0, 0, 0))
        archive.writestr(member, contract.to_json())
    return whole.getvalue()
