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
from edge_fer_bench.accuracy.group_figures import (
    MIN_GROUP_ROWS,
    Compared,
    Gap,
    GroupFigures,
    compare,
)
from edge_fer_bench.accuracy.group_file import GroupFile, groupings_of, names_of, unreadable
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row, Tone, points

__all__ = ["GroupsSection", "measure_groups"]

_MIXED = (
    "Groups differ in their classes too, and some classes are easier: 'even' is the accuracy as if "
    "every group had the same mix of them."
)
_PROXIES = "proxies from the pixels, no groups of people"


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
        """The worst drop beyond the limit and the worst gap that is no chance, a sentence each."""
        return [words for words in (self._worst_drop(), self._worst_gap()) if words]

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

    @property
    def _judged(self) -> int:
        """Groups whose drop is held against the limit."""
        return sum(not group.few for grouping in self.groupings for group in grouping.groups)

    @property
    def _compared(self) -> int:
        """Gaps that are held against 0."""
        return sum(len(grouping.gaps) for grouping in self.groupings)

    def _loses(self, group: GroupFigures) -> bool:
        return group.loses(self.max_drop, self._judged)

    def _told(self, gap: Gap | None) -> bool:
        return gap is not None and gap.told(self._compared)

    def _worst_drop(self) -> str:
        over = [
            (grouping, group)
            for grouping in self.groupings
            for group in grouping.groups
            if self._loses(group)
        ]
        if not over:
            return ""
        by, worst = max(over, key=lambda pair: pair[1].drop_points)
        return (
            f"By {by.name}, int8 costs {points(worst.drop_points)} points in the group "
            f"{worst.name} (n {worst.n:,}), 95 % interval {_interval(worst.ci95_points)}: beyond "
            f"the limit of {self.max_drop:g} points{_and_more(len(over) - 1, 'group')}."
        )

    def _worst_gap(self) -> str:
        """Properties of pictures nearly always differ in their classes: only even gaps count."""
        told = [
            grouping
            for grouping in self.groupings
            if self._told(grouping.even_gap) or (not self.proxies and self._told(grouping.gap))
        ]
        if not told:
            return ""

        def rank(grouping: Compared) -> tuple[bool, float]:
            gap = grouping.even_gap if self._told(grouping.even_gap) else grouping.gap
            return self._told(grouping.even_gap), 0.0 if gap is None else gap.points

        worst = max(told, key=rank)
        gap = worst.even_gap if self.proxies else worst.gap
        if gap is None or not self._told(gap):
            gap = worst.even_gap
        assert gap is not None  # noqa: S101 - only gaps that are told come here
        even = gap is worst.even_gap
        # Int8 is only named for what the float model does not do as well.
        (group,) = (group for group in worst.groups if group.name == gap.worst)
        both = gap.reference_points > 0 and not self._loses(group)
        by, unit = worst.name, f"{worst.unit}; " if worst.unit else ""
        where = f"on {gap.worst} than on {gap.best} (by {by})"
        if self.proxies:
            where = f"with {by} {gap.worst} than with {by} {gap.best} ({unit}{_PROXIES})"
        return (
            f"{'Both models are' if both else 'Int8 is'} right less often {where}: a gap of "
            f"{points(gap.points, 1)} points in int8, 95 % interval "
            f"{_interval(gap.ci95_points, 1)}, and {points(gap.reference_points, 1)} in float"
            f"{', with the same mix of classes' if even else self._evened(worst)}"
            f"{_and_more(len(told) - 1, 'grouping')}."
        )

    def _evened(self, grouping: Compared) -> str:
        even = grouping.even_gap
        if even is None:
            return "; the groups have no class in common, so that their classes may be the reason"
        same = f"{points(even.points, 1)} points ({_interval(even.ci95_points, 1)})"
        chance = "" if self._told(even) else ", which chance explains"
        return f"; with the same mix of classes it is {same}{chance}"

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
            tone: Tone = "strong" if any(map(self._told, grouping.gaps)) else "plain"
            rows.append(Row(cells=cells, tone=tone))
        return Grid(
            key=f"{self.key}_gaps",
            title=f"Best and worst group{' by proxies' * self.proxies}, int8 accuracy, points",
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
            "once, as best and worst were picked after looking. Bold: leaves out 0, and chance "
            f"among the {self._compared} gaps here does not explain it.",
        )

    def _groups(self, grouping: Compared) -> Grid:
        rows = []
        for group in grouping.groups:
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
                    tone="dim" if group.few else "bad" if self._loses(group) else "plain",
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
            note=f"{without}Intervals, 95 %: low and high of int8, from and to of the drop. Red: "
            f"beyond the limit of {self.max_drop:g} points, and McNemar's p below 0.05 over the "
            f"{self._judged} groups of the section.",
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


def _and_more(count: int, what: str) -> str:
    """What the table has besides; empty for none."""
    return f"; and {count} more {what}{'s' * (count > 1)}, see the table" if count else ""


def _interval(ends: tuple[float, float], digits: int = 2) -> str:
    return f"{points(ends[0], digits)} to {points(ends[1], digits)}"
