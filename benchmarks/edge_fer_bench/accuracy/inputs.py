"""Other ways to give a model its pixels, to find out which one it was trained with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.evaluate import probabilities_of
from edge_fer.preprocess import coloured

__all__ = ["Variant", "plain_range", "said_through", "variants"]

_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5))
# Of ImageNet, red, green and blue, as torchvision and Keras' "torch" mode have them.
_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_SCALED = "pixels scaled to "
_NEAR = 0.01  # of the range: the same range, differently rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One preprocessing.

    Attributes:
        spec: what the contract would say.
        words: after "with": ``pixels scaled to -1..1 instead of 0..1``.
        what: the part of the contract that would be wrong.
        reversed_channels: blue first, which no contract says.
    """

    spec: InputSpec
    words: str
    what: str
    reversed_channels: bool = False


def variants(spec: InputSpec) -> list[Variant]:
    """Every preprocessing that differs from a contract's own.

    The usual ranges and ImageNet's normalisation, each also with black and white exchanged, and
    blue before red where there are colours.
    """
    found: list[Variant] = []
    for given in _specs(spec):
        if not any(_same(given, known) for known in (spec, *(v.spec for v in found))):
            what = "sense of black and white" if _same(_inverted(given), spec) else "range"
            words = f"{_words(given)} instead of {_words(spec).removeprefix(_SCALED)}"
            found.append(Variant(spec=given, words=words, what=what))
    if spec.channels == 3:
        found.append(
            Variant(
                spec=spec,
                words="the colours in the order blue, green, red instead of red, green, blue",
                what="order of the colours",
                reversed_channels=True,
            )
        )
    return found


def plain_range(spec: InputSpec) -> tuple[float, float] | None:
    """``LO, HI`` of black and white, where one pair says it all, the lower first; else None."""
    low = {round(value, 4) for value in spec.offset}
    high = {round(255 * s + o, 4) for s, o in zip(spec.scale, spec.offset, strict=True)}
    if len(low) != 1 or len(high) != 1:
        return None
    span = low.pop(), high.pop()
    return span if span[0] < span[1] else None


def said_through(
    classifier: Classifier, variant: Variant, faces: LabelledFaces
) -> NDArray[np.int64]:
    """What a model says of rows that it is given in another way.

    Args:
        classifier: stays as it is; its backend runs.
        variant: how to prepare the pixels.
        faces: the rows.

    Returns:
        ``int64[N]``, indices into ``faces.labels``.
    """
    # Golden vectors belong to the contract's own preprocessing.
    contract = classifier.contract.with_(input=variant.spec, golden=None)
    other = Classifier(replace(classifier.model, contract=contract), classifier.backend)
    if variant.reversed_channels:
        turned = [coloured(image, variant.spec)[:, :, ::-1] for image in faces.images]
        faces = replace(faces, images=[np.ascontiguousarray(image) for image in turned])
    place = np.array([faces.labels.index(label) for label in classifier.labels])
    return np.asarray(place[probabilities_of(other, faces).argmax(axis=1)], np.int64)


def _words(spec: InputSpec) -> str:
    """What a contract does with pixels."""
    black, white = np.array(spec.offset), 255 * np.array(spec.scale) + spec.offset
    tail = " (inverted)" if (white < black).all() else ""
    normalised = _imagenet(spec)
    if _same(spec, normalised) or _same(spec, _inverted(normalised)):
        return f"pixels normalised with ImageNet's mean and deviation{tail}"
    if np.ptp(black) == 0 and np.ptp(white) == 0:
        return f"{_SCALED}{_number(black[0])}..{_number(white[0])}{tail}"
    each = ", ".join(f"{_number(a)}..{_number(b)}" for a, b in zip(black, white, strict=True))
    return f"channels scaled to {each}{tail}"


def _specs(spec: InputSpec) -> Iterator[InputSpec]:
    for low, high in _RANGES:
        scaled = _with(spec, np.full(spec.channels, (high - low) / 255), np.array([low]))
        yield scaled
        yield _inverted(scaled)
    yield _imagenet(spec)
    yield _inverted(_imagenet(spec))
    yield _inverted(spec)


def _imagenet(spec: InputSpec) -> InputSpec:
    mean, deviation = (_MEAN, _DEVIATION) if spec.channels == 3 else (_MEAN[:1], _DEVIATION[:1])
    if spec.channels == 1:  # of all three, as gray networks take it
        mean, deviation = _MEAN.mean(keepdims=True), _DEVIATION.mean(keepdims=True)
    return _with(spec, 1 / (255 * deviation), -mean / deviation)


def _inverted(spec: InputSpec) -> InputSpec:
    scale, offset = np.array(spec.scale), np.array(spec.offset)
    return _with(spec, -scale, offset + 255 * scale)


def _with(spec: InputSpec, scale: NDArray[np.floating], offset: NDArray[np.floating]) -> InputSpec:
    both = np.broadcast_arrays(scale, offset)
    return spec.model_copy(
        update={"scale": tuple(both[0].tolist()), "offset": tuple(both[1].tolist())}
    )


def _same(one: InputSpec, other: InputSpec) -> bool:
    """Whether two preprocessings give the same numbers, but for rounding."""
    reach = 255 * np.abs(other.scale)
    for level in (0, 255):
        a = level * np.array(one.scale) + one.offset
        b = level * np.array(other.scale) + other.offset
        if (np.abs(a - b) > _NEAR * reach).any():
            return False
    return True


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212")
