"""Prints what the quality gate does to FER2013's ``validation`` faces, as they are and spoilt.

Every face is shown in a frame, twice its size, and cropped from it as ``run`` does. The gate's
limits were chosen by this table; no test split is read.

Example: python benchmarks/gate.py --data fer2013.npz
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from edge_fer.assemble import open_classifier
from edge_fer.classifier import Classifier
from edge_fer.cli.console import Talk
from edge_fer.contract import InputSpec
from edge_fer.evaluation.corruptions import STRENGTHS, corrupt
from edge_fer.evaluation.data import load
from edge_fer.files import write_text
from edge_fer.gate import QualityGate
from edge_fer.preprocess import crop, fit
from edge_fer.types import Box, Face, Frame, Image, Square
from shipped import table

__all__ = ["Shown", "Verdicts", "cut", "judged", "whole"]

_SEED = 1001
_SHOWN_SIDE = 96
_BEYOND = 5  # a strength that is no kiosk's any more
_SPOILT = (
    "brightness",
    "contrast",
    "dark_noise",
    "blur",
    "low_resolution",
    "covered_mouth",
    "dark_glasses",
)
_CUTS = (0.2, 0.3, 0.4, 0.55)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A face in a frame, and the square around it."""

    frame: Frame
    square: Square

    @property
    def face(self) -> Face:
        """The part of the square that lies in the frame."""
        half = self.square.side / 2
        left, top = max(0.0, self.square.cx - half), max(0.0, self.square.cy - half)
        right = min(self.square.cx + half, float(self.frame.width))
        below = min(self.square.cy + half, float(self.frame.height))
        return Face(box=Box(x=left, y=top, w=right - left, h=below - top), score=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Of one condition. Accuracy of the answered: those that neither refuses.

    Attributes:
        refused: share, by the gate.
        reasons: how many, by reason.
        refused_right: share of all faces that the gate refuses and the classifier would have named,
            surely and rightly.
        answered_off, answered_on: share that gets a label, without the gate and with it.
        accuracy_off, accuracy_on: of those; None where there are none.
    """

    condition: str
    n: int
    refused: float
    reasons: dict[str, int]
    refused_right: float
    answered_off: float
    answered_on: float
    accuracy_off: float | None
    accuracy_on: float | None


def whole(face: Image) -> Shown:
    """In the middle of a larger frame."""
    side = _SHOWN_SIDE
    large = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    luma = cv2.copyMakeBorder(large, side, side, side, side, cv2.BORDER_REPLICATE)
    return _shown(np.asarray(luma, np.uint8), 1.5 * side, 1.5 * side)


def cut(face: Image, edge: str, share: float) -> Shown:
    """With this share of its side beyond the frame's left, right, upper or lower edge."""
    side = _SHOWN_SIDE
    large = np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    gone, middle = round(share * side), side / 2
    if edge in ("left", "right"):
        kept = large[:, gone:] if edge == "left" else large[:, : side - gone]
        return _shown(kept, middle - gone if edge == "left" else middle, middle)
    kept = large[gone:] if edge == "top" else large[: side - gone]
    return _shown(kept, middle, middle - gone if edge == "top" else middle)


def _shown(luma: Image, cx: float, cy: float) -> Shown:
    luma = np.ascontiguousarray(luma)
    frame = Frame(luma=luma, colour=None, t_ns=0, sequence=0, source="shown")
    return Shown(frame=frame, square=Square(cx=cx, cy=cy, side=float(_SHOWN_SIDE)))


def judged(
    condition: str,
    shown: list[Shown],
    truth: NDArray[np.int64],
    classifier: Classifier,
    gate: QualityGate,
) -> Verdicts:
    """What the gate and the classifier say of the same faces."""
    spec = classifier.contract.input
    crops = [crop(each.frame, each.square, spec) for each in shown]
    reasons = [
        gate.check(each.frame, each.face, each.square, pixels)
        for each, pixels in zip(shown, crops, strict=True)
    ]
    p = np.concatenate(
        [classifier.probabilities(np.stack(crops[i : i + 64])) for i in range(0, len(crops), 64)]
    )
    right = p.argmax(axis=1) == truth
    off = p.max(axis=1) >= classifier.contract.output.min_probability
    refused = np.array([reason is not None for reason in reasons], bool)
    on = off & ~refused
    return Verdicts(
        condition=condition,
        n=len(shown),
        refused=float(refused.mean()),
        reasons=dict(Counter(reason for reason in reasons if reason)),
        refused_right=float((refused & off & right).mean()),
        answered_off=float(off.mean()),
        answered_on=float(on.mean()),
        accuracy_off=float(right[off].mean()) if off.any() else None,
        accuracy_on=float(right[on].mean()) if on.any() else None,
    )


def conditions(faces: Image, spec: InputSpec) -> Iterator[tuple[str, Callable[[], list[Shown]]]]:
    """By name; drawn when called. Seeded by name, so that one more does not change the others."""

    def spoilt(name: str, strength: int) -> list[Shown]:
        rng = np.random.default_rng((_SEED, zlib.crc32(name.encode()), strength))
        return [whole(face) for face in corrupt(name, strength, faces, spec, rng)]

    def beyond(edge: str, share: float) -> list[Shown]:
        return [cut(face, edge, share) for face in faces]

    yield "clean", lambda: [whole(face) for face in faces]
    for name in _SPOILT:
        for strength in (*STRENGTHS, _BEYOND):
            yield f"{name} {strength}", partial(spoilt, name, strength)
    for edge in ("left", "right", "top", "bottom"):
        for share in _CUTS:
            yield f"cut {edge} {share:g}", partial(beyond, edge, share)


def check_us(shown: Shown, gate: QualityGate, spec: InputSpec) -> float:
    """Median time of one check, microseconds."""
    pixels, face, times = crop(shown.frame, shown.square, spec), shown.face, []
    for _ in range(3000):
        started = perf_counter_ns()
        gate.check(shown.frame, face, shown.square, pixels)
        times.append(perf_counter_ns() - started)
    return float(np.median(times)) / 1e3


def main(
    data: Annotated[Path, typer.Option(help="FER2013 with FER+ votes.")],
    model: Annotated[str, typer.Option(help="Shipped model or file.")] = "expression",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure the quality gate on the validation split."""
    cv2.setNumThreads(1)
    classifier = open_classifier(model, threads=1)
    spec = classifier.contract.input
    if spec.channels != 1:
        raise typer.BadParameter("these faces are gray, and the model wants colour")
    rows = load(data, classifier.labels, split="validation")
    faces = np.stack([fit(image, spec) for image in rows.images])
    gate = QualityGate(classifier.contract.quality)
    made = list(conditions(faces, spec))
    found = []
    with Talk().progress() as bar:
        task = bar.add_task("conditions", total=len(made))
        for name, shown in made:
            found.append(judged(name, shown(), rows.truth, classifier, gate))
            bar.advance(task)
    cost = check_us(whole(faces[0]), gate, spec)
    typer.echo(_table(found))
    typer.echo(f"\n{len(rows)} faces of {rows.split}; one check: {cost:.0f} us")
    if json_file is not None:
        document = {
            "schema": "edge-fer/gate/1",
            "seed": _SEED,
            "model_sha256": classifier.model.sha256,
            "limits": asdict(gate.limits),
            "conditions": [asdict(each) for each in found],
            "check_us": cost,
        }
        write_text(json_file, json.dumps(document, indent=1) + "\n")
    classifier.close()


def _table(found: list[Verdicts]) -> str:
    head = ["condition", "refused, %", "as", "of them sure and right, % of all"]
    head += ["answered off / on, %", "accuracy of answered off / on, %"]

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    rows = [
        [
            each.condition,
            percent(each.refused),
            ", ".join(f"{reason} {n}" for reason, n in sorted(each.reasons.items())) or "-",
            percent(each.refused_right),
            f"{percent(each.answered_off)} / {percent(each.answered_on)}",
            f"{percent(each.accuracy_off)} / {percent(each.accuracy_on)}",
        ]
        for each in found
    ]
    return table(head, rows)


if __name__ == "__main__":
    typer.run(main)
