"""One flatbuffer on its way to becoming a model file: run, measured, finished."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.contract import Golden, ModelContract, Quantisation
from edge_fer.detectors.network import NetworkDetector
from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile, embed, read_model
from edge_fer.types import Image
from edge_fer_convert.child import scratch_folder
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.golden import allowed_steps, steady_pixels, stored
from edge_fer_convert.int8.quantise import quantise
from edge_fer_convert.int8.verify import check_full_integer, tensor_quantisation
from edge_fer_convert.measuring.ranges import Ranges

__all__ = ["Candidate", "Finished", "open_classifier", "open_detector"]

_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A model file that was read back: the model, and its bytes as they go to disk."""

    model: ModelFile
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A bare model, with a contract that lacks only what is still to be measured."""

    flatbuffer: bytes = field(repr=False)
    contract: ModelContract

    @classmethod
    def quantised(
        cls,
        flatbuffer: bytes,
        contract: ModelContract,
        ranges: Ranges,
        *,
        recipe: str = "plain",
        per_tensor_dense: bool = False,
    ) -> Candidate:
        """The int8 model of a float one, proved to be full integer.

        Args:
            flatbuffer: the float model.
            contract: of the float model.
            ranges: of its activations.
            recipe: its name, for the contract.
            per_tensor_dense: see :func:`edge_fer_convert.int8.quantise.quantise`.

        Raises:
            ModelError: it cannot be quantised, or something stayed float.
        """
        int8 = quantise(flatbuffer, ranges, per_tensor_dense=per_tensor_dense)
        graph = Graph.read(int8)
        check_full_integer(graph)
        # The heads of a detector have a scale each, which stand in the graph.
        one = contract.detection is None
        quantisation = Quantisation(
            scheme="int8",
            recipe=recipe,
            input=tensor_quantisation(graph.tensors[graph.inputs[0]]),
            output=tensor_quantisation(graph.tensors[graph.outputs[0]]) if one else None,
        )
        return cls(flatbuffer=int8, contract=contract.with_(quantisation=quantisation))

    def probabilities(
        self, pixels: Image, *, on_done: Callable[[int], None] = lambda done: None
    ) -> NDArray[np.float64]:
        """``uint8[N, h, w, c]`` to ``float64[N, C]``, by the runtime that is deployed.

        Args:
            pixels: what the model sees.
            on_done: told how many pictures have been run.
        """
        parts = []
        with open_classifier(self.bare(Path("candidate"))) as classifier:
            for start in range(0, len(pixels), _CHUNK):
                parts.append(classifier.probabilities(pixels[start : start + _CHUNK]))
                on_done(min(start + _CHUNK, len(pixels)))
        return np.concatenate(parts)

    def finish(self, path: Path, **measured: Any) -> Finished:
        """Put golden vectors and contract in, and read the result back as a device would.

        Args:
            path: the name that the file will have.
            measured: fields of the contract.

        Raises:
            ModelError: what was read back does not compute the same.
        """
        pixels = steady_pixels(self.bare(path))
        with open_model(self.bare(path)) as opened:
            golden = Golden.of(stored(pixels, self.contract), opened.raw(pixels))
        golden = golden.model_copy(update={"max_steps": allowed_steps(self.bare(path), pixels)})
        contract = self.contract.with_(golden=golden, **measured)
        data = embed(self.flatbuffer, contract)
        with scratch_folder() as folder:
            written = folder / "model.tflite"
            written.write_bytes(data)
            read_back = read_model(written)
        model = ModelFile(
            path=path,
            flatbuffer=read_back.flatbuffer,
            contract=read_back.contract,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        with open_model(model) as opened:
            found = opened.golden_error()
        if found is None or found[1] != 0 or contract.to_json() != model.contract.to_json():
            raise ModelError(
                f"The model that would become {path} does not compute what was measured ({found}).",
                "This is a fault of edge-fer: please report it with the model.",
            )
        return Finished(model=model, data=data)

    def bare(self, path: Path) -> ModelFile:
        """As a model file that was never written."""
        return ModelFile(path=path, flatbuffer=self.flatbuffer, contract=self.contract, sha256="")


def open_classifier(model: ModelFile) -> closing[Classifier]:
    """A model in LiteRT on one thread, closed at the end of the ``with`` block."""
    return closing(Classifier(model, open_backend("litert", model.flatbuffer)))


def open_detector(model: ModelFile, *, min_score: float | None = None) -> closing[NetworkDetector]:
    """A detector in LiteRT on one thread, closed at the end of the ``with`` block.

    Args:
        model: of a contract for face detection.
        min_score: what a face must score; None: as the contract says.
    """
    backend = open_backend("litert", model.flatbuffer)
    return closing(NetworkDetector(model, backend, min_score=min_score))


def open_model(model: ModelFile) -> closing[Classifier] | closing[NetworkDetector]:
    """Either, by its task."""
    return open_classifier(model) if model.contract.detection is None else open_detector(model)
