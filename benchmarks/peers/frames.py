"""Whole frames, from pixels to named faces: everybody's program in a process of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from edge_fer.errors import DataError, DeviceError, EdgeFerError, ModelError
from edge_fer.models import published
from edge_fer.types import Image
from peers import vicksam
from peers.process import Process, command
from peers.timing import in_turns, ratio
from peers.venvs import FER, OURS, ROOT, STACK, Venv, find_python, installed

__all__ = ["FER_NAME", "KERAS_NAME", "OURS_NAME", "STACK_NAME", "UNTRACKED_NAME"]
__all__ += ["Clip", "Contestant", "contest", "contestants", "read_clip"]

OURS_NAME, UNTRACKED_NAME = "edge-fer run", "edge-fer run --no-track"
FER_NAME, KERAS_NAME = "PyPI fer", "OpenCV's Haar + Keras"
STACK_NAME = "YuNet + vicksam/fer-model"
SIZE = (640, 480)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video in memory: ``uint8[480, 640, 3]`` BGR pictures."""

    name: str
    sha256: str
    pictures: tuple[Image, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who looks at frames.

    Attributes:
        name: for people.
        venv: its environment.
        start: makes the process.
    """

    name: str
    venv: Venv
    start: Callable[[], Process]


def read_clip(video: Path) -> Clip:
    """Every frame, scaled to 640x480.

    Raises:
        DataError: no video.
    """
    capture, pictures = cv2.VideoCapture(str(video)), []
    while (got := capture.read())[0]:
        pictures.append(np.asarray(cv2.resize(got[1], SIZE), np.uint8))
    capture.release()
    if not pictures:
        raise DataError(f"{video} is not a video that can be read.", "Check the path.")
    sha256 = hashlib.sha256(video.read_bytes()).hexdigest()
    return Clip(name=video.name, sha256=sha256, pictures=tuple(pictures))


def contestants(peer: Path | None, yunet: Path | None, root: Path = ROOT) -> list[Contestant]:
    """Everybody; ours first.

    Args:
        peer: vicksam's file.
        yunet: OpenCV's; None: the pulled one.
        root: where the environments lie.
    """

    def starting(name: str, venv: Venv, module: str, **arguments: Any) -> Contestant:
        def start() -> Process:
            return Process(name, command(find_python(venv, root), module, **arguments))

        return Contestant(name=name, venv=venv, start=start)

    def stack() -> Process:
        files = {"peer": str(vicksam.read(peer).path), "yunet": str(_yunet(yunet))}
        return Process(STACK_NAME, command(find_python(STACK, root), "stack_worker", **files))

    return [
        starting(OURS_NAME, OURS, "ours_worker", track=True),
        starting(UNTRACKED_NAME, OURS, "ours_worker", track=False),
        starting(FER_NAME, FER, "fer_worker"),
        starting(KERAS_NAME, FER, "keras_worker"),
        Contestant(name=STACK_NAME, venv=STACK, start=stack),
    ]


def contest(
    who: Sequence[Contestant],
    clip: Clip,
    *,
    root: Path = ROOT,
    rounds: int,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    on_skip: Callable[[str, str], None] = lambda name, reason: None,
) -> dict[str, Any]:
    """Time and memory of all of them on every frame of a clip, and what they weigh.

    Args:
        who: from :func:`contestants`; the first is what the others are compared with.
        clip: from :func:`read_clip`.
        root: where the environments lie.
        rounds: how often each gets the clip.
        on_progress: told what is done, how much of it, and of how much (0: nobody knows).
        on_skip: told of each that cannot take part, or that ended early, and why.

    Raises:
        EdgeFerError: whatever the first one raises.
    """
    present: list[Contestant] = []
    processes: list[Process] = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="edge-fer-peer-")))
        words = _stored(clip.pictures, folder / "frames.raw")
        for one in who:
            on_progress(f"starting {one.name}", 0, 0)
            try:
                process = one.start()
            except EdgeFerError as err:
                if not present:
                    raise
                on_skip(one.name, str(err))
                continue
            opened.callback(process.close)
            present.append(one)
            processes.append(process)
        seen: dict[int, float] = {}
        times = in_turns(
            [partial(_block, process, words, seen, i) for i, process in enumerate(processes)],
            rounds=rounds,
            on_turn=partial(on_progress, "the clip, in turns"),
            on_lost=lambda place, err: on_skip(present[place].name, str(err)),
        )
        entrants = []
        for place, (one, process) in enumerate(zip(present, processes, strict=True)):
            over = ratio(times[:, 0], times[:, place])
            if over is None:
                continue
            try:
                burden = _burden(one, process, root)
            except EdgeFerError as err:
                if place == 0:
                    raise
                on_skip(one.name, str(err))
                continue
            figures = {
                "ms": float(np.median(times[:, place])),
                "ours_over_theirs": asdict(over),
                "frames_with_faces": seen[place],
            }
            entrants.append({"name": one.name, **figures, **burden})
    return {
        "clip": {"name": clip.name, "sha256": clip.sha256},
        "frames": len(clip.pictures),
        "size": list(SIZE),
        "rounds": rounds,
        "entrants": entrants,
    }


def _burden(one: Contestant, process: Process, root: Path) -> dict[str, Any]:
    """What it takes of the machine."""
    about = process.about
    return {
        "classifier": about["name"],
        "start_mb": about["peak_mb"],
        "peak_mb": process.ask("memory")["peak_mb"],
        "model_bytes": sum(Path(file).stat().st_size for file in about["files"]),
        "installed_bytes": installed(one.venv, root),
        "runtime": about["runtime"],
    }


def _stored(pictures: Sequence[Image], file: Path) -> Mapping[str, Any]:
    """The request that has a worker look at them."""
    np.stack(pictures).tofile(file)
    return {"file": str(file), "count": len(pictures), "shape": list(pictures[0].shape)}


def _block(
    process: Process, words: Mapping[str, Any], seen: dict[int, float], place: int
) -> list[int]:
    """The whole clip once."""
    answer = process.ask("frames", **words)
    ns, faces = answer["ns"], answer["faces"]
    if len(ns) != words["count"]:
        raise DeviceError(f"It looked at {len(ns)} frames of {words['count']}.")
    seen[place] = sum(n > 0 for n in faces) / len(faces)
    return [int(one) for one in ns]


def _yunet(stated: Path | None) -> Path:
    if stated is None:
        return published("yunet")
    if not stated.is_file():
        raise ModelError(f"There is no YuNet at {stated}.", "Get it: edge-fer models pull yunet")
    return stated
