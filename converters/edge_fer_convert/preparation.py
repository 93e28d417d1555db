"""Everything that conversion needs to know before the first int8 model is made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from edge_fer import __version__
from edge_fer.assemble import open_detector
from edge_fer.contract import ModelContract
from edge_fer.errors import DataError, DeviceError, ModelError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled, pixel_sha256, read
from edge_fer.evaluation.labels import canonical as canonical_label
from edge_fer.pictures import PICTURE_SUFFIXES
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.calibration.features import penultimate
from edge_fer_convert.calibration.parting import (
    CalibrationSet,
    selection,
    split_off,
    training_split,
)
from edge_fer_convert.calibration.scenes import crops_from_scenes
from edge_fer_convert.climbing.ladder import Selection, Workshop
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.canonical import canonical
from edge_fer_convert.inputs.export import Exported, export, require_extra
from edge_fer_convert.inputs.sanity import RangeCheck, check_input_range
from edge_fer_convert.inputs.source import (
    Labels,
    Source,
    choose_labels,
    first_contract,
    read_source,
)
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.quantise import software
from edge_fer_convert.int8.verify import output_kind
from edge_fer_convert.request import Listener, Request
from edge_fer_convert.targets.target import Target

__all__ = ["Preparation", "prepare"]

_LEARNING = 4096  # pictures to fine-tune with
_ROOM = 8 << 20  # bytes for the two reports and what the model grows by
_COPIES = 3  # of the model, that TensorFlow and we leave in the temporary folder for a while
_OTHER_OUTPUT = "name another folder with -o"
_OTHER_TEMPORARY = "name another folder for temporary files, for example TMPDIR=/var/tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The float model, the rows in their three parts, and what was noticed.

    Attributes:
        source: the file that the user named.
        workshop: float model, contract, calibration pictures and selection rows.
        calibration: the set behind the pictures.
        evaluation: the rows that the report is about.
        has_training: the data have a training split beside what is evaluated.
        range_check: accuracy in the usual input ranges.
        warnings: sentences that were said.
    """

    source: Source
    workshop: Workshop
    calibration: CalibrationSet
    evaluation: LabelledFaces = field(repr=False)
    range_check: RangeCheck
    has_training: bool
    warnings: list[str]


def prepare(request: Request, target: Target, listener: Listener) -> Preparation:
    """Read the model and the data, export, choose the calibration set, check the input range.

    Raises:
        ConfigError: options that contradict the model or each other.
        DataError: the data cannot be read, a class folder is empty, or the parts cannot be kept
            apart.
        DeviceError: too little disk for the results or for temporary files.
        MissingExtra: the extra ``convert`` is not installed.
        ModelError: no classifier, or the input range is plainly wrong.
    """
    source = read_source(request.model)
    labels = choose_labels(source, request.labels)
    require_extra(source.form)
    warnings: list[str] = []

    def warn(sentence: str) -> None:
        warnings.append(sentence)
        listener.warn(sentence)

    _check_class_folders(request.data, labels)
    rows = read(request.data, request.ferplus)
    evaluation = labelled(rows, labels.names, split=request.split)
    _check_room(Path(gettempdir()), _COPIES * source.size + _ROOM, _OTHER_TEMPORARY)
    listener.progress("making the float model", 0, 0)
    exported = export(source, on_log=listener.log)
    _check_room(request.output.parent, 2 * len(exported.flatbuffer) + _ROOM, _OTHER_OUTPUT)
    contract = _described(source, labels, exported, request, warn)
    flatbuffer = canonical(exported.flatbuffer)
    spec = contract.input
    scenes = None
    if request.scenes is not None:
        listener.progress("looking for faces in the scenes", 0, 0)
        scenes = crops_from_scenes(request.scenes, open_detector(request.detector), spec)
    listener.progress("choosing calibration pictures", 0, 0)
    calibration, evaluation = split_off(
        rows,
        evaluation,
        spec,
        request.calibration,
        features=penultimate(flatbuffer, spec),
        scenes=scenes,
        on_done=lambda done, total: listener.progress("choosing calibration pictures", done, total),
    )
    _say_what_is_missing(rows, evaluation, calibration, warn)
    chosen_by = selection(rows, evaluation)
    if chosen_by is None:
        chosen_by = evaluation
        warn(
            "The data have no validation rows beside those that are evaluated, so the recipe is "
            "chosen by the rows that the report is about: its figures are a little too good."
        )
    listener.progress("checking the input range", 0, 0)
    checked = check_input_range(flatbuffer, contract, chosen_by.images, chosen_by.truth)
    checked.raise_if_refused()
    if checked.warning is not None:
        warn(checked.warning)
    workshop = Workshop(
        flatbuffer=flatbuffer,
        contract=contract,
        calibration=calibration.pixels,
        selection=_selection(flatbuffer, contract, chosen_by, listener),
        per_tensor_dense=target.per_tensor_dense,
        learning=cache(lambda: _learning(rows, evaluation, contract, calibration)),
        progress=listener.counter,
        log=listener.log,
    )
    return Preparation(
        source=source,
        workshop=workshop,
        calibration=calibration,
        evaluation=evaluation,
        range_check=checked,
        has_training=training_split(rows, evaluation) is not None,
        warnings=warnings,
    )


def _check_room(folder: Path, needed: int, elsewhere: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DeviceError(
            f"{folder} has {free >> 20} MiB free; converting needs {-(-needed >> 20)} MiB there.",
            f"Free some space, or {elsewhere}.",
        )


def _check_class_folders(data: Path, labels: Labels) -> None:
    """See that a folder named after a class holds pictures of it, which somebody forgot to copy."""
    if not data.is_dir():
        return
    for folder in sorted(p for p in data.rglob("*") if p.is_dir()):
        if canonical_label(folder.name) in labels.names and not any(
            p.suffix.lower() in PICTURE_SUFFIXES for p in folder.iterdir()
        ):
            raise DataError(
                f"The class folder {folder} is empty: it holds no picture.",
                "Put its pictures there, or remove the folder: a class that the data lack is left "
                "out of the figures.",
            )


def _described(
    source: Source,
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
    versions = {**exported.software, **software(), "edge-fer": __version__}
    return contract.with_(
        provenance={
            **contract.provenance,
            "converted_by": dict(sorted(versions.items())),
            "converted_from_sha256": source.sha256,
        }
    )


def _selection(
    flatbuffer: bytes, contract: ModelContract, faces: LabelledFaces, listener: Listener
) -> Selection:
    pixels = np.stack([fit(image, contract.input) for image in faces.images])
    counter = listener.counter(f"float model on {faces.split}", len(pixels))
    original = Candidate(flatbuffer=flatbuffer, contract=contract)
    return Selection(
        pixels=pixels,
        truth=faces.truth,
        labels=faces.labels,
        split=faces.split,
        reference=original.probabilities(pixels, on_done=counter),
    )


def _learning(
    rows: Rows, evaluation: LabelledFaces, contract: ModelContract, calibration: CalibrationSet
) -> Image:
    """Pictures of the training split, in the order of their hashes; else the calibration ones."""
    split = training_split(rows, evaluation)
    if split is None:
        return calibration.pixels
    faces = labelled(rows, evaluation.labels, split=split)
    order = np.argsort(pixel_sha256(faces.images), kind="stable")[:_LEARNING]
    return np.stack([fit(faces.images[i], contract.input) for i in order.tolist()])


def _say_what_is_missing(
    rows: Rows, evaluation: LabelledFaces, calibration: CalibrationSet, warn: Callable[[str], None]
) -> None:
    if rows.skipped:
        path, why = rows.skipped[0]
        warn(f"{len(rows.skipped)} pictures could not be read, the first: {path}: {why}")
    if evaluation.left_out:
        left = ", ".join(evaluation.left_out)
        warn(f"Classes that only the model or only the data have are left out: {left}.")
    counts = np.bincount(evaluation.truth, minlength=len(evaluation.labels))
    empty = [
        label
        for label, n in zip(evaluation.labels, counts, strict=True)
        if n == 0 and label not in evaluation.left_out
    ]
    if empty:
        warn(f"No row to evaluate shows {', '.join(empty)}.")
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
