"""One rung after another, from the cheapest on, until one meets the budget.

A rung is judged on the selection rows only, never on the rows that the report is about: whoever
picks the best of four on the test rows reports a figure that the device will not see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import ModelContract
from edge_fer.errors import ConfigError, MissingExtra, ModelError
from edge_fer.evaluation.drop import AccuracyDrop, measure_drop
from edge_fer.preprocess import to_real
from edge_fer.types import Image
from edge_fer_convert.climbing.budget import Budget, judge
from edge_fer_convert.climbing.recipe import Recipe
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.quantise import quantise, tensor_ranges
from edge_fer_convert.measuring.ranges import Ranges, input_range
from edge_fer_convert.measuring.statistics import Statistics, measure_statistics
from edge_fer_convert.passes.bias import correct_bias
from edge_fer_convert.passes.equalise import equalise
from edge_fer_convert.passes.finetune import finetune

__all__ = ["Made", "Outcome", "Rung", "Selection", "Status", "Workshop", "climb"]

Status = Literal["accepted", "missed", "failed", "not_run"]
Progress = Callable[[str, int], Callable[[int], None]]
_BIAS_PICTURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows by which a rung is chosen.

    Attributes:
        pixels: ``uint8[N, h, w, c]`` as the model sees them.
        truth: ``int64[N]`` index into ``labels``.
        labels: the classes.
        split: where the rows came from.
        reference: ``float64[N, C]``, what the float model says.
    """

    pixels: Image = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)
    labels: tuple[str, ...]
    split: str
    reference: NDArray[np.float64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.truth)

    def drop(self, probabilities: NDArray[np.float64]) -> AccuracyDrop:
        """Float against somebody else's probabilities, ``float64[N, C]``."""
        return measure_drop(self.reference, probabilities, self.truth, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An int8 model.

    Attributes:
        candidate: the model.
        drop: what it costs on the selection rows.
        floating: the float model behind it, after equalisation, before what makes up for int8.
        ranges: of the activations.
        method: that chose them.
    """

    candidate: Candidate = field(repr=False)
    drop: AccuracyDrop
    floating: bytes = field(repr=False)
    ranges: Ranges = field(repr=False)
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What came of one recipe; ``made`` is None where it was not run or failed."""

    recipe: Recipe
    status: Status
    why: str
    made: Made | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All rungs in order, and what is taken: the accepted one, else the best.

    Attributes:
        rungs: in order.
        chosen: name of the recipe that is taken.
        made: what it made.
        met: False where the selection rows show for certain that it does not keep the budget: the
            whole interval lies beyond, or a class is over. What the figures leave open is left to
            the rows of the report.
    """

    rungs: tuple[Rung, ...]
    chosen: str
    made: Made
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The float model, and all that the passes need.

    Attributes:
        flatbuffer: the float model in canonical form.
        contract: of the float model.
        calibration: ``uint8[N, h, w, c]`` pictures that set the ranges.
        selection: rows that choose.
        per_tensor_dense: see :func:`edge_fer_convert.int8.quantise.quantise`.
        learning: gives ``uint8[N, h, w, c]`` pictures to fine-tune with, when it comes to that.
        progress: gives the counter of one step of so many.
        log: told of other people's lines.
    """

    flatbuffer: bytes = field(repr=False)
    contract: ModelContract
    calibration: Image = field(repr=False)
    selection: Selection
    per_tensor_dense: bool = False
    learning: Callable[[], Image] = field(repr=False)
    progress: Progress = lambda what, total: lambda done: None
    log: Callable[[str], None] = lambda line: None

    def make(self, recipe: Recipe) -> Made:
        """Follow a recipe: the int8 model and what it costs on the selection rows.

        Raises:
            ModelError: a pass cannot be done on this model.
            MissingExtra: a pass needs a package that is not installed.
        """
        flatbuffer = self.flatbuffer
        inputs = self.inputs(self.calibration)
        name = recipe.name
        if recipe.equalise:
            counter = self.progress(f"{name}: measuring channels", len(inputs))
            flatbuffer = equalise(flatbuffer, (i[None] for i in inputs), on_done=counter)
        counter = self.progress(f"{name}: calibrating", len(inputs))
        statistics = measure_statistics(flatbuffer, (i[None] for i in inputs), on_done=counter)
        best: Made | None = None
        for method in recipe.ranges:
            ranges = self.pinned(statistics, method)
            candidate = self.candidate(flatbuffer, ranges, recipe)
            drop = self.judge(candidate, f"{name}: {method}")
            if best is None or drop.mean_abs_dp < best.drop.mean_abs_dp:
                best = Made(
                    candidate=candidate,
                    drop=drop,
                    floating=flatbuffer,
                    ranges=ranges,
                    method=method,
                )
        if best is None:
            raise ConfigError(f"The recipe {name} names no ranges.", 'Write ranges = ["minmax"].')
        if recipe.finetune is None and not recipe.correct_bias:
            return best
        ranges = best.ranges
        if recipe.correct_bias:
            flatbuffer = correct_bias(
                flatbuffer,
                lambda f: quantise(f, ranges, per_tensor_dense=self.per_tensor_dense),
                inputs[:_BIAS_PICTURES],
                progress=lambda total: self.progress(f"{name}: correcting biases", total),
            )
        if recipe.finetune is not None:
            flatbuffer = finetune(
                flatbuffer,
                self.contract,
                tensor_ranges(Graph.read(flatbuffer), ranges),
                self.learning(),
                steps=recipe.finetune.steps,
                learning_rate=recipe.finetune.learning_rate,
                teacher=best.floating,
                per_tensor_dense=self.per_tensor_dense,
                on_step=self.progress(f"{name}: fine-tuning", recipe.finetune.steps),
                on_log=self.log,
            )
        candidate = self.candidate(flatbuffer, ranges, recipe)
        return replace(best, candidate=candidate, drop=self.judge(candidate, name))

    def inputs(self, pixels: Image) -> NDArray[np.float32]:
        """Pixels as the float model takes them, ``float32[N, h, w, c]``."""
        return to_real(pixels, self.contract.input)

    def pinned(self, statistics: Statistics, method: str) -> Ranges:
        """Ranges by a method, the input's such that pixels go in without loss."""
        graph = statistics.graph
        name = graph.tensors[graph.inputs[0]].name
        return statistics.ranges(method, pinned={name: input_range(self.contract.input)})

    def candidate(self, flatbuffer: bytes, ranges: Ranges, recipe: Recipe) -> Candidate:
        """The int8 model of a float one."""
        return Candidate.quantised(
            flatbuffer,
            self.contract,
            ranges,
            recipe=recipe.name,
            per_tensor_dense=self.per_tensor_dense,
        )

    def judge(self, candidate: Candidate, what: str) -> AccuracyDrop:
        """What a candidate costs on the selection rows."""
        pixels = self.selection.pixels
        counter = self.progress(f"{what} on {self.selection.split}", len(pixels))
        return self.selection.drop(candidate.probabilities(pixels, on_done=counter))


def climb(workshop: Workshop, recipes: Sequence[Recipe], budget: Budget) -> Outcome:
    """Follow recipes in order and stop at the first that meets the budget.

    Raises:
        ModelError: not one of them could be done; the first one's error.
    """
    rungs: list[Rung] = []
    errors: list[ModelError | MissingExtra] = []
    for recipe in recipes:
        skipped = _not_needed(recipe, rungs, budget)
        if skipped is not None:
            rungs.append(Rung(recipe=recipe, status="not_run", why=skipped))
            continue
        began = time.monotonic()
        try:
            made = workshop.make(recipe)
        except (ModelError, MissingExtra) as err:
            errors.append(err)
            rungs.append(Rung(recipe=recipe, status="failed", why=f"{err.message} {err.remedy}"))
            continue
        short = budget.shortfalls(made.drop)
        rungs.append(
            Rung(
                recipe=recipe,
                status="missed" if short else "accepted",
                why="; ".join(short) or "meets the budget",
                made=made,
                seconds=time.monotonic() - began,
            )
        )
    candidates = [(rung, rung.made) for rung in rungs if rung.made is not None]
    if not candidates:
        raise errors[0]
    chosen, made = min(candidates, key=lambda pair: _rank(pair[0], pair[1], budget))
    return Outcome(
        rungs=tuple(rungs),
        chosen=chosen.recipe.name,
        made=made,
        met=judge(made.drop, budget).verdict != "fail",
    )


def _not_needed(recipe: Recipe, rungs: Sequence[Rung], budget: Budget) -> str | None:
    accepted = next((r for r in rungs if r.status == "accepted"), None)
    if accepted is not None:
        return f"not needed: {accepted.recipe.name} meets the budget"
    enough = next((r for r in rungs if r.made is not None and _within(r.made, budget)), None)
    if recipe.last_resort and enough is not None:
        return f"not needed: {enough.recipe.name} keeps within the points allowed"
    return None


def _within(made: Made, budget: Budget) -> bool:
    """The accuracy budget is met, whatever the share of changed labels."""
    return not budget.shortfalls(made.drop, labels_too=False)


def _rank(rung: Rung, made: Made, budget: Budget) -> tuple[float, ...]:
    """Smaller is better: accepted, within the points allowed, near to the float model."""
    return (
        rung.status != "accepted",
        not _within(made, budget),
        -made.drop.agreement,
        made.drop.mean_abs_dp,
    )
