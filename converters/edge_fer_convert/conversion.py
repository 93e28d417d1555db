"""From a model and labelled pictures to four files: what is done in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import Metric
from edge_fer.errors import BudgetMissed, ConfigError, ModelError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import AccuracyDrop, measure_drop
from edge_fer.evaluation.metrics import confusion
from edge_fer.modelfile import embed, read_model
from edge_fer.preprocess import fit
from edge_fer_convert.climbing.budget import Budget, judge
from edge_fer_convert.climbing.experiments import drawn, halves, rung_rows, sweep
from edge_fer_convert.climbing.ladder import Outcome, climb
from edge_fer_convert.climbing.recipe import LADDER, load_recipe
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.candidate import Candidate, Finished
from edge_fer_convert.outputs import OutputFiles
from edge_fer_convert.preparation import Preparation, prepare
from edge_fer_convert.reporting.comparison import Comparison, compare
from edge_fer_convert.reporting.formats import convert_formats, measure_formats
from edge_fer_convert.reporting.layers import layer_errors
from edge_fer_convert.reporting.report import as_html, as_json, document
from edge_fer_convert.request import Listener, Request
from edge_fer_convert.targets.edgetpu import EdgeTpuReport, compile_for_edgetpu
from edge_fer_convert.targets.lint import lint, summary
from edge_fer_convert.targets.target import Target, load_target

__all__ = ["convert"]

_EDGE_TPU = "coral"


def convert(request: Request, listener: Listener) -> dict[str, Any]:
    """Convert, measure, judge, write.

    Returns:
        The report, ``edge-fer/convert/1``.

    Raises:
        ConfigError: options that contradict the model or each other; an output that is in the way.
        DataError: the data cannot be read, or calibration and evaluation cannot be kept apart.
        DeviceError: too little disk.
        MissingExtra: the extra ``convert`` is not installed.
        ModelError: no classifier, it does not become full integer, or not for this target.
        BudgetMissed: the accuracy budget was missed; the candidate is kept as OUT.rejected.tflite.
    """
    target = load_target(request.target)
    recipes = [load_recipe(n) for n in ([request.recipe] if request.recipe else LADDER)]
    if request.require_full_mapping and target.name != _EDGE_TPU:
        raise ConfigError(
            f"--require-full-mapping is about the Edge TPU; the target is {target.name}.",
            f"Add --target {_EDGE_TPU}, or leave it out.",
        )
    files = OutputFiles.beside(request.output)
    files.check(request.model, force=request.force)
    if request.budget != Budget():
        files.rejected().check(request.model, force=True)
    earlier = _earlier(request, files)

    ready = prepare(request, target, listener)
    shop, evaluation = ready.workshop, ready.evaluation
    for finding in lint(Graph.read(shop.flatbuffer), target):
        _warn(ready, listener, f"{finding}")
    outcome = climb(shop, recipes, request.budget)
    made = outcome.made
    int8, original = made.candidate, Candidate(flatbuffer=shop.flatbuffer, contract=shop.contract)
    _check_target(int8, target)
    edgetpu = _compiled(int8, target, request, listener)

    pixels = np.stack([fit(image, shop.contract.input) for image in evaluation.images])
    before = original.probabilities(
        pixels, on_done=listener.counter("evaluating the float model", len(pixels))
    )
    after = int8.probabilities(
        pixels, on_done=listener.counter("evaluating the int8 model", len(pixels))
    )
    drop = measure_drop(before, after, evaluation.truth, evaluation.labels)
    _say_if_hopeless(drop, ready, listener)
    judgement = judge(drop, request.budget)
    missed = _what_was_missed(outcome, judgement.words if judgement.verdict == "fail" else "")
    if missed:
        files = files.rejected()
    budget = judgement.to_json(request.budget)
    if missed:
        words = missed if missed == judgement.words else f"{missed} {judgement.words}"
        budget |= {"verdict": "fail", "words": words}
    plain = _plain(outcome, pixels, before, evaluation, listener)

    metric = _metric(evaluation, drop)
    finished_float = original.finish(files.float32, metrics=(metric,))
    finished = int8.finish(
        files.int8,
        metrics=(metric,),
        calibration=ready.calibration.record,
        quantisation=int8.contract.quantisation.model_copy(
            update={"parent_sha256": finished_float.model.flatbuffer_sha256}
        ),
    )
    listener.progress("asking what hangs on the calibration pictures", 0, 0)
    report = document(
        source=ready.source,
        finished={"int8": finished, "float": finished_float},
        evaluation=evaluation,
        drop=drop,
        budget={**budget, "met_on_selection": outcome.met},
        calibration=ready.calibration.manifest(),
        ranges=made.ranges,
        comparison=_compared(finished, earlier, pixels, after, listener),
        warnings=ready.warnings,
        rungs=rung_rows(outcome, shop, *([drawn(shop)] if ready.has_training else [])),
        chosen=outcome.chosen,
        plain=None if plain is None else plain.to_json(),
        layers=layer_errors(
            made.floating, int8.flatbuffer, shop.calibration, shop.contract, int8.contract
        ),
        confusion=_confusions(evaluation, before, after),
        stability=halves(shop, ready.calibration, made),
        sweep=sweep(shop, ready.calibration, made) if request.sweep else None,
        lint=summary(int8.flatbuffer, target),
        edgetpu=None if edgetpu is None else edgetpu.to_json(),
        formats=_formats(request, original, int8, evaluation, pixels, before, after, listener),
        input_range=ready.range_check.to_json(),
    )
    files.write(
        finished.data,
        finished_float.data,
        as_json(report),
        as_html(report),
        None
        if edgetpu is None or edgetpu.compiled is None
        else embed(edgetpu.compiled, finished.model.contract),
    )
    if missed:
        raise BudgetMissed(
            f"{missed} The candidate is kept as {files.int8}, not as {request.output}.",
            f"See {files.report_html}; raise the budget, or train a model that quantises better.",
            document=report,
        )
    return report


def _warn(ready: Preparation, listener: Listener, sentence: str) -> None:
    ready.warnings.append(sentence)
    listener.warn(sentence)


def _earlier(request: Request, files: OutputFiles) -> Finished | None:
    path = request.against or (files.int8 if files.int8.exists() else None)
    return None if path is None else Finished(model=read_model(path), data=path.read_bytes())


def _check_target(int8: Candidate, target: Target) -> None:
    errors = [f for f in lint(Graph.read(int8.flatbuffer), target) if f.severity == "error"]
    if errors:
        more = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
        raise ModelError(f"Not for {target.name}: {errors[0]}{more}", errors[0].instead)


def _compiled(
    int8: Candidate, target: Target, request: Request, listener: Listener
) -> EdgeTpuReport | None:
    if target.name != _EDGE_TPU:
        return None
    listener.progress("compiling for the Edge TPU", 0, 0)
    report = compile_for_edgetpu(
        int8.flatbuffer,
        require_full_mapping=request.require_full_mapping,
        on_log=listener.log,
    )
    listener.warn(report.words)
    for line in report.install:
        listener.warn(f"To install it: {line}")
    return report


def _what_was_missed(outcome: Outcome, judged: str) -> str:
    """Why the result is refused, or nothing."""
    if judged or outcome.met:
        return judged
    tried = "; ".join(
        f"{rung.recipe.name}: {rung.why}"
        for rung in outcome.rungs
        if rung.status in ("missed", "failed")
    )
    return f"No recipe keeps within the budget on the rows that choose ({tried})."


def _plain(
    outcome: Outcome,
    pixels: NDArray[np.uint8],
    before: NDArray[np.float64],
    evaluation: LabelledFaces,
    listener: Listener,
) -> AccuracyDrop | None:
    """What the plain recipe would have cost on the rows of the report, where another was taken."""
    rung = next((r for r in outcome.rungs if r.recipe.name == LADDER[0]), None)
    if rung is None or rung.made is None or outcome.chosen == LADDER[0]:
        return None
    counter = listener.counter("evaluating the plain int8 model", len(pixels))
    said = rung.made.candidate.probabilities(pixels, on_done=counter)
    return measure_drop(before, said, evaluation.truth, evaluation.labels)


def _compared(
    finished: Finished,
    earlier: Finished | None,
    pixels: NDArray[np.uint8],
    after: NDArray[np.float64],
    listener: Listener,
) -> dict[str, Any] | None:
    if earlier is None:
        return None
    counter: Callable[[int], None] = listener.counter(
        "comparing with the earlier file", len(pixels)
    )
    compared: Comparison = compare(finished, earlier, pixels, after.argmax(axis=1), on_done=counter)
    return compared.to_json()


def _confusions(
    evaluation: LabelledFaces, before: NDArray[np.float64], after: NDArray[np.float64]
) -> dict[str, Any]:
    count = len(evaluation.labels)
    return {
        "labels": list(evaluation.labels),
        **{
            name: confusion(said.argmax(axis=1), evaluation.truth, count).tolist()
            for name, said in (("float", before), ("int8", after))
        },
    }


def _formats(
    request: Request,
    original: Candidate,
    int8: Candidate,
    evaluation: LabelledFaces,
    pixels: NDArray[np.uint8],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    listener: Listener,
) -> list[dict[str, Any]] | None:
    if not request.formats:
        return None
    made = convert_formats(original.flatbuffer, request.formats, int8=int8.flatbuffer)
    others = len([name for name in made if name not in ("float32", "int8")])
    rows = measure_formats(
        made,
        original.contract,
        int8.contract,
        pixels,
        evaluation.truth,
        known={"float32": before, "int8": after},
        on_done=listener.counter("measuring formats", others * len(pixels)),
    )
    return [row.to_json() for row in rows]


def _metric(evaluation: LabelledFaces, drop: AccuracyDrop) -> Metric:
    classes: dict[str, dict[str, float | int | None]] = {
        label: {
            "n": c.n,
            "float_recall": c.reference_recall,
            "int8_recall": c.quantised_recall,
            "drop_points": c.drop_points,
        }
        for label, c in drop.per_class.items()
    }
    return Metric(
        data=Path(evaluation.path).name,
        data_sha256=evaluation.sha256,
        split=evaluation.split,
        n=drop.n,
        float_accuracy=drop.reference.accuracy,
        int8_accuracy=drop.quantised.accuracy,
        drop_points=drop.drop_points,
        ci95_points=drop.ci95_points,
        agreement=drop.agreement,
        per_class=classes,
    )


def _say_if_hopeless(drop: AccuracyDrop, ready: Preparation, listener: Listener) -> None:
    evaluation = ready.evaluation
    counts = np.bincount(evaluation.truth, minlength=len(evaluation.labels))
    share = float(counts.max()) / len(evaluation)
    if drop.reference.accuracy <= share:
        _warn(
            ready,
            listener,
            f"The float model is right in {100 * drop.reference.accuracy:.1f} % of the rows; "
            f"always saying {evaluation.labels[int(counts.argmax())]} would be right in "
            f"{100 * share:.1f} %. Check the order of the labels and the input range.",
        )
