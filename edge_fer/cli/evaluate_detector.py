"""``edge-fer evaluate --detector``: what it reads, asks and prints."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_fer.cli.console import Talk

if TYPE_CHECKING:
    from edge_fer.types import Detector

__all__ = ["DetectorRequest", "evaluated", "print_detector"]

_SEED = 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRequest:
    """What the user typed."""

    detector: str
    data: Path
    split: str | None
    min_height: float | None
    frame: str | None
    leave_out: tuple[str, ...]
    robustness: bool
    backend: str
    threads: int


def evaluated(request: DetectorRequest, talk: Talk) -> dict[str, Any]:
    """The document ``edge-fer/evaluate-detector/1``.

    Raises:
        EdgeFerError: the detector or the data cannot be used.
    """
    import cv2

    from edge_fer.evaluation.boxes import read_scenes
    from edge_fer.evaluation.conditions import recall_under_conditions
    from edge_fer.evaluation.detector import MIN_HEIGHT, Entrant, evaluate_detectors, low_twin

    # OpenCV's own detectors take their threads from here.
    cv2.setNumThreads(request.threads)
    fit = _frame_size(request.frame)
    least = MIN_HEIGHT if request.min_height is None else request.min_height
    with ExitStack() as opened:
        detector = _opened(request.detector, request, talk, opened)
        twin = low_twin(request.detector)
        low = None if twin is None else _opened(twin, request, talk, opened)
        scenes = read_scenes(request.data, split=request.split, leave_out=request.leave_out)
        if not scenes.labelled:
            talk.say(f"{request.data} has no boxes.csv: its pictures are taken to have no faces")
        with talk.progress() as bar:
            task = bar.add_task("scenes", total=len(scenes.scenes))
            found = evaluate_detectors(
                {request.detector: Entrant(detector=detector, low=low)},
                scenes,
                fit=fit,
                min_height=least,
                on_step=lambda done, total: bar.update(task, completed=done, total=total),
            )[request.detector]
            document = found.to_json(_described(request.detector, detector))
            document["frame"] = None if fit is None else list(fit)
            if request.robustness:
                bar.update(task, description="conditions", completed=0)
                document["conditions"] = recall_under_conditions(
                    {request.detector: detector},
                    scenes,
                    seed=_SEED,
                    fit=fit,
                    min_height=least,
                    on_step=lambda done, total: bar.update(task, completed=done, total=total),
                )[request.detector]
    for name, why in found.skipped:
        talk.say(f"left out: {name}: {why}")
    return document


def _opened(uri: str, request: DetectorRequest, talk: Talk, opened: ExitStack) -> Detector:
    from edge_fer.assemble import open_detector

    detector = open_detector(
        uri, backend=request.backend, threads=request.threads, on_skip=talk.detail
    )
    opened.callback(detector.close)
    return detector


def _described(uri: str, detector: Detector) -> dict[str, Any]:
    from edge_fer.detectors.network import NetworkDetector

    if not isinstance(detector, NetworkDetector):
        return {"name": uri, "path": None, "sha256": None}
    model = detector.model
    return {"name": uri, "path": str(model.path), "sha256": model.sha256}


def _frame_size(text: str | None) -> tuple[int, int] | None:
    from edge_fer.errors import ConfigError

    if text is None:
        return None
    width, _, height = text.partition("x")
    sides = [int(side) for side in (width, height) if side.isascii() and side.isdecimal()]
    if len(sides) != 2 or not all(1 <= side <= 10_000 for side in sides):
        raise ConfigError(f"--frame cannot be {text!r}.", "Try: --frame 640x480")
    return sides[0], sides[1]


def print_detector(document: dict[str, Any]) -> None:
    """For people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    data = document["data"]
    console.print(f"{document['detector']['name']} on {data['path']}, {_many(data['n'], 'scene')}")
    if document["faces"]:
        table = Table(_many(document["faces"], "face"), box=None)
        for title in ("", "95 % interval"):
            table.add_column(title, justify="right")
        for title, key in (
            ("AP at IoU 0.5", "ap50"),
            ("AP at IoU 0.3", "ap30"),
            ("recall", "recall"),
            ("precision", "precision"),
        ):
            table.add_row(title, _share(document[key]), _interval(document[f"{key}_ci95"]))
        for size, row in document["by_size"].items():
            if row["n"]:
                table.add_row(f"recall, {size} px of 480 (n {row['n']})", _share(row["recall"]))
        console.print(table)
    elif document["ignored"]:
        console.print("0 faces count: all that are labelled are below --min-height, or ignored")
    else:
        console.print("0 faces count: none is labelled")
    console.print(
        f"found {document['found']}, extra {document['extra']}; not counted: "
        f"{_many(document['ignored'], 'face')} below {100 * document['min_height']:.1f} % of the "
        "picture's height (--min-height), or to be ignored"
    )
    free = document["face_free"]
    if free:
        console.print(
            f"scenes without a face: {free['scenes_with']} of {free['n']} with a false positive "
            f"({100 * free['share']:.1f} %, 95 % interval {_interval(free['ci95'])}), "
            f"{free['false_positives']} in all"
        )
    eyes = document["eyes"]
    if eyes:
        console.print(
            f"eyes off by {eyes['median']:.3f} of their distance (median; 90 % within "
            f"{eyes['p90']:.3f}; n {eyes['n']})"
        )
    took = document["latency_ms"]
    console.print(f"{took['p50']:.1f} ms a frame (median; 90 % within {took['p90']:.1f} ms)")
    if "conditions" in document:
        _print_conditions(console, document["conditions"])


def _print_conditions(console: Any, conditions: dict[str, dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("made from these scenes", box=None)
    for title in ("faces", "recall", "95 % interval"):
        table.add_column(title, justify="right")
    for name, row in conditions.items():
        table.add_row(
            name.replace("_", " "), str(row["n"]), _share(row["recall"]), _interval(row["ci95"])
        )
    console.print(table)


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(ends: list[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
