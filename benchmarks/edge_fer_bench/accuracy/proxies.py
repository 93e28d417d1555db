"""Without ``--groups``: proxies, which are properties of the pictures and no groups of people.

They are measured on the pixels and split into thirds. What they tell is where the pictures of a
camera could make the model worse; nothing about who is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.preprocess import fit
from edge_fer.quality import measure
from edge_fer.types import Detector, Frame, Image
from edge_fer_bench.accuracy.group_figures import Grouping, compare
from edge_fer_bench.accuracy.groups import GroupsSection

__all__ = ["ROLL_ROWS", "Proxy", "measure_proxies", "proxies_of", "roll_of", "thirds"]

ROLL_ROWS = 600
"""On so many rows a detector looks for eyes, evenly spread: it takes longer than the model."""

_MARGIN = 0.5  # of border around a crop, on each side
_SHOWN = 192  # pixels that a crop is enlarged to for the detector, at least

Progress = Callable[[float, float], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One property of every picture.

    Attributes:
        name: what it is.
        unit: of the values; empty for none.
        digits: that its bounds are rounded to.
        values: ``float64[N]``, NaN where it is not known.
        note: about the values; empty for none.
    """

    name: str
    unit: str
    digits: int
    values: Floats
    note: str = ""


def measure_proxies(
    faces: LabelledFaces,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    spec: InputSpec,
    detector: Detector | None,
    *,
    max_drop: float,
    on_progress: Progress = lambda done, total: None,
) -> GroupsSection:
    """The section ``proxies``, of answers that are there already.

    Args:
        faces: the rows.
        before: ``[N, C]`` probabilities of the float model.
        after: ``[N, C]`` probabilities of the int8 model.
        spec: the model's input: brightness, contrast and sharpness are those of what it sees.
        detector: finds the eyes; None for no roll.
        max_drop: limit of a group's drop, points.
        on_progress: told how many of how many pictures are measured.
    """
    proxies, notes = proxies_of(faces, spec, detector, on_progress=on_progress)
    compared = []
    for proxy in proxies:
        grouping = thirds(proxy)
        if len(grouping.groups) < 2:
            notes.append(f"{proxy.name} is left out: nearly all pictures have the same.")
            continue
        compared.append(compare(grouping, before, after, faces.truth, faces.labels))
        if proxy.note:
            notes.append(proxy.note)
    lead = (
        f"Proxies measured on the pixels of {len(faces):,} rows ({PurePath(faces.path).name}, "
        f"{faces.split}), in thirds: properties of the pictures, no demographic groups. They say "
        "nothing about age, sex or skin; for groups of people give --groups FILE.csv. "
        f"{' '.join(notes)}"
    )
    return GroupsSection(
        key="proxies",
        title="Proxies: kinds of pictures",
        lead=lead.strip(),
        groupings=tuple(compared),
        max_drop=max_drop,
        proxies=True,
        notes=tuple(notes),
    )


def proxies_of(
    faces: LabelledFaces,
    spec: InputSpec,
    detector: Detector | None,
    *,
    on_progress: Progress = lambda done, total: None,
) -> tuple[list[Proxy], list[str]]:
    """What can be measured, and why the rest cannot.

    Args:
        faces: the rows.
        spec: the model's input.
        detector: finds the eyes, or None.
        on_progress: told how many of how many pictures are measured.
    """
    count = len(faces)
    asked = np.linspace(0, count - 1, min(ROLL_ROWS, count)).astype(np.int64)
    total = count + (0 if detector is None else len(asked))
    measured = []
    for done, image in enumerate(faces.images, 1):
        measured.append(measure(fit(image, spec)))
        on_progress(done, total)
    proxies = [
        Proxy(
            name="brightness",
            unit="gray levels",
            digits=0,
            values=np.array([q.brightness for q in measured]),
        ),
        Proxy(
            name="contrast",
            unit="gray levels",
            digits=0,
            values=np.array([q.contrast for q in measured]),
        ),
        Proxy(
            name="sharpness", unit="", digits=2, values=np.array([q.sharpness for q in measured])
        ),
    ]
    notes = []
    sides = np.array([max(image.shape[:2]) for image in faces.images], np.float64)
    if np.ptp(sides) == 0:
        notes.append(f"Face size is left out: every picture has {sides[0]:.0f} pixels a side.")
    else:
        proxies.append(Proxy(name="face size", unit="pixels", digits=0, values=sides))
    if detector is None:
        notes.append("Roll is left out: there is no detector that finds eyes.")
        return proxies, notes
    rolls = np.full(count, np.nan)
    for done, row in enumerate(asked.tolist(), 1):
        roll = roll_of(faces.images[row], detector)
        rolls[row] = np.nan if roll is None else abs(roll)
        on_progress(count + done, total)
    found = int(np.isfinite(rolls).sum())
    if 2 * found < len(asked):
        notes.append(
            f"Roll is left out: the detector finds eyes in {found:,} of {len(asked):,} pictures."
        )
    else:
        note = f"Roll is that of the eyes, found in {found:,} of {len(asked):,} pictures asked."
        proxies.append(Proxy(name="roll", unit="degrees", digits=1, values=rolls, note=note))
    return proxies, notes


def thirds(proxy: Proxy) -> Grouping:
    """Three groups of about as many rows, named by their bounds: ``to 93``, ``93 to 141``.

    Bounds are rounded first, so that the names are true. Where many values are equal there are
    fewer groups.
    """
    known = np.isfinite(proxy.values)
    low, high = np.round(np.quantile(proxy.values[known], [1 / 3, 2 / 3]), proxy.digits)
    # A value on a bound belongs below it.
    place = np.searchsorted([low, high], proxy.values, side="left")
    place[~known] = -1
    names = (
        f"to {low:.{proxy.digits}f}",
        f"{low:.{proxy.digits}f} to {high:.{proxy.digits}f}",
        f"over {high:.{proxy.digits}f}",
    )
    used = [i for i in range(3) if (place == i).any()]
    member = np.array([used.index(p) if p >= 0 else -1 for p in place.tolist()], np.int64)
    return Grouping(
        name=proxy.name,
        groups=tuple(names[i] for i in used),
        member=member,
        unit=proxy.unit,
    )


def roll_of(image: Image, detector: Detector) -> float | None:
    """Degrees between a face's eyes and the horizontal; None where no eyes are found.

    A crop is filled by its face, and detectors want to see around it: the picture's own border is
    carried on, and small pictures are enlarged.

    Args:
        image: ``uint8[H, W]`` or ``uint8[H, W, 3]`` (RGB).
        detector: finds the face.
    """
    side = max(image.shape[:2])
    zoom = max(1.0, _SHOWN / side)
    shown = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    border = round(_MARGIN * side * zoom)
    padded = cv2.copyMakeBorder(shown, *(border,) * 4, cv2.BORDER_REPLICATE)
    gray = padded.ndim == 2
    frame = Frame(
        luma=np.asarray(padded if gray else cv2.cvtColor(padded, cv2.COLOR_RGB2GRAY), np.uint8),
        colour=None if gray else np.asarray(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR), np.uint8),
        t_ns=0,
        sequence=0,
        source="",
    )
    found = detector.detect(frame)
    if not found or found[0].keypoints is None or len(found[0].keypoints) < 2:
        return None
    return detector.face_square(found[0]).roll_deg
