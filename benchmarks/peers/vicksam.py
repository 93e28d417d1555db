"""vicksam/fer-model: the strongest small FER+ classifier found, as published and in int8.

Its ``.tflite`` says nothing of labels and input. From its repository: gray 48x48 in [0, 1], eight
classes in FER+'s order, and the graph ends before the softmax. No code of it is used here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec, Quantisation
from edge_fer.errors import DataError, MissingExtra, ModelError
from edge_fer.evaluation.data import TRAINING_NAMES, Rows, labelled
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.modelfile import ModelFile
from edge_fer.preprocess import fit, to_real
from peers.entrant import Card, ClassifierEntrant

__all__ = ["INT8_NAME", "NAME", "open_float", "open_int8", "read"]

NAME = "vicksam/fer-model"
INT8_NAME = "vicksam/fer-model, int8 by TFLite"
_TERMS = "no licence is stated in its repository"
_CALIBRATION = 300
_WORKER = Path(__file__).with_name("int8_worker.py")


def read(path: Path | None) -> ModelFile:
    """The published file, with what its repository says of it in the form of a contract.

    Raises:
        ModelError: no file, or not a ``.tflite``.
    """
    if path is None:
        raise ModelError("No --peer FILE was given.", _REMEDY)
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(f"There is no peer at {path} ({err.strerror}).", _REMEDY) from err
    if data[4:8] != b"TFL3":
        raise ModelError(f"{path} is not a .tflite file.", _REMEDY)
    contract = ModelContract(
        labels=FERPLUS8,
        label_scheme="ferplus8",
        input=InputSpec(
            height=48, width=48, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
        ),
        output=OutputSpec(kind="logits"),
        licence=Licence(code=_TERMS, weights=_TERMS),
    )
    return _model(path, data, contract)


def open_float(model: ModelFile) -> ClassifierEntrant:
    """The file as published, on one thread.

    Raises:
        ModelError: its graph is not as its repository says.
    """
    return _open(NAME, "float32", model)


def open_int8(model: ModelFile, rows: Rows) -> ClassifierEntrant:
    """What plain post-training int8 makes of it: 300 random Training pictures, nothing tuned.

    Args:
        model: from :func:`read`.
        rows: the data, whose Training split calibrates (without copies of the other splits).

    Raises:
        DataError: the data have no Training split.
        MissingExtra: TensorFlow is not installed.
        ModelError: the graph cannot be quantised.
    """
    if rows.usage is None or not set(rows.usage.tolist()) & set(TRAINING_NAMES):
        raise DataError(
            f"{Path(rows.path).name} has no Training split to calibrate with.",
            "Give --data with one.",
        )
    if find_spec("tensorflow") is None:
        raise MissingExtra(
            "Making its int8 version needs TensorFlow.",
            "Install it with: pip install 'edge-fer[convert]'",
        )
    flatbuffer = _quantised(model, rows)
    backend = open_backend("auto", flatbuffer, threads=1)
    quantisation = Quantisation(
        scheme="int8", input=backend.input.quantisation, output=backend.outputs[0].quantisation
    )
    backend.close()
    contract = model.contract.with_(quantisation=quantisation)
    return _open(INT8_NAME, "int8", _model(model.path, flatbuffer, contract))


def _quantised(model: ModelFile, rows: Rows) -> bytes:
    faces = labelled(rows, FERPLUS8, split="Training")
    count = min(_CALIBRATION, len(faces))
    which = np.random.default_rng(0).choice(len(faces), count, replace=False)
    spec = model.contract.input
    pixels = np.stack([fit(faces.images[i], spec) for i in which.tolist()])
    with TemporaryDirectory(prefix="edge-fer-peer-") as folder:
        given, inputs, made = (
            Path(folder) / name for name in ("model.tflite", "inputs.npz", "int8.tflite")
        )
        given.write_bytes(model.flatbuffer)
        np.savez(inputs, inputs=to_real(pixels, spec)[:, None])
        done = subprocess.run(
            [sys.executable, str(_WORKER), str(given), str(inputs), str(made)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        if done.returncode or not made.exists():
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise ModelError(f"TFLite's converter cannot quantise {model.path.name}: {said[-1]}")
        return made.read_bytes()


def _model(path: Path, flatbuffer: bytes, contract: ModelContract) -> ModelFile:
    digest = hashlib.sha256(flatbuffer).hexdigest()
    return ModelFile(path=path, flatbuffer=flatbuffer, contract=contract, sha256=digest)


def _open(name: str, numbers: str, model: ModelFile) -> ClassifierEntrant:
    classifier = Classifier(model, open_backend("auto", model.flatbuffer, threads=1))
    card = Card(
        name=name,
        ours=False,
        numbers=numbers,
        labels=model.contract.labels,
        size_bytes=len(model.flatbuffer),
        sha256=model.sha256,
        runtime=classifier.backend.name,
        terms=_TERMS,
    )
    return ClassifierEntrant(card, classifier)


_REMEDY = (
    "Get model/ferplus_model_pd_best.tflite from github.com/vicksam/fer-model and name it "
    "with --peer."
)
