"""Int8 detectors by several recipes, and the one that stays nearest to the float detector.

The passes are the classifiers' own. What they make is judged on scenes that do not calibrate, by
:attr:`~edge_fer_convert.detection.agreement.Agreement.quality`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import ModelContract
from edge_fer.errors import ConfigError
from edge_fer.preprocess import to_real
from edge_fer.types import Image
from edge_fer_convert.calibration.letterboxed import Scene
from edge_fer_convert.climbing.recipe import Recipe
from edge_fer_convert.detection.agreement import Agreement, compare_detectors
from edge_fer_convert.int8.candidate import Candidate, open_detector
from edge_fer_convert.int8.quantise import quantise
from edge_fer_convert.measuring.ranges import Ranges, input_range
from edge_fer_convert.measuring.statistics import Statistics, measure_statistics
from edge_fer_convert.passes.bias import correct_bias
from edge_fer_convert.passes.equalise import equalise
from edge_fer_convert.request import Listener

__all__ = ["DETECTOR", "DetectorRung", "make_detectors"]

DETECTOR = Recipe(
    name="detector",
    words="channels equalised, the best of several ways to choose the ranges",
    equalise=True,
    ranges=("minmax", "percentile:99.99", "percentile:99.995", "percentile:99.999", "mse"),
)
"""Without correcting biases: that costs a minute, and both BlazeFace files agree less after it."""

_CHOOSING_SCORE = 0.2  # what is doubtful shows the most of what int8 does
_BIAS_PICTURES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRung:
    """What came of one recipe and one way to choose ranges.

    Attributes:
        recipe: its name.
        method: of the ranges, and whether biases were corrected.
        candidate: the int8 model.
        floating: the float model behind it.
        ranges: of the activations.
        agreement: with the float model, on the scenes that choose.
    """

    recipe: str
    method: str
    candidate: Candidate = field(repr=False)
    floating: bytes = field(repr=False)
    ranges: Ranges = field(repr=False)
    agreement: Agreement

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "recipe": self.recipe,
            "method": self.method,
            "bytes": len(self.candidate.flatbuffer),
            "agreement": self.agreement.to_json(),
        }


def make_detectors(
    flatbuffer: bytes,
    contract: ModelContract,
    calibration: Image,
    choosing: Sequence[Scene],
    recipes: Sequence[Recipe],
    listener: Listener,
) -> list[DetectorRung]:
    """Follow every recipe.

    Args:
        flatbuffer: the float model in canonical form.
        contract: of it.
        calibration: ``uint8[N, h, w, c]`` pictures that set the ranges.
        choosing: scenes that the candidates are compared on.
        recipes: in order; what two of them share is done once.
        listener: who is told.

    Raises:
        ConfigError: a recipe asks for a pass that only classifiers have.
        ModelError: a pass cannot be done on this model.
    """
    inputs = to_real(calibration, contract.input)
    original = Candidate(flatbuffer=flatbuffer, contract=contract)
    rungs: list[DetectorRung] = []
    known: dict[tuple[bool, str, bool], DetectorRung] = {}
    measured: dict[bool, tuple[bytes, Statistics]] = {}
    detection = contract.detection
    score = _CHOOSING_SCORE if detection is None else min(_CHOOSING_SCORE, detection.min_score)
    with open_detector(original.bare(Path("the float detector")), min_score=score) as reference:

        def judged(candidate: Candidate, what: str) -> Agreement:
            model = candidate.bare(Path("the int8 detector"))
            with open_detector(model, min_score=score) as other:
                frames = (frame for s in choosing if (frame := s.frame()) is not None)
                counter = listener.counter(f"comparing {what}", len(choosing))
                return compare_detectors(reference, other, frames, on_done=counter)

        for recipe in recipes:
            if recipe.finetune is not None:
                raise ConfigError(
                    f"The recipe {recipe.name} fine-tunes, which is there for classifiers only.",
                    "For a detector: --recipe plain, ranges, equalised, or a TOML file.",
                )
            if recipe.equalise not in measured:
                measured[recipe.equalise] = _measured(flatbuffer, recipe, inputs, listener)
            floating, statistics = measured[recipe.equalise]
            made = []
            for method in recipe.ranges:
                ranges = _pinned(statistics, method, contract)
                key = (recipe.equalise, method, False)
                if key not in known:
                    candidate = Candidate.quantised(floating, contract, ranges, recipe=recipe.name)
                    known[key] = DetectorRung(
                        recipe=recipe.name,
                        method=method,
                        candidate=candidate,
                        floating=floating,
                        ranges=ranges,
                        agreement=judged(candidate, f"{recipe.name}: {method}"),
                    )
                    rungs.append(known[key])
                made.append(known[key])
            best = max(made, key=lambda rung: rung.agreement.quality)
            if recipe.correct_bias:
                rungs.append(_corrected(best, recipe, contract, inputs, judged, listener))
    return rungs


def _measured(
    flatbuffer: bytes, recipe: Recipe, inputs: NDArray[np.float32], listener: Listener
) -> tuple[bytes, Statistics]:
    if recipe.equalise:
        counter = listener.counter(f"{recipe.name}: measuring channels", len(inputs))
        flatbuffer = equalise(flatbuffer, (i[None] for i in inputs), on_done=counter)
    counter = listener.counter(f"{recipe.name}: calibrating", len(inputs))
    return flatbuffer, measure_statistics(flatbuffer, (i[None] for i in inputs), on_done=counter)


def _corrected(
    best: DetectorRung,
    recipe: Recipe,
    contract: ModelContract,
    inputs: NDArray[np.float32],
    judged: Callable[[Candidate, str], Agreement],
    listener: Listener,
) -> DetectorRung:
    """The same with corrected biases. Maps are large: a dozen pictures give thousands of cells."""
    name = f"{recipe.name}: correcting biases"
    flatbuffer = correct_bias(
        best.floating,
        lambda f: quantise(f, best.ranges),
        inputs[:_BIAS_PICTURES],
        progress=lambda total: listener.counter(name, total),
    )
    candidate = Candidate.quantised(flatbuffer, contract, best.ranges, recipe=recipe.name)
    method = f"{best.method}, biases corrected"
    return DetectorRung(
        recipe=recipe.name,
        method=method,
        candidate=candidate,
        floating=best.floating,
        ranges=best.ranges,
        agreement=judged(candidate, f"{recipe.name}: {method}"),
    )


def _pinned(statistics: Statistics, method: str, contract: ModelContract) -> Ranges:
    """Ranges by a method, the input's such that pixels go in without loss."""
    graph = statistics.graph
    name = graph.tensors[graph.inputs[0]].name
    return statistics.ranges(method, pinned={name: input_range(contract.input)})
