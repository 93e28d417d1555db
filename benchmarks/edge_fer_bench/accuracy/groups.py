"""``--groups FILE.csv``: which groups the model is worse for, and which int8 costs more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.evaluation.data import LabelledFaces
from edge_fer_bench.accuracy.group_chart import group_chart
from edge_fer_bench.accuracy.group_figures import MIN_GROUP_ROWS, Compared, compare
from edge_fer_bench.accuracy.group_file import GroupFile, groupings_of, names_of, unreadable
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row, points

__all__ = ["GroupsSection", "measure_groups"]

_MIXED = (
    "Groups differ in their classes too, and some classes are easier: 'even' is the accuracy as if "
    "every group had the same mix of them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsSection:
    """Figures per group: the section ``groups``, and with other words ``proxies``.

    Attributes:
        key, title, lead: see :class:`edge_fer_bench.drawing.section.Section`.
        groupings: one for each way to group the rows.
        max_drop: limit of the drop, points.
        proxies: whether these are properties of pictures and no groups of people.
        notes: what was left out, and why.
        source: where the groups came from; empty for the pixels.
    """

    key: str
    title: str
    lead: str
    groupings: tuple[Compared, ...]
    max_drop: float
    proxies: bool = False
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def findings(self) -> Sequence[str]:
        """Drops beyond the limit, and gaps that are no chance."""
        found = [
            f"By {grouping.name}, int8 costs {points(group.drop_points)} points in the group "
            f"{group.name} (n {group.n:,}), 95 % interval {_interval(group.ci95_points)}: beyond "
            f"the limit of {self.max_drop:g} points."
            for grouping in self.groupings
            for group in grouping.groups
            if not group.few and group.ci95_points[0] > self.max_drop
        ]
        told = [g for g in self.groupings if any(gap and gap.told for gap in (g.gap, g.even_gap))]
        if self.proxies:
            return [*found, *_of_proxies(told)]
        return [*found, *(_gap_words(grouping) for grouping in told)]

    @property
    def grids(self) -> Sequence[Grid]:
        """The gaps, the groups of each grouping, and all of them with classes evened out."""
        grids = [self._groups(grouping) for grouping in self.groupings]
        return [self._gaps(), *grids, self._even()] if grids else []

    @property
    def figures(self) -> Sequence[Figure]:
        """One picture for each grouping."""
        return [
            Figure(
                caption=f"Int8 accuracy by {grouping.name}, with its 95 % interval; the dashed "
                "mark is the float model. Pale: too few rows to be judged.",
                svg=group_chart(grouping),
            )
            for grouping in self.groupings
            if grouping.groups
        ]

    def to_json(self) -> dict[str, Any]:
        """The field that ``key`` names."""
        return {
            "source": self.source or None,
            "proxies": self.proxies,
            "min_rows": MIN_GROUP_ROWS,
            "max_drop_points": self.max_drop,
            "by": {grouping.name: grouping.to_json() for grouping in self.groupings},
            "notes": list(self.notes),
        }

    def _gaps(self) -> Grid:
        rows = []
        for grouping in self.groupings:
            gap, even = grouping.gap, grouping.even_gap
            if gap is None:
                rows.append(Row(cells=(grouping.name, "too few", *(None,) * 7), tone="dim"))
                continue
            plain = (gap.points, *gap.ci95_points)
            evened = (None,) * 3 if even is None else (even.points, *even.ci95_points)
            cells = (grouping.name, gap.best, gap.worst, *plain, *evened)
            rows.append(Row(cells=cells, tone="strong" if gap.told else "plain"))
        return Grid(
            key=f"{self.key}_gaps",
            title="Best and worst group, int8 accuracy, points",
            columns=(
                Column(name="by", kind="text"),
                Column(name="best", kind="text"),
                Column(name="worst", kind="text"),
                *(
                    Column(name=name, kind="points", digits=1)
                    for name in ("gap", "low", "high", "even", "from", "to")
                ),
            ),
            rows=tuple(rows),
            note=f"Groups of {MIN_GROUP_ROWS} rows or more. {_MIXED} Intervals, 95 %: low and "
            "high of the gap, from and to of the even one; they hold for all pairs of groups at "
            "once, as best and worst were picked after looking.",
        )

    def _groups(self, grouping: Compared) -> Grid:
        rows = []
        for group in grouping.groups:
            over = not group.few and group.ci95_points[0] > self.max_drop
            rows.append(
                Row(
                    cells=(
                        f"{group.name}, too few" if group.few else group.name,
                        group.n,
                        group.reference,
                        group.quantised,
                        *group.quantised_ci95,
                        group.drop_points,
                        *group.ci95_points,
                    ),
                    tone="dim" if group.few else "bad" if over else "plain",
                )
            )
        unit = f", {grouping.unit}" if grouping.unit else ""
        without = f"{grouping.without:,} rows have no group here. " if grouping.without else ""
        shares = ("float", "int8", "low", "high")
        return Grid(
            key=f"{self.key}_{grouping.name}",
            detail=self.proxies,
            title=f"By {grouping.name}{unit}: accuracy, and what int8 costs in points",
            columns=(
                Column(name="group", kind="text"),
                Column(name="n", kind="count"),
                *(Column(name=name, kind="share", digits=1) for name in shares),
                *(Column(name=name, kind="points") for name in ("drop", "from", "to")),
            ),
            rows=tuple(rows),
            note=f"{without}Intervals, 95 %: low and high of int8, from and to of the drop.",
        )

    def _even(self) -> Grid:
        rows = [
            Row(
                cells=(
                    f"{grouping.name}: {group.name}",
                    group.n,
                    group.reference_recall,
                    group.quantised_recall,
                    group.reference_even,
                    group.quantised_even,
                ),
                tone="dim" if group.few else "plain",
            )
            for grouping in self.groupings
            for group in grouping.groups
        ]
        by_mix: dict[tuple[str, ...], list[str]] = {}
        for grouping in self.groupings:
            by_mix.setdefault(grouping.even_classes, []).append(grouping.name)
        mixes = "; ".join(
            f"{', '.join(names)}: {', '.join(classes) or 'none'}"
            for classes, names in by_mix.items()
        )
        return Grid(
            key=f"{self.key}_classes",
            detail=True,
            title="Every class alike: macro recall, and accuracy with classes evened out",
            columns=(
                Column(name="group", kind="text"),
                Column(name="n", kind="count"),
                *(
                    Column(name=name, kind="share", digits=1)
                    for name in ("float recall", "int8 recall", "float even", "int8 even")
                ),
            ),
            rows=tuple(rows),
            note="Macro recall is the mean over the classes that a group has, however few rows of "
            f"them. The classes that are evened out, which every judged group has: {mixes}.",
        )


def measure_groups(
    file: GroupFile,
    faces: LabelledFaces,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    max_drop: float,
) -> GroupsSection:
    """The section ``groups``, of answers that are there already.

    Args:
        file: see :func:`edge_fer_bench.accuracy.group_file.read_groups`.
        faces: the rows.
        before: ``[N, C]`` probabilities of the float model.
        after: ``[N, C]`` probabilities of the int8 model.
        max_drop: limit of a group's drop, points.

    Raises:
        DataError: the file does not fit the rows, see
            :func:`~edge_fer_bench.accuracy.group_file.groupings_of`.
    """
    given = groupings_of(file, faces)
    compared = tuple(compare(g, before, after, faces.truth, faces.labels) for g in given)
    unread = sum(name in file.of for name in unreadable(faces))
    elsewhere = len(file.of) - unread - sum(name in file.of for name in names_of(faces))
    notes = [
        f"{grouping.without:,} of {len(faces):,} rows have no group by {grouping.name}."
        for grouping in compared
        if grouping.without
    ]
    if elsewhere:
        notes.append(f"{elsewhere:,} images of the file are not among the rows measured here.")
    if unread:
        notes.append(f"{unread:,} images of the file could not be read.")
    lead = (
        f"Float and int8 on {len(faces):,} rows ({PurePosixPath(faces.path).name}, {faces.split}), "
        f"grouped by {PurePosixPath(file.path).name}. {' '.join(notes)}"
    )
    return GroupsSection(
        key="groups",
        title="Groups",
        lead=lead.strip(),
        groupings=compared,
        max_drop=max_drop,
        notes=tuple(notes),
        source=file.path,
    )


def _gap_words(grouping: Compared) -> str:
    gap, even = grouping.gap, grouping.even_gap
    assert gap is not None  # noqa: S101 - only gaps that are told come here
    share = {group.name: group.quantised for group in grouping.groups}
    words = (
        f"By {grouping.name}, int8 is right on {100 * share[gap.best]:.1f} % of {gap.best} and on "
        f"{100 * share[gap.worst]:.1f} % of {gap.worst}: a gap of {points(gap.points, 1)} points, "
        f"95 % interval {_interval(gap.ci95_points, 1)} (float: {points(gap.reference_points, 1)})."
    )
    if even is None:
        return f"{words} The groups have no class in common, so their classes may be the reason."
    same = f"{points(even.points, 1)} points ({_interval(even.ci95_points, 1)})"
    if even.told:
        return f"{words} With the same mix of classes it is {same}."
    return f"{words} With the same mix of classes it is {same}, which chance explains."


def _of_proxies(told: Sequence[Compared]) -> list[str]:
    """One sentence for all: properties of pictures nearly always make a difference."""
    even = [(g.name, g.even_gap) for g in told if g.even_gap is not None and g.even_gap.told]
    if not even:
        return []
    each = "; ".join(
        f"{name} {points(gap.points, 1)} points ({_interval(gap.ci95_points, 1)}; float "
        f"{points(gap.reference_points, 1)}; worst: {gap.worst})"
        for name, gap in even
    )
    return [
        "Int8 is right less often on some kinds of pictures, with the same mix of classes (proxies "
        f"from the pixels, no groups of people): {each}."
    ]


def _interval(ends: tuple[float, float], digits: int = 2) -> str:
    return f"{points(ends[0], digits)} to {points(ends[1], digits)}"
