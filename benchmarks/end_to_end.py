"""Times a whole frame, from its pixels to named faces, against what one would build instead.

Every project gets the same frames of a video, scaled to 640x480, in turns on one core and one
thread: a block is the whole clip, another one begins each round, and a ratio is the median of the
rounds. Ours is what ``edge-fer run`` does by default, with tracking, gate and smoothing. The stack
is a plain loop of today's best parts: OpenCV's YuNet at 320x240 and the float peer classifier.
``fer`` is PyPI's package by its defaults, in its own environment (``peers/compare.py
--make-venv``).

Also: what a frame costs beside its networks, what every further face costs, and the cold start. Not
a Pi's timings.

Example: python benchmarks/end_to_end.py --video single_face.mp4 --peer peer.tflite \
    --markdown README.md
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from ai_edge_litert.interpreter import Interpreter

from edge_fer.assemble import build
from edge_fer.backends.base import Array, Backend
from edge_fer.cameras.orientation import UPRIGHT
from edge_fer.classifier import Classifier
from edge_fer.cli.console import Talk
from edge_fer.config import load_settings
from edge_fer.errors import DataError, EdgeFerError
from edge_fer.files import write_text
from edge_fer.loaded import LoadedModel
from edge_fer.models import published
from edge_fer.pipeline import Pipeline, look
from edge_fer.preprocess import crop, quantise, to_real
from edge_fer.types import Frame, Image
from edge_fer_bench.cold_start import measure_cold_start
from peers.pypi_fer import FerEntrant, find_python
from peers.timing import one_core
from peers.vicksam import read
from shipped import fill_in, table

BEGIN, END = "<!-- end-to-end -->", "<!-- /end-to-end -->"
OURS, UNTRACKED = "edge-fer run", "edge-fer run --no-track"
STACK, FER = "a plain loop of YuNet and vicksam/fer-model", "PyPI fer"
_SIZE = (640, 480)
_FRAME_NS = 33_333_333
_ROUNDS = 5
_MOST_FACES = 8

Block = tuple[list[int], list[int]]
"""Nanoseconds and faces of each frame of a clip."""


class Played:
    """A camera that makes frames of pictures as the real ones do; ``play`` winds it back."""

    def __init__(self, pictures: Sequence[Image]) -> None:
        self._pictures, self._shown, self._left = pictures, 0, 0

    def play(self) -> None:
        """Once more from the start, later than before."""
        self._left = len(self._pictures)
        self._shown += 100  # a cut, as far as the tracker is concerned: nobody is known

    def read(self) -> Frame | None:
        if self._left == 0:
            return None
        picture = self._pictures[len(self._pictures) - self._left]
        self._left -= 1
        self._shown += 1
        return UPRIGHT.frame(
            picture, t_ns=self._shown * _FRAME_NS, sequence=self._shown, source="clip"
        )

    def close(self) -> None:
        self._left = 0


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


def pictures_of(video: Path) -> list[Image]:
    """Every frame, ``uint8[480, 640, 3]`` BGR.

    Raises:
        DataError: no video.
    """
    capture, pictures = cv2.VideoCapture(str(video)), []
    while (got := capture.read())[0]:
        pictures.append(np.asarray(cv2.resize(got[1], _SIZE), np.uint8))
    capture.release()
    if not pictures:
        raise DataError(f"{video} is not a video that can be read.", "Check the path.")
    return pictures


def ours(pictures: Sequence[Image], *, track: bool) -> tuple[Pipeline, Callable[[], Block]]:
    """The pipeline of ``edge-fer run`` on these pictures, and one block of it."""
    pipeline = build(load_settings(None, {"source": "synthetic", "threads": 1, "track": track}))
    pipeline.camera.close()
    camera = Played(pictures)
    pipeline.camera = camera

    def block() -> Block:
        camera.play()
        spent: list[int] = []
        faces: list[int] = []
        while True:
            began = perf_counter_ns()
            observation = pipeline.step()
            if observation is None:
                return spent, faces
            spent.append(perf_counter_ns() - began)
            faces.append(len(observation.faces))

    return pipeline, block


def stack(peer: Path) -> Callable[[Sequence[Image]], Block]:
    """The loop that one would write: shrink, YuNet, crop each box, the peer's network.

    Raises:
        ModelError: YuNet was not pulled, or there is no such peer.
    """
    finder = cv2.FaceDetectorYN.create(str(published("yunet")), "", (320, 240), 0.6)
    network = Interpreter(model_content=read(peer).flatbuffer, num_threads=1)
    network.allocate_tensors()
    given, answer = network.get_input_details()[0], network.get_output_details()[0]["index"]

    def block(pictures: Sequence[Image]) -> Block:
        spent, faces = [], []
        for picture in pictures:
            began = perf_counter_ns()
            _, found = finder.detect(cv2.resize(picture, (320, 240)))
            gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            boxes = [] if found is None else (found[:, :4] * 2).astype(int).tolist()
            for x, y, w, h in boxes:
                face = cv2.resize(gray[max(0, y) : y + h, max(0, x) : x + w], (48, 48))
                network.set_tensor(given["index"], (face / np.float32(255)).reshape(given["shape"]))
                network.invoke()
                network.get_tensor(answer).argmax()
            spent.append(perf_counter_ns() - began)
            faces.append(len(boxes))
        return spent, faces

    return block


def fer(python: Path | None, pictures: Sequence[Image], folder: ExitStack) -> Callable[[], Block]:
    """PyPI's package, whole frames.

    Raises:
        MissingExtra: there is no environment of it.
    """
    worker = FerEntrant(find_python(python))
    folder.callback(worker.close)
    file = Path(folder.enter_context(TemporaryDirectory())) / "frames.npy"
    np.save(file, np.stack(pictures))
    return lambda: worker.frames(file)


def compared(
    entrants: dict[str, Callable[[], Block]], rounds: int, on_step: Callable[[], None]
) -> dict[str, Any]:
    """Every entrant's milliseconds, faces, and time over ours; all held to one core."""
    spent = {name: np.empty(rounds) for name in entrants}
    seen: dict[str, float] = {}
    with one_core():
        for block in entrants.values():
            block()
        for turn in range(rounds):
            for place in np.roll(np.arange(len(entrants)), turn).tolist():
                name = list(entrants)[place]
                ns, faces = entrants[name]()
                spent[name][turn] = median(ns) / 1e6
                seen[name] = sum(n > 0 for n in faces) / len(faces)
                on_step()
    return {
        name: {
            "ms": float(np.median(times)),
            "frames_with_faces": seen[name],
            "ours_over_theirs": _spread(spent[OURS] / times),
        }
        for name, times in spent.items()
    }


def beside_the_networks(pictures: Sequence[Image]) -> dict[str, float]:
    """What a frame costs that is no network's: milliseconds, p50 and p90."""
    pipeline, block = ours(pictures, track=True)
    meters = [_metered(part) for part in _networks(pipeline)]
    rest = []
    with one_core():
        block()
        camera = pipeline.camera
        for _ in range(_ROUNDS):
            camera.play()  # type: ignore[attr-defined]
            while True:
                before = sum(meter.ns for meter in meters)
                began = perf_counter_ns()
                if pipeline.step() is None:
                    break
                whole = perf_counter_ns() - began
                rest.append((whole - (sum(meter.ns for meter in meters) - before)) / 1e6)
    pipeline.close()
    return {"p50": float(np.percentile(rest, 50)), "p90": float(np.percentile(rest, 90))}


def further_faces(pictures: Sequence[Image]) -> dict[str, Any]:
    """Milliseconds of crop, gate and classification by faces in the frame; the slope over one face.

    The faces are given, not found, and are all the one in the clip: what a further face costs the
    detector is its own affair, and with regions it is bounded by one whole frame.
    """
    pipeline, _ = ours(pictures, track=False)
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


def measured(
    video: Path, peer: Path | None, fer_python: Path | None, rounds: int, talk: Talk
) -> dict[str, Any]:
    """All figures."""
    pictures = pictures_of(video)
    left_out: dict[str, str] = {}
    with ExitStack() as stack_of_parts:
        pipeline, block = ours(pictures, track=True)
        stack_of_parts.callback(pipeline.close)
        plain, afresh = ours(pictures, track=False)
        stack_of_parts.callback(plain.close)
        entrants = {OURS: block, UNTRACKED: afresh}
        try:
            loop = stack(peer or Path())
            entrants[STACK] = lambda: loop(pictures)
        except EdgeFerError as err:
            left_out[STACK] = str(err)
        try:
            entrants[FER] = fer(fer_python, pictures, stack_of_parts)
        except EdgeFerError as err:
            left_out[FER] = str(err)
        for name, why in left_out.items():
            talk.say(f"left out: {name}: {why}")
        with talk.progress() as bar:
            task = bar.add_task("the clip, in turns", total=rounds * len(entrants))
            found = compared(entrants, rounds, lambda: bar.advance(task))
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
    return {
        "machine": platform.machine(),
        "opencv": cv2.__version__,
        "frames": len(pictures),
        "entrants": found,
        "left_out": left_out,
        "beside_the_networks_ms": beside_the_networks(pictures),
        "further_faces": further_faces(pictures),
        "cold_start_ms": start.median_ms,
    }


def section(found: dict[str, Any]) -> str:
    """Between the README's markers."""
    rows = [
        [
            f"`{name}`" if name.startswith("edge-fer") else name,
            f"{entry['ms']:.2f}",
            f"{100 * entry['frames_with_faces']:.0f}",
            "1"
            if name == OURS
            else "1/{:.1f} [1/{:.1f}, 1/{:.1f}]".format(
                *(1 / r for r in entry["ours_over_theirs"])
            ),
        ]
        for name, entry in found["entrants"].items()
    ]
    beside, more = found["beside_the_networks_ms"], found["further_faces"]
    head = ["", "ms a frame, median", "frames with a face, %", "our time over theirs"]
    words = (
        f"{found['frames']} frames of a clip with one face, scaled to 640x480, from pixels to "
        f"named faces on one thread and core of {found['machine']}, in turns; not a Pi's "
        f"timings. Beside its networks a frame costs {beside['p50']:.2f} ms (90 %: "
        f"{beside['p90']:.2f}). A further face costs {more['each_further_ms']:.2f} ms, "
        f"{more['ratio']:.2f} times one crop and one call of the network. The first observation "
        "comes "
        f"{found['cold_start_ms']:.0f} ms after the process starts."
    )
    return "\n".join((BEGIN, table(head, rows), "", words, END))


def main(
    video: Annotated[Path, typer.Option(help="A clip with one face in it.")],
    peer: Annotated[Path | None, typer.Option(help="The peer's float .tflite.")] = None,
    fer_python: Annotated[Path | None, typer.Option(help="Python that has PyPI's fer.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = _ROUNDS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where all of it goes.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="File with markers to fill in.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="Print an earlier run.")] = None,
) -> None:
    """Measure, print the table, and keep the figures."""
    if from_file is None:
        found = measured(video, peer, fer_python, rounds, Talk())
    else:
        found = json.loads(from_file.read_text())
    if json_file is not None:
        write_text(json_file, json.dumps(found, indent=1) + "\n")
    if markdown is None:
        typer.echo(section(found))
    else:
        fill_in(markdown, BEGIN, END, section(found))


def _networks(pipeline: Pipeline) -> list[LoadedModel]:
    near = pipeline.tracker.detectors if pipeline.tracker else (pipeline.detector,)
    return [pipeline.classifier, *(part for part in near if isinstance(part, LoadedModel))]


def _metered(part: LoadedModel) -> Metered:
    meter = Metered(part.backend)
    part.backend = meter
    return meter


def _spread(ratios: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """Median and quartiles."""
    return [float(np.percentile(ratios, q)) for q in (50, 25, 75)]


if __name__ == "__main__":
    typer.run(main)
