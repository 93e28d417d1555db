"""A look through the camera: which way is up, and are the faces good enough?

Nothing is stored: the pictures stay in memory and are gone with the process.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.orientation import Orientation
from edge_fer.cameras.video import VideoCamera
from edge_fer.contract import ModelContract
from edge_fer.doctor.findings import Finding, ok, warning
from edge_fer.errors import CameraAway, DeviceError
from edge_fer.gate import QualityGate
from edge_fer.preprocess import crop
from edge_fer.quality import measure
from edge_fer.types import Camera, Detector, Frame, Reason

__all__ = ["Look", "View", "aim", "grab", "with_rotation"]

Turn = Literal[0, 90, 180, 270]
TURNS: tuple[Turn, ...] = (0, 90, 180, 270)
_TIMED = (LiveCamera, VideoCamera)
_ENOUGH = 0.5
# Faces upside down score nearly as well as upright ones: 0.04 to 0.1 less on the clips measured.
_CLEAR = 0.02
_AGAINST: dict[Reason, str] = {
    "too_small": "Come nearer, or ask the camera for more pixels: ?size=1280x720",
    "dark": "Light the faces from the front; no window or lamp behind them.",
    "blurred": "Wipe the lens, focus it at the distance of the faces, add light.",
    "occluded": "Aim the camera so that whole faces are in the picture.",
    "off_axis": "Mount the camera at the height of the faces, in front of them.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the detector saw after turning the pictures; means over those with a face.

    Attributes:
        rotate: clockwise degrees, on top of what the address asks for.
        frames: how many had a face.
        score: mean over all frames, a frame without a face counting 0: what says which way is up.
        size: side of the largest face's square, pixels.
        brightness: of its crop, 0 to 255.
        sharpness: of its crop, as :mod:`edge_fer.quality` defines it.
        against: why the quality gate would give such a face no answer, in how many frames.
    """

    rotate: Turn
    frames: int
    score: float
    size: float | None
    brightness: float | None
    sharpness: float | None
    against: dict[Reason, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a camera shows.

    Attributes:
        source: its address.
        width: of its pictures, as the address turns them.
        height: of its pictures.
        frames: how many were looked at.
        fps: of a live camera or a video, pictures a second by their own times; else None.
        looks: one for each turn, in the order 0, 90, 180, 270.
        advised: the address with the turn that finds most faces; None where no turn finds any.
    """

    source: str
    width: int
    height: int
    frames: int
    fps: float | None
    looks: tuple[Look, ...]
    advised: str | None

    @property
    def best(self) -> Look:
        """The turn with the best faces; the present one where others are no better."""
        return _best(self.looks)[0]

    def to_json(self) -> dict[str, Any]:
        """The field ``camera``."""
        return asdict(self)

    def findings(self) -> list[Finding]:
        """Which way is up, and what is wrong with the faces."""
        rate = f", {self.fps:.1f} frames a second" if self.fps else ""
        found = [ok("picture", f"{self.width}x{self.height}{rate} ({self.frames} looked at).")]
        best, second = _best(self.looks)
        if self.advised is None:
            found.append(
                warning(
                    "faces",
                    f"No face in {self.frames} pictures, whichever way they are turned.",
                    "Stand in front of the camera, and run it again.",
                )
            )
            return found
        seen = f"Faces in {best.frames} of {self.frames} pictures"
        if best.score - second.score < _CLEAR:
            found.append(
                warning(
                    "rotation",
                    f"The detector likes the pictures turned by {best.rotate} and by "
                    f"{second.rotate} degrees alike ({best.score:.2f} and {second.score:.2f}).",
                    f"See for yourself: edge-fer run --source '{self.advised}' --annotate see.mp4",
                )
            )
        elif best.rotate:
            found.append(
                warning(
                    "rotation",
                    f"{seen} when turned by {best.rotate} degrees, in {self.looks[0].frames} as "
                    "they are.",
                    f"--source '{self.advised}'",
                )
            )
        else:
            found.append(ok("rotation", f"{seen}: the right way up."))
        found.append(_judged(best))
        return found


def aim(
    camera: Camera,
    detector: Detector,
    contract: ModelContract,
    *,
    source: str,
    min_side: float,
    frames: int = 30,
    on_step: Callable[[], None] = lambda: None,
) -> View:
    """Look at some pictures in all four ways.

    Args:
        camera: opened by the caller; closed by them.
        detector: finds the faces.
        contract: of the classifier that would judge them.
        source: the camera's address.
        min_side: the smallest square that a run would answer for, pixels.
        frames: how many pictures.
        on_step: told after each of four looks at each picture.

    Raises:
        DeviceError: the camera gives no picture.
        DataError: a file that cannot be decoded.
    """
    pictures = grab(camera, frames)
    if not pictures:
        raise DeviceError(f"{source} gives no picture.", "Check the camera: edge-fer doctor")
    first, last = pictures[0], pictures[-1]
    # Of a source that gives pictures as fast as they are taken, their times say nothing.
    seconds = (last.t_ns - first.t_ns) / 1e9 if isinstance(camera, _TIMED) else 0.0
    looks = tuple(_look(pictures, turn, detector, contract, min_side, on_step) for turn in TURNS)
    best, _ = _best(looks)
    return View(
        source=source,
        width=first.width,
        height=first.height,
        frames=len(pictures),
        fps=(len(pictures) - 1) / seconds if seconds > 0 else None,
        looks=looks,
        advised=with_rotation(source, best.rotate) if best.frames else None,
    )


def grab(
    camera: Camera,
    count: int,
    *,
    patience: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
) -> list[Frame]:
    """So many pictures, luma only, or as many as there are.

    Args:
        camera: the source.
        count: how many.
        patience: seconds for which a live camera may give nothing.
        clock: seconds that only grow.

    Raises:
        DeviceError: a live camera gave nothing for that long.
    """
    taken: list[Frame] = []
    given_up = clock() + patience
    while len(taken) < count:
        try:
            frame = camera.read()
        except CameraAway:
            if clock() >= given_up:
                raise
            continue
        if frame is None:
            break
        # Without the colour, thirty pictures of 640x480 are 9 MB; what a camera reuses is copied.
        taken.append(
            Frame(
                luma=frame.luma.copy(),
                colour=None,
                t_ns=frame.t_ns,
                sequence=frame.sequence,
                source=frame.source,
            )
        )
        given_up = clock() + patience
    return taken


def with_rotation(source: str, further: Turn) -> str:
    """An address whose pictures are turned by so much more.

    A mirrored picture is turned the other way: the address turns first and mirrors then. What else
    stands after the ``?`` may be a server's, and stays byte for byte.
    """
    head, _, query = source.partition("?")
    parts = [part for part in query.split("&") if part]
    kept = [part for part in parts if not part.startswith("rotate=")]
    turn = next((int(p.partition("=")[2]) for p in parts if p.startswith("rotate=")), 0)
    total = (turn + (-further if "mirror=1" in parts else further)) % 360
    query = "&".join([*kept, *([f"rotate={total}"] if total else [])])
    return f"{head}?{query}" if query else head


def _best(looks: Sequence[Look]) -> tuple[Look, Look]:
    """The one with the best faces, and the next; earlier turns win where both are as good."""
    first, second, *_ = sorted(looks, key=lambda look: -look.score)
    return first, second


def _look(
    pictures: Sequence[Frame],
    turn: Turn,
    detector: Detector,
    contract: ModelContract,
    min_side: float,
    on_step: Callable[[], None],
) -> Look:
    gate = QualityGate(contract.quality, min_side=min_side)
    orientation = Orientation(rotate=turn)
    scores, sizes, bright, sharp = [], [], [], []
    against: Counter[Reason] = Counter()
    for picture in pictures:
        frame = orientation.frame(
            picture.luma, t_ns=picture.t_ns, sequence=picture.sequence, source=picture.source
        )
        faces = detector.detect(frame)
        on_step()
        if not faces:
            continue
        face = max(faces, key=lambda f: f.box.area)
        square = detector.face_square(face)
        pixels = crop(frame, square, contract.input)
        found, reason = measure(pixels), gate.check(frame, face, square, pixels)
        scores.append(face.score)
        sizes.append(square.side)
        bright.append(found.brightness)
        sharp.append(found.sharpness)
        against.update([reason] if reason else [])
    return Look(
        rotate=turn,
        frames=len(scores),
        score=sum(scores) / len(pictures),
        size=fmean(sizes) if sizes else None,
        brightness=fmean(bright) if bright else None,
        sharpness=fmean(sharp) if sharp else None,
        against=dict(against),
    )


def _judged(look: Look) -> Finding:
    words = (
        f"{look.size:.0f} px wide, brightness {look.brightness:.0f} of 255, "
        f"sharpness {look.sharpness:.2f}"
    )
    reason, count = max(look.against.items(), key=lambda item: item[1], default=(None, 0))
    if reason is not None and count > _ENOUGH * look.frames:
        return warning(
            "faces",
            f"{words}: {reason.replace('_', ' ')} in {count} of {look.frames}, so that most would "
            "be unknown.",
            _AGAINST.get(reason, "See: edge-fer run --help"),
        )
    return ok("faces", f"{words}.")
