"""Times what a frame of ``edge-fer run`` costs beside its networks, further faces, and the start.

The frames of a video, scaled to 640x480, on one core and one thread. Not a Pi's timings. How long
a whole frame takes is measured by ``peers/compare.py``, beside what others take for the same.

Example: python benchmarks/end_to_end.py --video single_face.mp4 --markdown README.md
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from edge_fer.backends.base import Array, Backend
from edge_fer.cameras.orientation import UPRIGHT
from edge_fer.classifier import Classifier
from edge_fer.cli.console import Talk
from edge_fer.config import load_settings
from edge_fer.errors import DataError
from edge_fer.files import write_text
from edge_fer.loaded import LoadedModel
from edge_fer.pipeline import look
from edge_fer.preprocess import crop, quantise, to_real
from edge_fer.types import Image
from edge_fer_bench.roofline.networks import networks
from edge_fer_bench.timing.cold_start import measure_cold_start
from peers.frames import read_clip
from peers.played import Shown, pipeline_on
from peers.timing import one_core
from shipped import fill_in

BEGIN, END = "<!-- end-to-end -->", "<!-- /end-to-end -->"
_ROUNDS = 25
_MOST_FACES = 8


class Metered:
    """A backend that adds up the time of its calls."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.ns = backend, 0
        self.name, self.input, self.outputs = backend.name, backend.input, backend.outputs

    def run(self, array: Array) -> tuple[Array, ...]:
        began = perf_counter_ns()
        answer = self._backend.run(array)
        self.ns += perf_counter_ns() - began
        return answer

    def close(self) -> None:
        self._backend.close()


def beside_the_networks(
    pictures: Sequence[Image],
    rounds: int,
    on_turn: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """What a frame costs that is no network's.

    In milliseconds it moves with the machine, and a virtual one's speed changes from hour to hour.
    The networks of the same frames move with it, so what it costs is also told as a multiple of
    their time: of each turn the median frame's, and of these the median and the extremes.

    Args:
        pictures: of each turn, in order.
        rounds: turns, after one that does not count.
        on_turn: told how many turns of how many are done.

    Returns:
        ``p50`` and ``p90`` in milliseconds, ``networks_p50`` likewise, ``of_the_networks`` and its
        ``of_the_networks_range``.
    """
    camera = Shown()
    pipeline = pipeline_on(camera, track=True)
    meters = [_metered(part) for part in networks(pipeline)]
    rest, inside = np.empty((2, rounds + 1, len(pictures)))
    with one_core():
        for turn in range(rounds + 1):
            camera.cut()
            for place, picture in enumerate(pictures):
                camera.show(picture)
                before = sum(meter.ns for meter in meters)
                began = perf_counter_ns()
                pipeline.step()
                whole = perf_counter_ns() - began
                spent = sum(meter.ns for meter in meters) - before
                inside[turn, place], rest[turn, place] = spent / 1e6, (whole - spent) / 1e6
            on_turn(turn, rounds)
    pipeline.close()
    rest, inside = rest[1:], inside[1:]
    p50, p90 = (float(p) for p in np.percentile(rest, [50, 90]))
    quotients = np.median(rest, axis=1) / np.median(inside, axis=1)
    return {
        "p50": p50,
        "p90": p90,
        "networks_p50": float(np.median(inside)),
        "of_the_networks": float(np.median(quotients)),
        "of_the_networks_range": [float(quotients.min()), float(quotients.max())],
    }


def further_faces(pictures: Sequence[Image]) -> dict[str, Any]:
    """Milliseconds of crop, gate and classification by faces in the frame; the slope over one face.

    The faces are given, not found, and are all the one in the clip: what a further face costs the
    detector is its own affair, and with regions it is bounded by one whole frame.
    """
    pipeline = pipeline_on(Shown(), track=False)
    classifier, detector, gate = pipeline.classifier, pipeline.detector, pipeline.gate
    frame = UPRIGHT.frame(pictures[0], t_ns=0, sequence=0, source="clip")
    found = detector.detect(frame)
    if not found:
        raise DataError("There is no face in the clip's first frame.", "Take another clip.")
    face, spec = found[0], classifier.contract.input
    array = quantise_of(classifier, crop(frame, detector.face_square(face), spec))
    ms = np.empty((_MOST_FACES, 200))
    alone = np.empty(200)
    with one_core():
        for turn in range(200):
            for count in range(_MOST_FACES):
                began = perf_counter_ns()
                look(frame, detector, classifier, (face,) * (count + 1), gate)
                ms[count, turn] = (perf_counter_ns() - began) / 1e6
            began = perf_counter_ns()
            crop(frame, detector.face_square(face), spec)
            classifier.backend.run(array)
            alone[turn] = (perf_counter_ns() - began) / 1e6
    pipeline.close()
    each = [float(np.median(row)) for row in ms]
    slope = float(np.polyfit(np.arange(1, _MOST_FACES + 1), each, 1)[0])
    crop_and_invoke = float(np.median(alone))
    return {
        "ms": each,
        "each_further_ms": slope,
        "crop_and_invoke_ms": crop_and_invoke,
        "ratio": slope / crop_and_invoke,
    }


def quantise_of(classifier: Classifier, pixels: Image) -> Array:
    """One crop as the network takes it."""
    tensor = classifier.contract.quantisation.input
    spec = classifier.contract.input
    return to_real(pixels[None], spec) if tensor is None else quantise(pixels[None], spec, tensor)


def measured(video: Path, rounds: int, talk: Talk) -> dict[str, Any]:
    """All figures.

    Raises:
        DataError: no video, nobody in it, or the program does not start.
    """
    clip = read_clip(video)
    with talk.progress() as bar:
        task = bar.add_task("the clip, in turns", total=rounds)
        beside = beside_the_networks(
            clip.pictures, rounds, lambda done, total: bar.update(task, completed=done)
        )
    settings = load_settings(None, {"source": "synthetic"})
    start = measure_cold_start(
        {
            "model": settings.model,
            "source": "synthetic",
            "detector": settings.detector,
            "backend": settings.backend,
            "threads": "1",
        },
        runs=7,
    )
    if start.median_ms is None:
        raise DataError(f"The cold start was not measured: {start.why_not}")
    return {
        "machine": platform.machine(),
        "opencv": cv2.__version__,
        "frames": len(clip.pictures),
        "beside_the_networks_ms": beside,
        "further_faces": further_faces(clip.pictures),
        "cold_start_ms": start.median_ms,
    }


def section(found: dict[str, Any]) -> str:
    """Between the README's markers."""
    beside, more = found["beside_the_networks_ms"], found["further_faces"]
    words = (
        f"Beside its networks a frame costs {beside['p50']:.2f} ms (90 %: {beside['p90']:.2f}), "
        f"{beside['of_the_networks']:.2f} times what they take: {found['frames']} frames of a "
        f"clip with one face, scaled to 640x480, on one thread and core of {found['machine']}; "
        f"not a Pi's timings. A further face costs {more['each_further_ms']:.2f} ms, "
        f"{more['ratio']:.2f} times one crop and one call of the network. The first observation "
        f"comes {found['cold_start_ms']:.0f} ms after the process starts. How long a whole frame "
        "takes stands [beside other projects](#against-other-projects)."
    )
    return "\n".join((BEGIN, words, END))


def main(
    video: Annotated[Path | None, typer.Option(help="A clip with one face in it.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the clip is played.")] = _ROUNDS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where all of it goes.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="File with markers to fill in.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="Print an earlier run.")] = None,
) -> None:
    """Measure, print the figures, and keep them."""
    if video is not None and from_file is None:
        found = measured(video, rounds, Talk())
    elif video is None and from_file is not None:
        found = json.loads(from_file.read_text())
    else:
        raise typer.BadParameter("Give either --video or --from.")
    if json_file is not None:
        write_text(json_file, json.dumps(found, indent=1) + "\n")
    if markdown is None:
        typer.echo(section(found))
    else:
        fill_in(markdown, BEGIN, END, section(found))


def _metered(part: LoadedModel) -> Metered:
    meter = Metered(part.backend)
    part.backend = meter
    return meter


if __name__ == "__main__":
    typer.run(main)
