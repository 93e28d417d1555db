"""Calibration, selection and evaluation pictures of one data file, with no picture in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.data import EVERYTHING, TRAINING_NAMES, LabelledFaces, Rows, labelled
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.calibration.calibration_set import GENERATED, SCENES, CalibrationSet, digests
from edge_fer_convert.calibration.features import Features
from edge_fer_convert.calibration.near_copies import NearCopies, luma, perceptual_hashes
from edge_fer_convert.calibration.strata import digest, look

__all__ = ["SCENES", "CalibrationSet", "digests", "selection", "split_off", "training_split"]

_HELD_BACK_SHARE = 4  # without a training split, at most one picture in four calibrates
_SELECTION = "validation"


def selection(rows: Rows, evaluation: LabelledFaces) -> LabelledFaces | None:
    """The split that choices are made by, ``validation``, beside what is evaluated.

    Args:
        rows: the data file.
        evaluation: what the user wants the figures of.

    Returns:
        None where the data have no training split beside the evaluation, or the split is empty.
    """
    if training_split(rows, evaluation) is None:
        return None
    try:
        found = labelled(rows, evaluation.labels, split=_SELECTION)
    except DataError:
        return None
    # The data's own split may be the evaluation under another name.
    ours, theirs = (
        (set() if f.rows is None else set(f.rows.tolist())) for f in (found, evaluation)
    )
    return None if ours & theirs else found


def split_off(
    rows: Rows,
    evaluation: LabelledFaces,
    spec: InputSpec,
    count: int,
    *,
    features: Features | None = None,
    scenes: Image | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[CalibrationSet, LabelledFaces]:
    """Calibration pictures and evaluation faces that have no picture in common.

    Calibration takes the training split of the data, without pictures of the evaluation and the
    :func:`selection`, exact or near. Where there is none beside what is evaluated, at most a
    quarter of the evaluation pictures calibrates and only the rest is evaluated.

    Args:
        rows: the data file.
        evaluation: what the user wants the figures of.
        spec: the model's input.
        count: how many calibration pictures.
        features: see :meth:`CalibrationSet.choose`.
        scenes: see :meth:`CalibrationSet.choose`.
        on_done: see :meth:`CalibrationSet.choose`.

    Raises:
        DataError: one class only, or the data leave nothing to calibrate with.
    """
    present = np.unique(evaluation.truth)
    if len(present) < 2:
        only = evaluation.labels[int(present[0])] if len(present) else "none"
        raise DataError(
            f"{evaluation.path} has pictures of one class only ({only}) in split "
            f"{evaluation.split}: nothing can be told apart.",
            "Give --data with at least two of the model's classes.",
        )
    choose = partial(CalibrationSet.choose, features=features, scenes=scenes, on_done=on_done)
    training = training_split(rows, evaluation)
    if training is not None:
        aside = selection(rows, evaluation)
        known = list(look([*evaluation.images, *(aside.images if aside else ())], spec))
        without = frozenset(seen.digest for seen in known)
        apart_from = NearCopies(seen.hash for seen in known)
        faces = labelled(rows, evaluation.labels, split=training)
        calibration = choose(faces, spec, count, without=without, apart_from=apart_from)
        calibration.check_apart(without)
        return calibration, evaluation
    most = max(GENERATED + 1, len(evaluation) // _HELD_BACK_SHARE)
    calibration = choose(evaluation, spec, min(count, most), without=frozenset())
    evaluation = _rest(evaluation, calibration.digests, spec)
    known = list(look(evaluation.images, spec))
    calibration.check_apart(frozenset(seen.digest for seen in known))
    others = NearCopies(seen.hash for seen in known)
    hashes = perceptual_hashes([luma(p) for p in calibration.pixels[:-GENERATED]])
    kept = sum(value in others for value in hashes)
    return replace(calibration, wanted=count, near_copies_kept=kept), evaluation


def training_split(rows: Rows, evaluation: LabelledFaces) -> str | None:
    """The name of the data's training split; None where there is none, or it is evaluated.

    Args:
        rows: the data file.
        evaluation: what the user wants the figures of.
    """
    # Without a named test split the evaluation is everything, the training split included.
    if evaluation.split == EVERYTHING or rows.usage is None:
        return None
    present = set(rows.usage.tolist())
    return next((s for s in TRAINING_NAMES if s in present and s != evaluation.split), None)


def _rest(faces: LabelledFaces, taken: frozenset[bytes], spec: InputSpec) -> LabelledFaces:
    kept = [i for i, image in enumerate(faces.images) if digest(fit(image, spec)) not in taken]
    if not kept:
        raise DataError(
            f"{faces.path} is too small: calibration leaves nothing to evaluate.",
            "Add pictures, or give the data a Training and a test split.",
        )
    return replace(
        faces.take(np.array(kept)),
        split=f"{faces.split} but the calibration pictures",
        copy_of_training=None,
    )
