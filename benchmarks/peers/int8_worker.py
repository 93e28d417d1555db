"""What TFLiteConverter does to a float ``.tflite`` by default: its calibrator, then its quantiser.

A process of its own, because TensorFlow is never imported beside the runtime that measures.
Starting from the ``.tflite`` instead of a Keras model needs the two steps by their internal names.

Usage: int8_worker.py MODEL.tflite INPUTS.npz OUT.tflite, with ``inputs float32[N,1,h,w,c]``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def quantised(flatbuffer: bytes, inputs: Any) -> bytes:
    """Full int8, input and output included; ranges are the extremes over the inputs."""
    calibrator: Any = import_module("tensorflow.lite.python.optimize.calibrator")
    convert: Any = import_module("tensorflow.lite.python.convert")
    int8: Any = import_module("tensorflow").int8

    def pictures() -> Iterator[list[Any]]:
        for one in inputs:
            yield [one]

    engine = calibrator.Calibrator(calibrator.add_intermediate_tensors(flatbuffer))
    calibrated = engine.calibrate(pictures)
    return bytes(convert.mlir_quantize(calibrated, input_data_type=int8, output_data_type=int8))


def main() -> None:
    """Read, quantise, write."""
    model, inputs, out = (Path(word) for word in sys.argv[1:])
    with np.load(inputs) as stored:
        out.write_bytes(quantised(model.read_bytes(), stored["inputs"]))


if __name__ == "__main__":
    main()
