"""The representative pictures whose activations set the int8 ranges."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_fer.contract import Calibration, InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.data import EVERYTHING, TRAINING_NAMES, LabelledFaces, Rows, labelled
from edge_fer.preprocess import fit
from edge_fer.types import Image

__all__ = ["CalibrationSet", "digests", "split_off"]

_GENERATED = 2  # the white and the black picture
_HELD_BACK_SHARE = 4  # without a training split, at most one picture in four calibrates


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Pictures as the model sees them, classes as even as the data allow, plus white and black.

    The order of the pictures means nothing: not for the ranges, not for the hash.

    Attributes:
        pixels: ``uint8[N, height, width, channels]``; the last two are white and black.
        per_class: how many of each label.
        split: where they came from, for people to read.
        wanted: how many were asked for.
    """

    pixels: Image = field(repr=False)
    per_class: dict[str, int]
    split: str
    wanted: int

    @classmethod
    def choose(
        cls, faces: LabelledFaces, spec: InputSpec, count: int, *, without: frozenset[bytes]
    ) -> CalibrationSet:
        """Choose from labelled faces.

        Within a class the picks follow the pixels' sha256: as good as random, and the same
        whatever the order of the file.

        Args:
            faces: the candidates.
            spec: the model's input.
            count: how many pictures in all, white and black included.
            without: :func:`digests` of pictures that must not be among them (evaluation data).

        Raises:
            DataError: no candidate is left.
        """
        pools: list[dict[bytes, Image]] = [{} for _ in faces.labels]
        for image, label in zip(faces.images, faces.truth, strict=True):
            pixels = fit(image, spec)
            digest = _digest(pixels)
            if digest not in without:
                pools[int(label)][digest] = pixels
        quotas = _even([len(pool) for pool in pools], max(count - _GENERATED, 1))
        if sum(quotas) == 0:
            raise DataError(
                f"{faces.path} has no pictures in split {faces.split} to calibrate with that are "
                "not evaluation pictures too.",
                "Give --data a Training split (train/ for folders), or another --split.",
            )
        chosen = {
            digest: pool[digest]
            for pool, quota in zip(pools, quotas, strict=True)
            for digest in sorted(pool)[:quota]
        }
        shape = (spec.height, spec.width, spec.channels)
        generated = [np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)]
        return cls(
            pixels=np.stack([*(chosen[digest] for digest in sorted(chosen)), *generated]),
            per_class=dict(zip(faces.labels, quotas, strict=True)),
            split=faces.split,
            wanted=count,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def sha256(self) -> str:
        """Over the pixels' own hashes in sorted order."""
        return hashlib.sha256(b"".join(sorted(map(_digest, self.pixels)))).hexdigest()

    @property
    def digests(self) -> frozenset[bytes]:
        """Of the pictures that came from the data, as :func:`digests` gives them."""
        return frozenset(map(_digest, self.pixels[:-_GENERATED]))

    @property
    def record(self) -> Calibration:
        """What the contract says of it."""
        return Calibration(sha256=self.sha256, n=len(self))

    def check_apart(self, evaluation: frozenset[bytes]) -> None:
        """See that no real picture of the set is a pixel copy of an evaluation picture.

        Raises:
            DataError: one is; the measured drop would be flattered.
        """
        shared = self.digests & evaluation
        if shared:
            raise DataError(
                f"{len(shared)} of {len(self)} calibration pictures are evaluation pictures too.",
                "Calibrate with the Training split.",
            )

    def manifest(self) -> dict[str, Any]:
        """For the report."""
        return {
            "sha256": self.sha256,
            "n": len(self),
            "wanted": self.wanted,
            "split": self.split,
            "per_class": self.per_class,
            "generated": ["white", "black"],
        }


def digests(images: Sequence[Image], spec: InputSpec) -> frozenset[bytes]:
    """The sha256 of each picture as the model sees it."""
    return frozenset(_digest(fit(image, spec)) for image in images)


def split_off(
    rows: Rows, evaluation: LabelledFaces, spec: InputSpec, count: int
) -> tuple[CalibrationSet, LabelledFaces]:
    """Calibration pictures and evaluation faces that have no picture in common.

    Calibration takes the training split of the data. Where there is none beside what is evaluated,
    at most a quarter of the evaluation pictures calibrates and only the rest is evaluated.

    Args:
        rows: the data file.
        evaluation: what the user wants the figures of.
        spec: the model's input.
        count: how many calibration pictures.

    Raises:
        DataError: the data leave nothing to calibrate with.
    """
    present = set() if rows.usage is None else set(rows.usage.tolist())
    training = next((s for s in TRAINING_NAMES if s in present and s != evaluation.split), None)
    # Without a named test split the evaluation is everything, the training split included.
    if training is not None and evaluation.split != EVERYTHING:
        faces = labelled(rows, evaluation.labels, split=training)
        without = digests(evaluation.images, spec)
        chosen = CalibrationSet.choose(faces, spec, count, without=without)
    else:
        most = max(_GENERATED + 1, len(evaluation) // _HELD_BACK_SHARE)
        chosen = CalibrationSet.choose(evaluation, spec, min(count, most), without=frozenset())
        chosen = replace(chosen, wanted=count)
        evaluation = _rest(evaluation, chosen.digests, spec)
    chosen.check_apart(digests(evaluation.images, spec))
    return chosen, evaluation


def _rest(faces: LabelledFaces, taken: frozenset[bytes], spec: InputSpec) -> LabelledFaces:
    kept = [i for i, image in enumerate(faces.images) if _digest(fit(image, spec)) not in taken]
    if not kept:
        raise DataError(
            f"{faces.path} is too small: calibration leaves nothing to evaluate.",
            "Add pictures, or give the data a Training and a test split.",
        )
    return replace(
        faces,
        split=f"{faces.split} but the calibration pictures",
        images=[faces.images[i] for i in kept],
        truth=faces.truth[kept],
        target=faces.target[kept],
        copy_of_training=None,
    )


def _even(available: Sequence[int], count: int) -> list[int]:
    """Shares of ``count``, as equal as the supplies allow; earlier classes get the odd ones."""
    shares = [0] * len(available)
    while (left := min(count, sum(available)) - sum(shares)) > 0:
        open_ = [i for i, supply in enumerate(available) if shares[i] < supply]
        each, odd = divmod(left, len(open_))
        for place, i in enumerate(open_):
            shares[i] += min(available[i] - shares[i], each + (place < odd))
    return shares


def _digest(pixels: Image) -> bytes:
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).digest()
