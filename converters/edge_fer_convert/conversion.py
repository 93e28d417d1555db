"""From a ``.keras`` file and labelled pictures to four files: what is done in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_fer import __version__
from edge_fer.contract import Metric, ModelContract
from edge_fer.errors import BudgetMissed, ModelError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled, read
from edge_fer.evaluation.drop import AccuracyDrop, measure_drop
from edge_fer.modelfile import read_model
from edge_fer.preprocess import fit, to_real
from edge_fer_convert import quantise as quantiser
from edge_fer_convert.budget import Budget, judge
from edge_fer_convert.calibration import CalibrationSet, split_off
from edge_fer_convert.candidate import Candidate, Finished
from edge_fer_convert.comparison import compare
from edge_fer_convert.export import Exported, export, require_extra
from edge_fer_convert.graph import Graph
from edge_fer_convert.outputs import OutputFiles
from edge_fer_convert.ranges import Ranges, input_range, measure
from edge_fer_convert.report import as_html, as_json, document
from edge_fer_convert.source import (
    KerasSource,
    Labels,
    choose_labels,
    first_contract,
    read_source,
)
from edge_fer_convert.verify import output_kind

__all__ = ["Listener", "Request", "convert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; the fields are the command's options."""

    model: Path
    output: Path
    data: Path
    ferplus: Path | None = None
    labels: str | None = None
    split: str | None = None
    input_range: tuple[float, float] | None = None
    calibration: int = 512
    budget: Budget = field(default_factory=Budget)
    against: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told what happens.

    Attributes:
        progress: called with what is done, how much of it, and of how much (0: nobody knows).
        warn: a sentence that the user should read.
        log: a line of somebody else's output.
    """

    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    warn: Callable[[str], None] = lambda sentence: None
    log: Callable[[str], None] = lambda line: None

    def counter(self, what: str, total: int) -> Callable[[int], None]:
        """Progress of one step, as a function of how much is done."""
        return lambda done: self.progress(what, done, total)


def convert(request: Request, listener: Listener) -> dict[str, Any]:
    """Convert, measure, judge, write.

    Returns:
        The report, ``edge-fer/convert/1``.

    Raises:
        ConfigError: options that contradict the model or each other; an output that is in the way.
        DataError: the data cannot be read, or calibration and evaluation cannot be kept apart.
        MissingExtra: the extra ``convert`` is not installed.
        ModelError: no classifier, or it does not become full integer.
        BudgetMissed: the accuracy budget was missed; the candidate is kept as OUT.rejected.tflite.
    """
    files = OutputFiles.beside(request.output)
    files.check(request.model, force=request.force)
    if request.budget != Budget():
        files.rejected().check(request.model, force=True)
    source = read_source(request.model)
    labels = choose_labels(source, request.labels)
    require_extra()
    earlier = _earlier(request, files)
    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        listener.warn(sentence)

    rows = read(request.data, request.ferplus)
    evaluation = labelled(rows, labels.names, split=request.split)
    listener.progress("TensorFlow exports the float model", 0, 0)
    exported = export(request.model, on_log=listener.log)
    contract = _described(source, labels, exported, request, warn)
    calibration, evaluation = split_off(rows, evaluation, contract.input, request.calibration)
    _say_what_is_missing(rows, evaluation, calibration, warn)
    ranges = _ranges(exported.flatbuffer, contract, calibration, listener)
    listener.progress("quantising", 0, 0)
    int8 = Candidate.quantised(exported.flatbuffer, contract, ranges)
    original = Candidate(flatbuffer=exported.flatbuffer, contract=contract)

    pixels = np.stack([fit(image, contract.input) for image in evaluation.images])
    before = original.probabilities(
        pixels, on_done=listener.counter("evaluating the float model", len(pixels))
    )
    after = int8.probabilities(
        pixels, on_done=listener.counter("evaluating the int8 model", len(pixels))
    )
    drop = measure_drop(before, after, evaluation.truth, evaluation.labels)
    _say_if_hopeless(drop, evaluation, warn)
    judgement = judge(drop, request.budget)
    if judgement.verdict == "fail":
        files = files.rejected()

    metric = _metric(evaluation, drop)
    finished_float = original.finish(files.float32, metrics=(metric,))
    finished = int8.finish(
        files.int8,
        metrics=(metric,),
        calibration=calibration.record,
        quantisation=int8.contract.quantisation.model_copy(
            update={"parent_sha256": finished_float.model.flatbuffer_sha256}
        ),
    )
    said = after.argmax(axis=1)
    compared = (
        None
        if earlier is None
        else compare(
            finished,
            earlier,
            pixels,
            said,
            on_done=listener.counter("comparing with the earlier file", len(pixels)),
        )
    )
    report = document(
        source=source,
        finished={"int8": finished, "float": finished_float},
        evaluation=evaluation,
        drop=drop,
        budget=judgement.to_json(request.budget),
        calibration=calibration.manifest(),
        ranges=ranges,
        comparison=None if compared is None else compared.to_json(),
        warnings=warnings,
    )
    files.write(finished.data, finished_float.data, as_json(report), as_html(report))
    if judgement.verdict == "fail":
        raise BudgetMissed(
            f"{judgement.words} The candidate is kept as {files.int8}, not as {request.output}.",
            f"See {files.report_html}; raise the budget, or train a model that quantises better.",
            document=report,
        )
    return report


def _earlier(request: Request, files: OutputFiles) -> Finished | None:
    path = request.against or (files.int8 if files.int8.exists() else None)
    return None if path is None else Finished(model=read_model(path), data=path.read_bytes())


def _described(
    source: KerasSource,
    labels: Labels,
    exported: Exported,
    request: Request,
    warn: Callable[[str], None],
) -> ModelContract:
    if exported.classes != len(labels.names):
        raise ModelError(
            f"{source.path} gives {exported.classes} scores, but there are {len(labels.names)} "
            f"labels: {', '.join(labels.names)}.",
            "Name its classes in the model's order: --labels angry,disgust,...",
        )
    kind = output_kind(Graph.read(exported.flatbuffer))
    contract, assumed = first_contract(source, labels, exported.shape, kind, request.input_range)
    for sentence in assumed:
        warn(sentence)
    if kind == "probabilities":
        warn(
            "The model ends in softmax, so int8 probabilities come in steps of 1/256; "
            "one that ends in logits keeps more."
        )
    software = {**exported.software, **quantiser.software(), "edge-fer": __version__}
    return contract.with_(
        provenance={
            **contract.provenance,
            "converted_by": dict(sorted(software.items())),
            "converted_from_sha256": source.sha256,
        }
    )


def _ranges(
    flatbuffer: bytes, contract: ModelContract, calibration: CalibrationSet, listener: Listener
) -> Ranges:
    graph = Graph.read(flatbuffer)
    total = len(calibration)
    real = to_real(calibration.pixels, contract.input)
    found = measure(
        flatbuffer,
        (real[i : i + 1] for i in range(total)),
        on_done=listener.counter("calibrating", total),
    )
    # Rounded first: the input's range is exact and stays so.
    pinned = graph.tensors[graph.inputs[0]].name
    return found.rounded().with_range(pinned, *input_range(contract.input))


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


def _say_what_is_missing(
    rows: Rows, evaluation: LabelledFaces, calibration: CalibrationSet, warn: Callable[[str], None]
) -> None:
    if rows.skipped:
        path, why = rows.skipped[0]
        warn(f"{len(rows.skipped)} pictures could not be read, the first: {path}: {why}")
    if evaluation.left_out:
        left = ", ".join(evaluation.left_out)
        warn(f"Classes that only the model or only the data have are left out: {left}.")
    if calibration.split == evaluation.split.partition(" but ")[0]:
        warn(
            f"The data have no training split, so {len(calibration)} of the evaluation pictures "
            "calibrate and are not evaluated."
        )
    if len(calibration) < calibration.wanted:
        warn(
            f"The data gave {len(calibration)} calibration pictures "
            f"instead of {calibration.wanted}."
        )


def _say_if_hopeless(
    drop: AccuracyDrop, evaluation: LabelledFaces, warn: Callable[[str], None]
) -> None:
    counts = np.bincount(evaluation.truth, minlength=len(evaluation.labels))
    share = float(counts.max()) / len(evaluation)
    if drop.reference.accuracy <= share:
        warn(
            f"The float model is right in {100 * drop.reference.accuracy:.1f} % of the rows; "
            f"always saying {evaluation.labels[int(counts.argmax())]} would be right in "
            f"{100 * share:.1f} %. Check the order of the labels and the input range."
        )
