"""What a training run leaves behind: OUT.keras with its contract inside, OUT.run.json beside it,
and the same as a page, OUT.run.html.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer import __version__
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec, QualityRanges
from edge_fer.errors import ConfigError, DeviceError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.files import atomic_write
from edge_fer_train.page import as_html
from edge_fer_train.rejection import Rejection
from edge_fer_train.training import Recipe, TrainedModel

__all__ = [
    "CONTRACT_MEMBER",
    "SCHEMA",
    "check_output",
    "expression_spec",
    "keras_bytes",
    "output_files",
    "plain_json",
    "save",
]

SCHEMA = "edge-fer/train/1"
CONTRACT_MEMBER = "edge_fer.contract.json"
_UNCLEAR = "images: Kaggle competition data of 2013, no clear redistribution licence"


def expression_spec() -> InputSpec:
    """48x48 luma in [0, 1]: the int8 input is then exactly ``uint8 - 128``."""
    return InputSpec(
        height=48, width=48, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
    )


def output_files(output: Path) -> tuple[Path, Path, Path]:
    """OUT.keras, OUT.run.json and OUT.run.html."""
    return output, output.with_suffix(".run.json"), output.with_suffix(".run.html")


def check_output(output: Path, *, force: bool) -> None:
    """Refuse before hours of training what could not be written after them.

    Raises:
        ConfigError: not a ``.keras`` name, or one of the files exists and ``force`` is not set, or
            something that is no file has its name.
        DeviceError: the folder is missing or not writable.
    """
    if output.suffix != ".keras":
        raise ConfigError(f"{output} is no name for a Keras model.", "Name it OUT.keras.")
    for path in output_files(output):
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not a file.", "Move it away, or choose another name.")
        if path.exists() and not force:
            raise ConfigError(f"{path} exists.", "Add --force to replace it.")
    if not os.access(output.parent, os.W_OK):
        raise DeviceError(f"{output.parent} is missing or not writable.", "Make the folder first.")


def save(
    output: Path,
    recipe: Recipe,
    scheme: str,
    training: LabelledFaces,
    validation: LabelledFaces,
    trained: TrainedModel,
    *,
    rejection: Rejection | None = None,
    quality: QualityRanges | None = None,
    confusion: NDArray[np.int64] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the three files, each appearing whole; none appears if one cannot be written.

    Args:
        output: OUT.keras; the others lie beside it.
        recipe: how it was trained.
        scheme: of the labels.
        training: the rows that taught.
        validation: the rows that chose.
        trained: the outcome.
        rejection: when to say ``unknown``; its threshold goes into the contract.
        quality: of the validation rows; goes into the contract.
        confusion: ``int64[C, C]`` on the validation rows, rows are the truth.
        more: further sections of the record; ``cross_fit`` is shown on the page.

    Returns:
        The run record, ``edge-fer/train/1``.

    Raises:
        DeviceError: the disk is full or not writable.
    """
    trained_on = {
        "data": Path(training.path).name,
        "data_sha256": training.sha256,
        "split": training.split,
        "n": len(training),
        "chosen_by": f"{validation.split}, n {len(validation)}",
    }
    unknown = None if rejection is None else {"min_probability": rejection.min_probability}
    contract = ModelContract(
        labels=training.labels,
        label_scheme=scheme,
        input=expression_spec(),
        output=OutputSpec(kind="logits", temperature=trained.temperature, unknown=unknown),
        quality=quality,
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
    record: dict[str, Any] = plain_json(
        {
            **(more or {}),
            "schema": SCHEMA,
            "recipe": asdict(recipe),
            "trained_on": trained_on,
            "labels": list(training.labels),
            "parameters": trained.parameters,
            "macs": trained.macs,
            "temperature": trained.temperature,
            "best": asdict(trained.best),
            "curve": [asdict(e) for e in trained.curve],
            "confusion": None if confusion is None else confusion.tolist(),
            "rejection": None if rejection is None else rejection.to_json(),
            "quality": None if quality is None else quality.model_dump(mode="json"),
        }
    )
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
    contents = (keras_bytes(trained.model, contract), text.encode(), as_html(record).encode())
    with ExitStack() as stack:
        # Renamed in reverse on leaving the block: when the model appears, the rest is there.
        for path, data in zip(output_files(output), contents, strict=True):
            stack.enter_context(atomic_write(path)).write(data)
    return record


def plain_json(value: Any) -> Any:
    """What JSON can hold: a number that is not finite is null, an odd object its text."""
    if isinstance(value, Mapping):
        return {str(k): plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(v) for v in value]
    if isinstance(value, np.generic):
        return plain_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def keras_bytes(model: Any, contract: ModelContract) -> bytes:
    """A ``.keras`` file with the contract as a member."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        whole = BytesIO(path.read_bytes())
    with zipfile.ZipFile(whole, "a") as archive:
        member = zipfile.ZipInfo(CONTRACT_MEMBER, (1980, 1, 1, 0, 0, 0))
        archive.writestr(member, contract.to_json())
    return whole.getvalue()
