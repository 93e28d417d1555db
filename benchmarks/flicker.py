"""Prints what smoothing does: flips of the label on jittered still faces, and how soon a true
change is shown.

FER2013's ``validation`` faces, some of each class and ambiguous ones too, are held still for ten
seconds as a camera and a detector would show them: the crop jitters and drifts (about twice as much
as the squares of ``face`` do on a clip of one person), the sensor is noisy, the light flickers. The
model names every frame. A true change is the cut from one such face to another, where the model
itself is steady before and after and of two opinions. The constants were chosen on one half of the
faces, by their pixels' sha256 (``--curves`` prints what from); the figures are of the other half.

Example: python benchmarks/flicker.py --data fer2013.npz --curves
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from edge_fer.assemble import open_classifier
from edge_fer.classifier import Classifier
from edge_fer.cli.console import Talk
from edge_fer.contract import InputSpec
from edge_fer.evaluation.corruptions import corrupt
from edge_fer.evaluation.data import labelled, pixel_sha256, read
from edge_fer.files import write_text
from edge_fer.preprocess import displaced, fit
from edge_fer.smoothing import Constants, Smoother
from edge_fer.types import UNKNOWN, Expression, Image
from shipped import table

__all__ = ["Still", "figures", "flips", "reaction_s", "shaken"]

FPS = 30
RATES = (30, 15, 10)
MEMORIES = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5)
_SEED = 1001
_SECONDS = 10
_COVERED = 40  # faces with a mask
_PAIRS = 300
_STEADY = 0.95  # share of frames with one label
_BEFORE, _AFTER = 4 * FPS, 3 * FPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One face, held still.

    Attributes:
        said: what the model says of every frame, 30 a second.
        truth: its class by the crowd's plurality.
        clear: whether FER+'s majority rule scores it.
    """

    said: tuple[Expression, ...]
    truth: str
    clear: bool

    @property
    def steady(self) -> str | None:
        """The label of nearly all frames, if there is one."""
        labels = [each.label for each in self.said]
        most = max(set(labels), key=labels.count)
        return most if most != UNKNOWN and labels.count(most) >= _STEADY * len(labels) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one method at one frame rate; ``raw_`` is without smoothing.

    Flips are changes of the label shown, ``unknown`` being one, per minute. Reactions are seconds
    from a true change to the new label. ``accuracy`` is that of the highest probability in every
    frame of the clear faces, ``answered`` the share of all faces' frames with a label.
    """

    method: str
    fps: int
    memory_s: float
    faces: int
    raw_flips: float
    flips: float
    changes: int
    reaction_p50: float
    reaction_p95: float
    within_half_second: float
    raw_accuracy: float
    accuracy: float
    raw_answered: float
    answered: float
    raw_accuracy_of_answered: float
    accuracy_of_answered: float
    covered_answered: float

    @property
    def fewer(self) -> float:
        """Share of the flips that are gone."""
        return 1 - self.flips / self.raw_flips if self.raw_flips else 0.0


def shaken(face: Image, spec: InputSpec, frames: int, rng: np.random.Generator) -> Image:
    """A face crop as it is shown by a camera and a detector, ``uint8[frames, h, w, c]``.

    Place, size and roll of the crop jitter (shaking off within 50 ms) and drift (within a second),
    the light swings at 1 to 12 Hz and drifts, the sensor adds noise of 3 gray levels.
    """
    jitters = ((0.01, 0.015), (0.01, 0.015), (0.02, 0.03), (1.5, 2.0))
    x, y, zoom, roll = (
        _wandering(frames, fast, 0.05, rng) + _wandering(frames, slow, 1.0, rng)
        for fast, slow in jitters
    )
    swing = np.sin(2 * np.pi * (rng.uniform(1, 12) * np.arange(frames) / FPS + rng.uniform()))
    light = 1 + 0.05 * swing + _wandering(frames, 0.03, 0.5, rng)
    still = np.stack(
        [
            displaced(
                face,
                spec,
                shift=(float(x[i]), float(y[i])),
                zoom=float(np.exp(zoom[i])),
                roll_deg=float(roll[i]),
            )
            for i in range(frames)
        ]
    )
    noisy = still * light[:, None, None, None] + rng.normal(0, 3, still.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def _wandering(
    frames: int, sd: float, tau_s: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """An Ornstein-Uhlenbeck process, sampled once a frame."""
    keep = float(np.exp(-1 / (FPS * tau_s)))
    out = rng.normal(0, sd, frames)
    for i in range(1, frames):
        out[i] = keep * out[i - 1] + np.sqrt(1 - keep**2) * out[i]
    return np.asarray(out)


def flips(labels: Sequence[str]) -> int:
    """How often a label is not that of the frame before."""
    return sum(a != b for a, b in pairwise(labels))


def reaction_s(labels: Sequence[str], expected: str, fps: int) -> float:
    """Seconds to the first frame that shows it, 0 in the frame of the change; inf for never."""
    return labels.index(expected) / fps if expected in labels else float("inf")


def smoothed(said: Sequence[Expression], smoother: Smoother, fps: int) -> list[Expression]:
    """One face through a smoother, with every frame or every second, third ..."""
    shown = said[:: FPS // fps]
    return [smoother.update(0, each, round(i * 1e9 / fps)) for i, each in enumerate(shown)]


def figures(
    stills: Sequence[Still],
    covered: Sequence[Still],
    classifier: Classifier,
    method: Any,
    fps: int,
    constants: Constants,
) -> Figures:
    """Of one method; the same changes for every one."""

    def through(said: Sequence[Expression], how: Any) -> list[Expression]:
        least = classifier.contract.output.min_probability
        smoother = Smoother(
            classifier.labels, method=how, min_probability=least, constants=constants
        )
        return smoothed(said, smoother, fps)

    raw = [through(still.said, "none") for still in stills]
    now = [through(still.said, method) for still in stills]
    minutes = len(stills) * len(stills[0].said) / FPS / 60
    times = [
        reaction_s(
            [e.label for e in through((*a.said[:_BEFORE], *b.said[:_AFTER]), method)][
                _BEFORE * fps // FPS :
            ],
            b.steady or "",
            fps,
        )
        for a, b in changes(stills)
    ]
    accuracy, raw_accuracy = (_accuracy(stills, each) for each in (now, raw))
    return Figures(
        method=method,
        fps=fps,
        memory_s=constants.memory_s,
        faces=len(stills),
        raw_flips=sum(flips([e.label for e in each]) for each in raw) / minutes,
        flips=sum(flips([e.label for e in each]) for each in now) / minutes,
        changes=len(times),
        reaction_p50=float(np.percentile(times, 50, method="higher")),
        reaction_p95=float(np.percentile(times, 95, method="higher")),
        within_half_second=float(np.mean([t <= 0.5 for t in times])),
        raw_accuracy=raw_accuracy[0],
        accuracy=accuracy[0],
        raw_answered=_answered(raw),
        answered=_answered(now),
        raw_accuracy_of_answered=raw_accuracy[1],
        accuracy_of_answered=accuracy[1],
        covered_answered=_answered([through(still.said, method) for still in covered]),
    )


def changes(stills: Sequence[Still]) -> list[tuple[Still, Still]]:
    """Pairs of faces that the model is sure of, and of two opinions."""
    sure = [still for still in stills if still.steady]
    rng = np.random.default_rng(_SEED)
    pairs: list[tuple[Still, Still]] = []
    if len({still.steady for still in sure}) < 2:
        raise typer.BadParameter("too few faces that the model is sure of; give more")
    while len(pairs) < _PAIRS:
        a, b = (sure[int(i)] for i in rng.integers(len(sure), size=2))
        if a.steady != b.steady:
            pairs.append((a, b))
    return pairs


def _answered(shown: Sequence[Sequence[Expression]]) -> float:
    return float(np.mean([e.label != UNKNOWN for each in shown for e in each]))


def _accuracy(
    stills: Sequence[Still], shown: Sequence[Sequence[Expression]]
) -> tuple[float, float]:
    """Of every frame of the clear faces, and of those with a label."""
    frames = [
        (max(e.probabilities, key=lambda k: e.probabilities[k]) == s.truth, e.label != UNKNOWN)
        for s, each in zip(stills, shown, strict=True)
        if s.clear
        for e in each
    ]
    right, labelled_ = np.array(frames, bool).T
    return float(right.mean()), float(right[labelled_].mean())


def update_us(classifier: Classifier, still: Still, method: Any, constants: Constants) -> float:
    """Median time of one update, microseconds."""
    smoother = Smoother(classifier.labels, method=method, constants=constants)
    times = []
    for i, each in enumerate(still.said * 10):
        started = perf_counter_ns()
        smoother.update(0, each, i * 33_333_333)
        times.append(perf_counter_ns() - started)
    return float(np.median(times)) / 1e3


def main(
    data: Annotated[Path, typer.Option(help="FER2013 with FER+ votes.")],
    model: Annotated[str, typer.Option(help="Shipped model or file.")] = "expression",
    per_class: Annotated[int, typer.Option(min=4, help="Faces of each class, at most.")] = 60,
    curves: Annotated[bool, typer.Option("--curves", help="Also flips against reaction.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure flicker and reaction, without smoothing and with it."""
    cv2.setNumThreads(1)
    classifier, rng = open_classifier(model, threads=1), np.random.default_rng(_SEED)
    spec = classifier.contract.input
    faces = labelled(read(data, None), classifier.labels, split="validation", every_vote=True)
    chosen = [
        int(row)
        for label in range(len(classifier.labels))
        for row in rng.permutation(np.flatnonzero(faces.truth == label))[:per_class]
    ]
    digests = pixel_sha256(faces.images[i] for i in chosen)
    # Not the digits that made the split: modulo 10 they are all 0.
    report = [int(digest[-8:], 16) % 2 == 1 for digest in digests]

    def still(row: int, frames: int, *, covered: bool = False) -> Still:
        face, own = fit(faces.images[row], spec), np.random.default_rng((_SEED, row))
        if covered:
            face = corrupt("covered_mouth", 1.5, face[None], spec, own)[0]
        face = face[:, :, 0] if spec.channels == 1 else face
        shown = shaken(face, spec, frames, own)
        return Still(
            said=classifier.classify(shown),
            truth=classifier.labels[int(faces.truth[row])],
            clear=faces.clear is None or bool(faces.clear[row]),
        )

    talk = Talk()
    with talk.progress() as bar:
        task = bar.add_task("still faces", total=len(chosen) + 2 * _COVERED)
        halves: dict[bool, list[Still]] = {True: [], False: []}
        for row, half in zip(chosen, report, strict=True):
            halves[half].append(still(row, _SECONDS * FPS))
            bar.advance(task)
        masked: dict[bool, list[Still]] = {True: [], False: []}
        for row, half in zip(chosen, report, strict=True):
            if len(masked[half]) < _COVERED and row % 3 == 0:
                masked[half].append(still(row, 5 * FPS, covered=True))
                bar.advance(task)
    constants, found = Constants(), []
    for method in ("none", "ema", "hmm"):
        for fps in RATES:
            found.append(figures(halves[True], masked[True], classifier, method, fps, constants))
    typer.echo(_table(found))
    curve = []
    if curves:
        for method in ("ema", "hmm"):
            for memory in MEMORIES:
                tried = replace(constants, memory_s=memory)
                curve.append(figures(halves[False], masked[False], classifier, method, 30, tried))
        typer.echo("\nThe other half, by which the constants were chosen:\n" + _table(curve))
    cost = {m: update_us(classifier, halves[True][0], m, constants) for m in ("ema", "hmm")}
    typer.echo("\nupdate(), us: " + ", ".join(f"{m} {us:.0f}" for m, us in cost.items()))
    if json_file is not None:
        document = {
            "schema": "edge-fer/flicker/1",
            "seed": _SEED,
            "model_sha256": classifier.model.sha256,
            "constants": asdict(constants),
            "figures": [asdict(f) for f in found],
            "curves": [asdict(f) for f in curve],
            "update_us": cost,
        }
        write_text(json_file, json.dumps(document, indent=1) + "\n")
    classifier.close()


def _table(found: Sequence[Figures]) -> str:
    head = ["method, frames/s, memory s", "flips/min raw", "smoothed", "fewer, %"]
    head += ["reaction s p50", "p95", "<= 0.5 s, %", "accuracy raw / smoothed, %"]
    head += ["answered, %", "accuracy of answered, %", "covered mouths answered, %"]
    rows = [
        [
            f"{f.method}, {f.fps}, {f.memory_s:g}",
            f"{f.raw_flips:.1f}",
            f"{f.flips:.1f}",
            f"{100 * f.fewer:.1f}",
            f"{f.reaction_p50:.2f}",
            f"{f.reaction_p95:.2f}",
            f"{100 * f.within_half_second:.1f}",
            f"{100 * f.raw_accuracy:.1f} / {100 * f.accuracy:.1f}",
            f"{100 * f.raw_answered:.1f} / {100 * f.answered:.1f}",
            f"{100 * f.raw_accuracy_of_answered:.1f} / {100 * f.accuracy_of_answered:.1f}",
            f"{100 * f.covered_answered:.1f}",
        ]
        for f in found
    ]
    return table(head, rows)


if __name__ == "__main__":
    typer.run(main)
