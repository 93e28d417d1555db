"""The representative pictures whose activations set the int8 ranges, and what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_fer.contract import Calibration, InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.calibration.features import Features
from edge_fer_convert.calibration.near_copies import DISTANCE, NearCopies, luma
from edge_fer_convert.calibration.strata import Stratum, chosen, digest, pool_factor, sorted_out

__all__ = ["GENERATED", "SCENES", "CalibrationSet", "digests"]

SCENES = "scenes"  # the class of pictures that a detector cut out of scenes
GENERATED = 2  # the white and the black picture

_BRIGHTNESS_BINS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Pictures as the model sees them, classes as even as the data allow, plus white and black.

    Ranges and hash do not depend on the order of the pictures. It is the order in which they were
    taken, class by class in turn, so that the first n are as even as all are.

    Attributes:
        pixels: ``uint8[N, height, width, channels]``; the last two are white and black.
        per_class: how many of each label.
        split: where they came from, for people to read.
        wanted: how many were asked for.
        strata: class and brightness of each picture but the last two.
        rule: how they were chosen, in words.
        layer: in whose output they lie far apart; empty where that was not looked at.
        preprocess: what made the pixels.
        near_copies_dropped: candidates that nearly match evaluation or selection pictures.
        near_copies_kept: those that were not dropped, where most would be or one split was parted.
    """

    pixels: Image = field(repr=False)
    per_class: dict[str, int]
    split: str
    wanted: int
    strata: tuple[Stratum, ...] = field(default=(), repr=False)
    rule: str = ""
    layer: str = ""
    preprocess: str = ""
    near_copies_dropped: int = 0
    near_copies_kept: int = 0

    @classmethod
    def choose(
        cls,
        faces: LabelledFaces,
        spec: InputSpec,
        count: int,
        *,
        without: frozenset[bytes],
        apart_from: NearCopies | None = None,
        features: Features | None = None,
        scenes: Image | None = None,
        on_done: Callable[[int, int], None] = lambda done, total: None,
    ) -> CalibrationSet:
        """Choose from labelled faces.

        Evenly from every class, and in a class from its dark, medium and bright third; inside
        such a stratum pictures that lie far apart in ``features``. Nothing is random, and the
        order of the file means nothing.

        Args:
            faces: the candidates.
            spec: the model's input.
            count: how many pictures in all, white and black included.
            without: :func:`digests` of pictures that must not be among them (evaluation data).
            apart_from: pictures whose near copies must not be among them either.
            features: where pictures lie; left alone for a model too large to be run so often.
            scenes: ``uint8[M, height, width, channels]``, to join as one more class.
            on_done: told how many candidates have been placed in feature space, and of how many.

        Raises:
            DataError: no candidate is left.
        """
        crops = [] if scenes is None else [c[:, :, 0] if spec.channels == 1 else c for c in scenes]
        images = [*faces.images, *crops]
        classes = [*faces.truth.tolist(), *[len(faces.labels)] * len(crops)]
        found, dropped, kept = sorted_out(
            images, classes, spec, without=without, apart_from=apart_from
        )
        if not found:
            raise DataError(
                f"{faces.path} has no pictures in split {faces.split} to calibrate with that are "
                "not evaluation pictures too.",
                "Give --data a Training split (train/ for folders), or another --split.",
            )
        labels = faces.labels if scenes is None else (*faces.labels, SCENES)
        pools = {label: found.get(number, []) for number, label in enumerate(labels)}
        real = max(count - GENERATED, 1)
        taken = chosen(
            pools, real, lambda seen: fit(images[seen.place], spec), features, on_done=on_done
        )
        factor = pool_factor(features, real)
        layer = features.layer if features is not None and factor else ""
        shape = (spec.height, spec.width, spec.channels)
        generated = [np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)]
        return cls(
            pixels=np.stack([*(fit(images[seen.place], spec) for _, seen in taken), *generated]),
            per_class=_per_class(labels, [stratum for stratum, _ in taken]),
            split=faces.split,
            wanted=count,
            strata=tuple(stratum for stratum, _ in taken),
            rule=_rule(layer, factor),
            layer=layer,
            preprocess="edge_fer.preprocess.fit to "
            f"{spec.height}x{spec.width} {spec.colour}, interpolation {spec.interpolation}",
            near_copies_dropped=dropped,
            near_copies_kept=kept,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def sha256(self) -> str:
        """Over the pixels' own hashes in sorted order."""
        return hashlib.sha256(b"".join(sorted(map(digest, self.pixels)))).hexdigest()

    @property
    def digests(self) -> frozenset[bytes]:
        """Of the pictures that came from the data, as :func:`digests` gives them."""
        return frozenset(map(digest, self.pixels[:-GENERATED]))

    @property
    def record(self) -> Calibration:
        """What the contract says of it."""
        return Calibration(sha256=self.sha256, n=len(self))

    def first(self, count: int) -> CalibrationSet:
        """The first of the pictures, white and black kept: ``first(64)`` lies in ``first(128)``.

        Args:
            count: how many in all; the whole set where there are not so many.
        """
        real = len(self) - GENERATED
        return self._take(range(min(max(count - GENERATED, 1), real)), wanted=count)

    def halves(self) -> tuple[CalibrationSet, CalibrationSet]:
        """Two sets without a common picture but white and black, each stratum halved.

        Quantised by either, a model should say the same: the stability of the choice.

        Raises:
            DataError: fewer than two pictures to part.
        """
        strata = self._known_strata()
        if len(strata) < 2:
            raise DataError(
                f"{len(self)} calibration pictures cannot be halved.",
                "Give more pictures, or a larger --calibration.",
            )
        dealt = sorted(range(len(strata)), key=lambda i: (strata[i], i))
        a, b = (self._take(sorted(dealt[n::2]), wanted=len(dealt[n::2]) + 2) for n in (0, 1))
        return a, b

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
        strata: dict[str, dict[str, int]] = {}
        for label, brightness in self.strata:
            of = strata.setdefault(label, {})
            of[brightness] = of.get(brightness, 0) + 1
        means = [float(luma(pixels).mean()) for pixels in self.pixels[:-GENERATED]]
        counts, _ = np.histogram(means, bins=_BRIGHTNESS_BINS, range=(0, 256))
        return {
            "sha256": self.sha256,
            "n": len(self),
            "wanted": self.wanted,
            "split": self.split,
            "per_class": self.per_class,
            "generated": ["white", "black"],
            "rule": self.rule,
            "seed": None,
            "feature_layer": self.layer or None,
            "preprocess": self.preprocess,
            "strata": strata,
            "brightness": counts.tolist(),
            "near_copies": {
                "distance": DISTANCE,
                "dropped": self.near_copies_dropped,
                "kept": self.near_copies_kept,
            },
            "pictures": sorted(d.hex() for d in self.digests),
        }

    def _known_strata(self) -> tuple[Stratum, ...]:
        return self.strata or (("", ""),) * (len(self) - GENERATED)

    def _take(self, places: Sequence[int], *, wanted: int) -> CalibrationSet:
        kept = [*places, len(self) - 2, len(self) - 1]
        strata = [self._known_strata()[i] for i in places]
        return replace(
            self,
            pixels=self.pixels[kept],
            per_class=_per_class(self.per_class, strata),
            strata=tuple(strata),
            wanted=wanted,
        )


def digests(images: Sequence[Image], spec: InputSpec) -> frozenset[bytes]:
    """The sha256 of each picture as the model sees it."""
    return frozenset(digest(fit(image, spec)) for image in images)


def _per_class(labels: Iterable[str], strata: Sequence[Stratum]) -> dict[str, int]:
    return {label: sum(of == label for of, _ in strata) for label in labels}


def _rule(layer: str, factor: float) -> str:
    way = (
        f"k-centre greedy (arXiv:1708.00489) among the first {factor:g} candidates by pixel "
        f"sha256 for each picture wanted, in the features that the layer {layer} gives"
        if layer
        else "the first by pixel sha256"
    )
    return f"classes even, each in three parts by brightness; in every part {way}; nothing random"
