"""The whole comparison: who takes part, on which rows, and the document that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer import __version__
from edge_fer.errors import DataError, EdgeFerError, ModelError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled, read
from edge_fer.evaluation.labels import SCHEMES
from edge_fer_bench.machine.card import read_machine
from edge_fer_bench.statistics.rounds import Ratio
from peers import vicksam
from peers.asked import AskedEntrant
from peers.entrant import Card, Entrant, Part
from peers.frames import Clip, contest, contestants, read_clip
from peers.ours import open_ours, shipped_classifiers
from peers.process import Process, command
from peers.scoring import columns, judged_classes, lacking, score
from peers.timing import interleaved
from peers.venvs import FER, ROOT, find_python

__all__ = ["SCHEMA", "Request", "Skipped", "compare", "document", "splits", "table"]

SCHEMA = "edge-fer/peers/2"
_TIMED_ROWS = 64
_FRAMES = "whole frames"
Probabilities = NDArray[np.float64]
Answer = tuple[Card, Probabilities]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compare on.

    Attributes:
        data, ferplus, split: as for ``edge-fer evaluate``.
        peer: vicksam's ``.tflite``; None leaves it out.
        yunet: OpenCV's face detector; None: the pulled one.
        clip: video whose frames everybody looks at; None leaves whole frames out.
        venvs: the folder of the environments.
        sample: score only so many rows of each label scheme, for a trial; None: all.
        rounds, calls: of the timing on faces.
        frame_rounds: of the timing on frames.
    """

    data: Path
    ferplus: Path | None = None
    split: str | None = None
    peer: Path | None = None
    yunet: Path | None = None
    clip: Path | None = None
    venvs: Path = ROOT
    sample: int | None = None
    rounds: int = 30
    calls: int = 30
    frame_rounds: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What could not take part, and why, with the remedy."""

    name: str
    reason: str


def compare(
    request: Request,
    *,
    on_progress: Progress = lambda what, done, total: None,
    on_skip: Callable[[Skipped], None] = lambda skipped: None,
) -> dict[str, Any]:
    """Open everything, score it, time it.

    Args:
        request: what to compare on.
        on_progress: told what is done, how much of it, and of how much (0: nobody knows).
        on_skip: told of each that cannot take part.

    Returns:
        The document ``edge-fer/peers/2``.

    Raises:
        DataError: data or clip cannot be used, or the data have labels for no scheme.
        ModelError: no shipped model, or one of them is damaged.
    """
    rows = read(request.data, request.ferplus)
    clip = None if request.clip is None else read_clip(request.clip)
    skipped: list[Skipped] = []

    def skip(name: str, reason: str) -> None:
        skipped.append(Skipped(name=name, reason=reason))
        on_skip(skipped[-1])

    whole = splits(rows, request.split, skip)
    faces = {scheme: _sample(part, request.sample) for scheme, part in whole.items()}
    timed = next(iter(faces.values())).images[:_TIMED_ROWS]
    taking_part: list[Entrant] = []
    answers: dict[str, list[Answer]] = {scheme: [] for scheme in faces}
    with ExitStack() as opened:
        for name, must, make in _candidates(request, rows):
            on_progress(f"opening {name}", 0, 0)
            try:
                entrant = make()
                opened.callback(entrant.close)
                found = _answers(entrant, faces, on_progress)
                entrant.prepare(timed)
            except EdgeFerError as err:
                if must:
                    raise
                skip(name, str(err))
                continue
            taking_part.append(entrant)
            for scheme, p in found.items():
                answers[scheme].append((entrant.card, p))
        times = interleaved(
            taking_part,
            rounds=request.rounds,
            calls=request.calls,
            on_round=partial(on_progress, "faces, in turns"),
            on_lost=lambda place, err: skip(taking_part[place].card.name, str(err)),
        )
    tables = [table(scheme, faces[scheme], given) for scheme, given in answers.items()]
    cards = [entrant.card for entrant in taking_part]
    frames = _frames(request, clip, on_progress, skip)
    return document(request, rows, cards, tables, times, frames, skipped)


def splits(
    rows: Rows, split: str | None, on_skip: Callable[[str, str], None]
) -> dict[str, LabelledFaces]:
    """The rows of each label scheme that the data can be scored in.

    Args:
        rows: the data.
        split: its split, or None for the default one.
        on_skip: told of a scheme, and why it is left out.

    Raises:
        DataError: there is no such split, or neither scheme can be scored.
    """
    found: dict[str, LabelledFaces] = {}
    reasons = []
    for scheme, labels in SCHEMES.items():
        if scheme == "ferplus8" and rows.votes is None:
            # By name they would be scored on the original labels, which is another contest.
            reasons.append("The data have no FER+ votes; give them with --ferplus.")
        elif scheme == "fer2013-7" and set(rows.classes) != set(labels):
            reasons.append(f"The data's classes are {', '.join(rows.classes)}.")
        else:
            found[scheme] = labelled(rows, labels, split=split)
            continue
        on_skip(f"the labels {scheme}", reasons[-1])
    if not found:
        raise DataError(
            f"{rows.path} has neither FER+ votes nor FER2013's seven classes. {reasons[0]}",
            "Give --data FER2013's csv (with --ferplus) or an npz of it.",
        )
    return found


def table(scheme: str, faces: LabelledFaces, answers: Sequence[Answer]) -> dict[str, Any]:
    """Score everybody on one scheme's rows.

    A model that lacks a class of the scheme is scored twice: the rows of that class counted as
    misses, and left out. The first of ours that knows all classes is what the others are
    compared with.

    Args:
        scheme: its name.
        faces: its rows.
        answers: cards, and ``float64[N, C]`` in the order of each card's labels.
    """
    reference_name, reference = None, None
    for card, p in answers:
        if card.ours and not lacking(card.labels, faces.labels):
            reference_name, reference = card.name, columns(p, card.labels, faces.labels)
            break
    scores = []
    for card, p in answers:
        given = columns(p, card.labels, faces.labels)
        missing = lacking(card.labels, faces.labels)
        unknown = [faces.labels.index(name) for name in missing]
        everything = np.ones(len(faces), bool)
        ways: dict[str | None, NDArray[np.bool_]] = {None: everything}
        if missing:
            ways = {"missed": everything, "left_out": ~np.isin(faces.truth, unknown)}
        beside = None if card.name == reference_name else reference
        for way, which in ways.items():
            base = None if beside is None else beside[which]
            figures = score(given[which], faces.take(np.flatnonzero(which)), base)
            scores.append(
                {"entrant": card.name, "lacks": list(missing), "rows_of_lacking": way, **figures}
            )
    clean = faces.clean
    return {
        "scheme": scheme,
        "split": faces.split,
        "n": len(faces),
        "n_clean": None if clean is None else int(clean.sum()),
        "labels": list(faces.labels),
        "judged": list(judged_classes(faces)),
        "reference": reference_name,
        "scores": scores,
    }


def document(
    request: Request,
    rows: Rows,
    cards: Sequence[Card],
    tables: Sequence[dict[str, Any]],
    times: Sequence[Mapping[Part, Ratio]],
    frames: dict[str, Any] | None,
    skipped: Sequence[Skipped],
) -> dict[str, Any]:
    """Everything in one document, which names no folder but those in reasons for skipping."""
    return {
        "schema": SCHEMA,
        "edge_fer": __version__,
        "data": {"name": Path(rows.path).name, "sha256": rows.sha256},
        "sample": request.sample,
        "device": read_machine().words,
        "timing": {
            "reference": cards[0].name,
            "rounds": request.rounds,
            "calls": request.calls,
        },
        "entrants": [
            {**asdict(card), "time": {part: asdict(ratio) for part, ratio in spent.items()}}
            for card, spent in zip(cards, times, strict=True)
        ],
        "tables": list(tables),
        "frames": frames,
        "skipped": [asdict(one) for one in skipped],
    }


def _candidates(request: Request, rows: Rows) -> Iterator[tuple[str, bool, Callable[[], Entrant]]]:
    """Name, whether it must take part, and how it is opened; ours first."""
    ours = shipped_classifiers()
    if not ours:
        raise ModelError("No int8 classifier is shipped.", "See: edge-fer models list")
    for model in ours:
        yield model.name, True, partial(open_ours, model)
    yield vicksam.NAME, False, lambda: vicksam.open_float(vicksam.read(request.peer))
    yield vicksam.INT8_NAME, False, lambda: vicksam.open_int8(vicksam.read(request.peer), rows)
    for name, module in (("fer", "fer_worker"), ("Haar and Keras", "keras_worker")):
        yield name, False, partial(_asked, name, module, request.venvs)


def _asked(name: str, module: str, venvs: Path) -> AskedEntrant:
    return AskedEntrant(Process(name, command(find_python(FER, venvs), module)))


def _frames(
    request: Request, clip: Clip | None, on_progress: Progress, skip: Callable[[str, str], None]
) -> dict[str, Any] | None:
    """Without a clip, or without a process of ours, there is nothing to compare; rows are kept."""
    if clip is None:
        skip(_FRAMES, "No --video CLIP was given.")
        return None
    try:
        return contest(
            contestants(request.peer, request.yunet, request.venvs),
            clip,
            root=request.venvs,
            rounds=request.frame_rounds,
            on_progress=on_progress,
            on_skip=lambda name, reason: skip(f"frames by {name}", reason),
        )
    except EdgeFerError as err:
        skip(_FRAMES, str(err))
        return None


def _answers(
    entrant: Entrant, faces: Mapping[str, LabelledFaces], on_progress: Progress
) -> dict[str, Probabilities]:
    """What it says of the rows of every scheme that has all its classes."""
    found = {}
    for scheme, part in faces.items():
        if set(entrant.card.labels) <= set(part.labels):
            step = partial(on_progress, f"scoring {entrant.card.name} on {scheme}")
            step(0, len(part))
            found[scheme] = entrant.probabilities(part, step)
    return found


def _sample(faces: LabelledFaces, count: int | None) -> LabelledFaces:
    if count is None or count >= len(faces):
        return faces
    chosen = np.random.default_rng(0).choice(len(faces), count, replace=False)
    return faces.take(np.sort(chosen))
