"""The tables of a sweep: as many as 80 columns ask for, each with what tells the variants apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_fer.uri import redacted
from edge_fer_bench.drawing.section import Cell, Column, Grid, Row, shown
from edge_fer_bench.statistics.bootstrap import P99_FRAMES
from edge_fer_bench.sweep.rounds import Skipped
from edge_fer_bench.sweep.scaling import OVERS, Fit
from edge_fer_bench.sweep.swept import Swept
from edge_fer_bench.sweep.variants import Names

__all__ = ["WIDTH", "WITHOUT_CAPTURE", "scaling_grids", "variant_grids", "width_of"]

WIDTH = 80
WITHOUT_CAPTURE = "Getting the picture (drawing, decoding) is left out."
_HEADINGS = {"model": "model", "detector": "detector", "threads": "thr", "source": "source"}
_NOTED = ("accuracy", "labels", "kB", "faces")  # said once, below, where they are the same in all

# What is shown of a variant, what matters most first; those of a group stand beside each other.
_COLUMNS: tuple[tuple[tuple[Column, Callable[[Swept], Cell]], ...], ...] = (
    (
        (Column(name="ms"), lambda v: v.ms),
        (Column(name="x first"), lambda v: v.ratio.median),
        (
            Column(name="x 25\u201375 %", kind="text"),
            lambda v: _range(v.ratio.low, v.ratio.high),
        ),
    ),
    (
        (Column(name="accuracy", kind="share", digits=1), lambda v: v.share),
        (Column(name="labels", kind="text"), lambda v: v.label_scheme),
    ),
    ((Column(name="kB", digits=0), lambda v: v.size_kb),),
    ((Column(name="work"), lambda v: v.work_ms),),
    ((Column(name="fps", digits=1), lambda v: v.fps),),
    ((Column(name="p99"), lambda v: v.p99_ms),),
    ((Column(name="faces", digits=1), lambda v: v.faces),),
    ((Column(name="detect"), lambda v: v.detect_ms),),
    ((Column(name="classify"), lambda v: v.classify_ms),),
)
_Filled = tuple[Column, Sequence[Cell]]


def variant_grids(
    variants: Sequence[Swept], skipped: Sequence[Skipped], names: Names, front: set[int]
) -> list[Grid]:
    """One row per variant, and only such columns to name it as differ between them.

    Args:
        variants: the first is what the others are compared with.
        skipped: said in the note, with the reason.
        names: of the variants.
        front: the places of those that stand out, where their accuracies differ.
    """
    ids: list[_Filled] = [
        (
            Column(name=_HEADINGS[f], kind="count" if f == "threads" else "text"),
            [v.variant.threads if f == "threads" else names.cell(v.variant, f) for v in variants],
        )
        for f in names.varying
    ]
    same = {
        column.name
        for group in _COLUMNS
        for column, cell in group
        if column.name in _NOTED and len({shown(cell(v), column) for v in variants}) == 1
    }
    groups = [
        [(column, [cell(v) for v in variants]) for column, cell in group if column.name not in same]
        for group in _COLUMNS
    ]
    bold = _distinct(variants)
    grids: list[Grid] = []
    for columns in _laid_out(ids, [group for group in groups if group]):
        first = not grids
        rows = (tuple(cells[i] for _, cells in columns) for i in range(len(variants)))
        grids.append(
            Grid(
                key="sweep" if first else f"sweep_{len(grids) + 1}",
                detail=not first,
                title="Sweep" if first else "Sweep, further figures",
                columns=tuple(column for column, _ in columns),
                rows=tuple(
                    Row(cells=cells, tone="strong" if bold and i in front else "plain")
                    for i, cells in enumerate(rows)
                ),
                note=_note(variants, skipped, names, same, columns) if first else _told(columns),
            )
        )
    return grids


def scaling_grids(found: Sequence[Fit], faces_per_frame: int) -> list[Grid]:
    """The fitted lines, where there are any, the first one in words.

    Args:
        found: the lines.
        faces_per_frame: how many faces are classified in one frame.
    """
    if not found:
        return []
    # One of each kind, of the first variant.
    told = [next((fit for fit in found if fit.over == over), None) for over in OVERS]
    words = " ".join(
        f"{fit.what}: {fit.cost}; measured at {fit.where}." for fit in told if fit is not None
    )
    names = ("variant", "per", "ms", "at 0, ms", "off, ms", "held")
    texts = ("variant", "per", "held")
    rows = tuple(
        Row(
            cells=(
                fit.what,
                "face" if fit.over == "faces" else "megapixel",
                fit.slope_ms,
                fit.base_ms,
                fit.residual_ms,
                fit.held,
            )
        )
        for fit in found
    )
    return [
        Grid(
            key="sweep_scaling",
            title="How the cost of a frame grows",
            columns=tuple(
                Column(name=name, kind="text" if name in texts else "points") for name in names
            ),
            rows=rows,
            note=f"{words} {WITHOUT_CAPTURE}{_bend(found, faces_per_frame)}",
        )
    ]


def width_of(columns: Sequence[_Filled]) -> int:
    """How many characters a terminal needs for these, with two between columns and at the edges."""
    cells = [
        max(len(column.name), *(len(shown(cell, column)) for cell in values))
        for column, values in columns
    ]
    return sum(cells) + 2 * len(cells) + 2


def _laid_out(ids: Sequence[_Filled], groups: Sequence[Sequence[_Filled]]) -> list[list[_Filled]]:
    """Each group into the first table that has room for it, or a new one; torn apart if need be."""
    tables: list[list[_Filled]] = []
    for whole in groups:
        fits = width_of([*ids, *whole]) <= WIDTH
        for group in [whole] if fits else [[column] for column in whole]:
            table = next((t for t in tables if width_of([*t, *group]) <= WIDTH), None)
            if table is None:
                table = [*ids]
                tables.append(table)
            table.extend(group)
    return tables


def _note(
    variants: Sequence[Swept],
    skipped: Sequence[Skipped],
    names: Names,
    same: set[str],
    columns: Sequence[_Filled],
) -> str:
    first = variants[0]
    alike = _alike(first, names, same)
    words = [f"All: {', '.join(alike)}."]
    words.append(
        "x first: time of a whole frame over the first variant's, median of the rounds; ms: of the "
        "first the median, of the others that times x first."
    )
    words.append(_told(columns))
    if _distinct(variants):
        words.append("Bold: none is better in accuracy, time and size at once.")
    words += _judged(variants)
    threads = len({v.variant.threads for v in variants}) > 1
    if threads and any(v.variant.detector.startswith(("haar", "yunet")) for v in variants):
        words.append("Haar and YuNet use OpenCV's threads, which this setting leaves alone.")
    if any(v.live for v in variants):
        words.append("A live source has a rate of its own: its times hold waiting.")
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        reasons.setdefault(str(one.error), []).append(one.variant.name)
    words += [f"Left out: {'; '.join(who)}: {why.rstrip('.')}." for why, who in reasons.items()]
    return " ".join(word for word in words if word)


def _distinct(variants: Sequence[Swept]) -> bool:
    """Whether there is something to choose between: accuracies that differ."""
    return len({v.share for v in variants}) > 1


def _alike(first: Swept, names: Names, same: set[str]) -> list[str]:
    """What the variants have in common, in words."""
    told = [
        f"{field} {redacted(str(getattr(first.variant, field)))}"
        for field in _HEADINGS
        if field not in names.varying
    ]
    if "kB" in same:
        told.append(f"{first.size_kb:,.0f} kB")
    if "accuracy" in same and first.accuracy is not None:
        told.append(f"accuracy {100 * first.accuracy.share:.1f} %")
    if "faces" in same:
        told.append(f"{first.faces:.1f} faces a frame")
    return [*told, f"{first.frames:,} frames each"]


def _judged(variants: Sequence[Swept]) -> list[str]:
    """Where the accuracies come from, and whether they may be compared."""
    kinds = list(dict.fromkeys(v.judged for v in variants if v.accuracy))
    if not kinds:
        return []
    words = [f"Accuracy: {'; '.join(kinds)}."]
    if any(v.accuracy and not v.measured for v in variants):
        words.append("Recorded: in the contract, by the build host.")
    if len(kinds) > 1:
        words.append("Those of different kinds do not compare.")
    return words


def _bend(found: Sequence[Fit], faces_per_frame: int) -> str:
    most = max((max(fit.at) for fit in found if fit.over == "faces"), default=0.0)
    if most <= faces_per_frame + 0.5:
        return ""
    return (
        f" Of more faces, {faces_per_frame} are classified in a frame, in turns "
        "(faces_per_frame), so that the line bends there."
    )


def _told(columns: Sequence[_Filled]) -> str:
    """What the headings mean that do not say it themselves."""
    told = [_TOLD[column.name] for column, _ in columns if column.name in _TOLD]
    return f"{'; '.join(told)}." if told else ""


def _range(low: float, high: float) -> str:
    return f"{low:.2f}\u2013{high:.2f}"


_TOLD = {
    "work": "work: median of a frame without getting the picture, ms",
    "x 25\u201375 %": "x 25\u201375 %: quartiles of x first",
    "faces": "faces: found per frame",
    "fps": "fps: of wall time",
    "p99": f"p99: of a whole frame, ms, from {P99_FRAMES} frames on",
    "detect": "detect: median, ms",
    "classify": "classify: median, ms",
}
