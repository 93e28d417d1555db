"""Runs in the virtual environment of tflite-runtime 2.14; see test_convert_legacy.py.

``python legacy_target.py FOLDER``: the folder holds ``model.tflite`` and ``pixels.npy`` and takes
``probabilities.npy``; what ran is said as JSON.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.modelfile import read_model


def main(folder: Path) -> None:
    model = read_model(folder / "model.tflite")
    backend = open_backend("tflite-runtime", model.flatbuffer)
    with closing(Classifier(model, backend)) as classifier:
        golden = classifier.golden_error()
        np.save(
            folder / "probabilities.npy", classifier.probabilities(np.load(folder / "pixels.npy"))
        )
    said = {"runtime": backend.name, "numpy": np.__version__, "golden": golden}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
