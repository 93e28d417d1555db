"""From a float detector and scenes to four files: what is done in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_fer import __version__
from edge_fer.contract import ModelContract
from edge_fer.errors import BudgetMissed, ConfigError, DataError, ModelError
from edge_fer.evaluation.boxes import SceneSet
from edge_fer.evaluation.boxes import read_scenes as read_labelled
from edge_fer.evaluation.detector import MIN_HEIGHT, counts, views
from edge_fer.preprocess import to_real
from edge_fer.types import Frame
from edge_fer_convert.calibration.letterboxed import (
    LetterboxedSet,
    Scene,
    letterboxed_set,
    part_scenes,
    read_scenes,
)
from edge_fer_convert.climbing.recipe import LADDER, load_recipe
from edge_fer_convert.detection.accuracy import PrecisionDrop, measure_precision
from edge_fer_convert.detection.agreement import Agreement, compare_detectors
from edge_fer_convert.detection.budget import LEAST_OVERLAP, judge_detector
from edge_fer_convert.detection.heads import heads_of, too_coarse
from edge_fer_convert.detection.making import DETECTOR, make_detectors
from edge_fer_convert.detection.request import DetectorRequest
from edge_fer_convert.detection.source import DetectorSource, read_detector
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.export import require_extra
from edge_fer_convert.inputs.export_heads import export_heads
from edge_fer_convert.inputs.heads import Rebuilt, check_rebuilt, import_heads
from edge_fer_convert.int8.candidate import Candidate, open_detector
from edge_fer_convert.int8.quantise import software
from edge_fer_convert.int8.verify import partitions
from edge_fer_convert.outputs import OutputFiles
from edge_fer_convert.reporting.detector import detector_document, detector_page
from edge_fer_convert.reporting.layers import layer_errors
from edge_fer_convert.reporting.report import as_json
from edge_fer_convert.request import Listener

__all__ = ["convert_detector"]

_PROOF = 8  # pictures on which the rebuilt float model is held against the file


def convert_detector(request: DetectorRequest, listener: Listener) -> dict[str, Any]:
    """Convert, compare, judge, write.

    Returns:
        The report, ``edge-fer/convert-detector/1``.

    Raises:
        ConfigError: options that contradict the file or each other; an output that is in the way.
        DataError: scenes that cannot be read, or too few.
        DeviceError: a folder that cannot be written.
        MissingExtra: the extra ``convert`` is not installed.
        ModelError: no float detector, or it does not become full integer.
        BudgetMissed: int8 costs too much; the candidate is kept as OUT.rejected.tflite.
    """
    recipes = (
        [load_recipe(request.recipe)] if request.recipe else [load_recipe(LADDER[0]), DETECTOR]
    )
    files = OutputFiles.beside(request.output)
    files.check(request.detector, force=request.force)
    files.rejected().check(request.detector, force=True)
    ready = _prepare(request, listener)
    original, calibration = ready.original, ready.calibration
    flatbuffer, contract = original.flatbuffer, original.contract
    rungs = make_detectors(
        flatbuffer, contract, calibration.pixels, ready.choosing, recipes, listener
    )
    taken = max(rungs, key=lambda rung: rung.agreement.quality)
    int8 = taken.candidate
    agreement = _agreement(ready, int8, listener)
    accuracy = _accuracy(ready, int8, listener)
    heads = heads_of(Graph.read(int8.flatbuffer), contract)
    verdict, words = judge_detector(request.max_drop, agreement, accuracy, too_coarse(heads))
    if verdict == "fail":
        files = files.rejected()
    metrics = () if accuracy is None else (accuracy.metric(agreement.quality),)
    finished_float = original.finish(files.float32, metrics=metrics)
    finished = int8.finish(
        files.int8,
        metrics=metrics,
        calibration=calibration.record,
        quantisation=int8.contract.quantisation.model_copy(
            update={"parent_sha256": finished_float.model.flatbuffer_sha256}
        ),
    )
    runs = partitions(int8.flatbuffer)
    report = detector_document(
        source={"path": str(ready.source.path), "sha256": ready.source.sha256},
        finished={"int8": finished, "float": finished_float},
        rebuilt=asdict(ready.rebuilt),
        heads=[head.to_json() for head in heads],
        agreement={"scenes": ready.reported_on, **agreement.to_json()},
        accuracy=None if accuracy is None else accuracy.to_json(),
        budget={
            "max_drop": request.max_drop,
            "min_box_iou": LEAST_OVERLAP,
            "verdict": verdict,
            "words": words,
        },
        calibration=calibration.manifest(),
        rungs=[rung.to_json() for rung in rungs],
        chosen={"recipe": taken.recipe, "method": taken.method},
        layers=layer_errors(
            taken.floating, int8.flatbuffer, calibration.pixels, contract, int8.contract
        ),
        partitions=None if runs is None else {"count": runs.count, "outside": list(runs.outside)},
        warnings=ready.warnings,
    )
    files.write(finished.data, finished_float.data, as_json(report), detector_page(report))
    if verdict == "fail":
        raise BudgetMissed(
            f"{words} The candidate is kept as {files.int8}, not as {request.output}.",
            f"See {files.report_html}; raise --max-drop, or take a detector that quantises better.",
            document=report,
        )
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """Everything that is known before the first int8 model is made."""

    source: DetectorSource
    original: Candidate
    rebuilt: Rebuilt
    choosing: tuple[Scene, ...] = field(repr=False)
    calibration: LetterboxedSet = field(repr=False)
    labelled: SceneSet | None
    reported_on: str
    warnings: list[str]

    def frames(self) -> Iterator[Frame]:
        """What the report is about."""
        if self.labelled is not None:
            yield from (view.frame for view in views(self.labelled, None, []))
            return
        yield from (frame for s in self.choosing if (frame := s.frame()) is not None)


def _prepare(request: DetectorRequest, listener: Listener) -> _Ready:
    source = read_detector(request.detector, request.contract)
    require_extra(source.form)
    labelled = None if request.evaluate is None else _labelled(request.evaluate)
    listener.progress("reading the scenes", 0, 0)
    scenes = read_scenes(request.data)
    choosing, calibrating = part_scenes(scenes, request.data, kept_out=_hashes(labelled))
    listener.progress("making the float model", 0, 0)
    flatbuffer, made_by = _flatbuffer(source, request, listener)
    contract = _described(source, request, made_by)
    name = str(source.path)
    heads = import_heads(flatbuffer, name, contract.detection)
    spec = contract.input
    if heads.shape != (spec.height, spec.width, spec.channels):
        raise ModelError(
            f"{name} takes pictures of {list(heads.shape)}, but its contract says "
            f"{[spec.height, spec.width, spec.channels]}.",
            "Give the contract that belongs to it: --contract FILE",
        )
    original = Candidate(flatbuffer=heads.flatbuffer, contract=contract)
    with open_detector(original.bare(source.path)):
        pass  # its heads are those that the contract speaks of
    calibration = letterboxed_set(
        calibrating,
        spec,
        request.calibration,
        source=str(request.data),
        on_done=listener.counter("choosing calibration pictures", request.calibration),
    )
    proof = to_real(calibration.pixels[:_PROOF], spec)
    rebuilt = check_rebuilt(flatbuffer, heads, [picture[None] for picture in proof], name)
    warnings = []
    if len(calibration.pixels) < request.calibration:
        warnings.append(
            f"The scenes gave {len(calibration.pixels)} calibration pictures instead of "
            f"{request.calibration}."
        )
    if labelled is None:
        warnings.append(
            "No scenes with boxes were given (--evaluate), so average precision was not measured, "
            "and the comparison is on the scenes that the recipe was chosen by."
        )
    for sentence in warnings:
        listener.warn(sentence)
    return _Ready(
        source=source,
        original=original,
        rebuilt=rebuilt,
        choosing=choosing,
        calibration=calibration,
        labelled=labelled,
        reported_on=str(request.evaluate or request.data),
        warnings=warnings,
    )


def _labelled(path: Path) -> SceneSet:
    scenes = read_labelled(path)
    if not any(counts(view, MIN_HEIGHT).any() for view in views(scenes, None, [])):
        raise DataError(
            f"{path} has no labelled face that is large enough to count, so there is no average "
            "precision to measure.",
            "Give scenes with a boxes.csv (image, x1, y1, x2, y2), or leave out --evaluate.",
        )
    return scenes


def _hashes(labelled: SceneSet | None) -> Iterator[str]:
    for scene in () if labelled is None else labelled.scenes:
        yield hashlib.sha256(scene.contents()).hexdigest()


def _flatbuffer(
    source: DetectorSource, request: DetectorRequest, listener: Listener
) -> tuple[bytes, dict[str, str]]:
    spec = source.contract.input
    if source.form == "keras":
        stated = spec.width, spec.height
        return export_heads(source.path, request.input_size, stated, on_log=listener.log)
    if request.input_size not in (None, (spec.width, spec.height)):
        raise ConfigError(
            f"{source.path} takes {spec.width}x{spec.height}; only a .keras file can be built for "
            "another size.",
            "Leave out --input-size.",
        )
    return source.data, {}


def _described(
    source: DetectorSource, request: DetectorRequest, made_by: dict[str, str]
) -> ModelContract:
    contract = source.contract
    spec = contract.input
    if request.input_size is not None:
        width, height = request.input_size
        spec = spec.model_copy(update={"width": width, "height": height})
    versions = {**made_by, **software(), "edge-fer": __version__}
    return contract.with_(
        input=spec,
        provenance={
            **contract.provenance,
            "converted_by": dict(sorted(versions.items())),
            "converted_from_sha256": source.sha256,
        },
    )


def _agreement(ready: _Ready, int8: Candidate, listener: Listener) -> Agreement:
    scenes: Sequence[Any] = ready.choosing if ready.labelled is None else ready.labelled.scenes
    counter = listener.counter("comparing on the scenes of the report", len(scenes))
    with (
        open_detector(ready.original.bare(Path("the float detector"))) as reference,
        open_detector(int8.bare(Path("the int8 detector"))) as other,
    ):
        return compare_detectors(reference, other, ready.frames(), on_done=counter)


def _accuracy(ready: _Ready, int8: Candidate, listener: Listener) -> PrecisionDrop | None:
    if ready.labelled is None:
        return None
    return measure_precision(
        ready.original,
        int8,
        ready.labelled,
        on_step=lambda done, total: listener.progress("measuring average precision", done, total),
    )
