"""The part of a report about faces as the field spoils them: what int8 loses beside float then,
and what gets a name all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from edge_fer.classifier import Classifier
from edge_fer.evaluation.composites import drawn_faces
from edge_fer.evaluation.corruptions import ANY_STRENGTH, STRENGTHS
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer.evaluation.robustness import CLEAN, REPORT_SEED
from edge_fer_bench.accuracy.heatmap import Panel, heat_map
from edge_fer_bench.accuracy.measured import check_comparable
from edge_fer_bench.accuracy.spoilt import LEAST_RIGHT, Condition, Spoilt, ask_both
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row, Tone, points
from edge_fer_bench.limits import MAX_DROP

__all__ = ["ROWS", "MeasuredRobustness", "measure_robustness"]

ROWS = 1000
"""Rows that are drawn where there are more: both models are shown each of them 43 times."""

_NAMED_NOISE = 0.05
_NO_STRENGTH = "Without a number after the name: the same at every strength."
_FULL_DROP = 5.0  # points of drop that the heat map shows in full colour


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRobustness:
    """Every corruption at every strength, as a part of the report.

    Attributes:
        faces: the rows that were shown.
        of: how many there were to draw them from.
        found: what both models made of them.
        max_drop: the limit under each corruption, percentage points.
    """

    faces: LabelledFaces
    of: int
    found: Spoilt
    max_drop: float

    @property
    def key(self) -> str:
        """``robustness``."""
        return "robustness"

    @property
    def title(self) -> str:
        """Of the section."""
        return "Faces as the field spoils them"

    @property
    def lead(self) -> str:
        """Which rows, how they were shown, and what the gate was asked."""
        shown = (
            "Both models were shown identical pixels"
            if self.found.same_pixels
            else "The two models take different pixels, so that each was shown the corruptions "
            "through its own preprocessing"
        )
        ours, theirs = self.found.quantised.min_probability, self.found.reference.min_probability
        return (
            f"{self._rows}, under {len(self.found.corrupted)} corruptions at three strengths. "
            f"{shown}. Below a probability of {ours:g} (float {theirs:g}) the runtime says "
            f"unknown. {self._gate}"
        )

    @property
    def findings(self) -> Sequence[str]:
        """Where int8 clearly loses most against float, and where most names are wrong."""
        return [words for words in (self._lost(), self._misled()) if words]

    @property
    def grids(self) -> Sequence[Grid]:
        """What int8 costs, and what gets a name."""
        return (self._costs(), self._names())

    @property
    def figures(self) -> Sequence[Figure]:
        """One heat map."""
        each, clean = list(self.found.distinct.values()), self.found.clean
        panels = (
            Panel(
                title="int8: gets a name",
                aside=f"as they are: {_percent(clean.answered.coverage)}",
                values=[[c.answered.coverage for c in row] for row in each],
                words=_percent,
                shade=lambda share: share,
            ),
            Panel(
                title="int8: right of what gets one",
                aside=f"as they are: {_percent(clean.answered.accuracy)}",
                values=[[c.answered.accuracy for c in row] for row in each],
                words=_percent,
                # Names of which half are right are worth nothing: white.
                shade=lambda right: max(0.0, 2 * right - 1),
                marked=lambda row, column: each[row][column].misleads,
                faint=lambda row, column: each[row][column].few,
            ),
            Panel(
                title="int8: accuracy lost, points",
                aside=f"as they are: {points(clean.drop.drop_points, 1)}",
                values=[[c.drop.drop_points for c in row] for row in each],
                words=lambda drop: points(drop, 1),
                shade=lambda drop: -drop / _FULL_DROP,
                marked=lambda row, column: self._over(each[row][column]),
                shaded=lambda row, column: _changes(each[row][column]),
            ),
        )
        caption = (
            "Corruptions down, strengths across; one wide cell where there is no strength. A name: "
            "past the quality gate and the threshold. Bluer is more of it; in the last panel red "
            "is lost against float, blue won, white what may be 0 by its interval. Grey: "
            f"fewer than {MIN_CLASS_ROWS} rows get a name. Framed: under {_percent(LEAST_RIGHT)} "
            f"of the names are right, or int8 clearly loses more than {self.max_drop:g} points."
        )
        names = [_words(name) for name in self.found.corrupted]
        drawn = heat_map(names, [str(s) for s in STRENGTHS], panels, "Robustness by corruption")
        return (Figure(caption=caption, svg=drawn),)

    def to_json(self) -> dict[str, Any]:
        """The field ``robustness``; ``reference`` and ``quantised`` as ``evaluate`` gives them."""
        faces = self.faces
        return {
            "data": faces.path,
            "data_sha256": faces.sha256,
            "split": faces.split,
            "n": len(faces),
            "of": self.of,
            "seed": REPORT_SEED,
            "same_pixels": self.found.same_pixels,
            "max_drop_points": self.max_drop,
            "clean": self.found.clean.to_json(self.max_drop),
            "corrupted": {
                name: {str(c.strength): c.to_json(self.max_drop) for c in each}
                for name, each in self.found.corrupted.items()
            },
            "noise": {
                "refused_by_gate": self.found.noise_refused,
                "answered": self.found.noise_answered,
            },
            "reference": self.found.reference.to_json(),
            "quantised": self.found.quantised.to_json(),
        }

    @property
    def _rows(self) -> str:
        n = len(self.faces)
        whole = f"all {n:,} rows" if n == self.of else f"{n:,} of {self.of:,} rows, drawn by a seed"
        return f"{PurePath(self.faces.path).name}, {self.faces.split}: {whole}"

    @property
    def _gate(self) -> str:
        if self.found.clean.refused is None:
            return (
                "The quality gate was not asked: it is off, or the contract has no ranges for it."
            )
        return (
            "The quality gate was asked about the light and the sharpness of each crop, and not "
            "about size, angle and the frame's edge, which a bare crop does not have."
        )

    def _over(self, condition: Condition) -> bool:
        return self.found.loses(condition, self.max_drop)

    def _lost(self) -> str:
        over = [c for c in self.found.each() if self._over(c)]
        if not over:
            return ""
        worst = max(over, key=lambda c: c.drop.drop_points)
        low, high = worst.drop.ci95_points
        spoilt = f"under {_spoken(worst)}" if worst.strength else "on the faces as they are"
        return (
            f"Int8 loses more against float than the limit of {self.max_drop:g} points {spoilt}: "
            f"{points(worst.drop.drop_points, 1)} points (95 % interval {points(low, 1)} to "
            f"{points(high, 1)}; {_percent(worst.answered.coverage)} of the faces get a name)"
            f"{_and_more(len(over) - 1)}."
        )

    def _misled(self) -> str:
        parts = []
        wrong = [c for c in self.found.each() if c.strength and c.misleads]
        if wrong:
            worst = min(wrong, key=lambda c: c.answered.accuracy or 0.0)
            parts.append(
                f"Under {_spoken(worst)} {_percent(worst.answered.coverage)} of the faces get a "
                f"name, and only {_percent(worst.answered.accuracy)} of these names are right, the "
                f"wrong ones being mostly {worst.mistaken_for}{_and_more(len(wrong) - 1)}"
            )
        if self.found.noise_answered > _NAMED_NOISE:
            share = _percent(self.found.noise_answered)
            parts.append(f"{share} of pictures of noise, without a face, get a name")
        return f"{'; '.join(parts)}." if parts else ""

    def _costs(self) -> Grid:
        rows = []
        for c in self.found.each():
            low, high = c.drop.ci95_points
            figures = (c.drop.reference.accuracy, c.drop.quantised.accuracy, c.drop.drop_points)
            tone: Tone = "bad" if self._over(c) else "strong" if c is self.found.clean else "plain"
            cells = (_named(c), *figures, low, high, c.drop.agreement)
            rows.append(Row(cells=cells, tone=tone))
        shaken = [
            model.jitter_loss_points for model in (self.found.reference, self.found.quantised)
        ]
        return Grid(
            key="robustness",
            title="Accuracy of spoilt faces; drop and its 95 % interval in points",
            columns=(
                _KEY,
                Column(name="float", kind="share", digits=1),
                Column(name="int8", kind="share", digits=1),
                Column(name="drop", kind="points", digits=1),
                Column(name="from", kind="points", digits=1),
                Column(name="to", kind="points", digits=1),
                Column(name="same label", kind="share", digits=1),
            ),
            rows=tuple(rows),
            note=f"{self._rows}. Crops that are 5 % off, 8 % too large or small and rolled by 8 "
            f"degrees cost float {points(shaken[0])} points and int8 {points(shaken[1])}. Red: "
            f"beyond the limit of {self.max_drop:g} points, and McNemar's p below 0.05 over the "
            f"number of rows, {len(rows)}. {_NO_STRENGTH}",
        )

    def _names(self) -> Grid:
        rows = []
        for c in self.found.each():
            both = [
                v for kept in (c.reference, c.quantised) for v in (kept.coverage, kept.accuracy)
            ]
            past = (c.refused, c.answered.coverage, c.answered.accuracy)
            tone: Tone = "bad" if c.misleads else "dim" if c.few else "plain"
            rows.append(Row(cells=(_named(c), *both, *past), tone=tone))
        refused = "" if self.found.noise_refused is None else " after the gate"
        return Grid(
            key="robustness_named",
            detail=True,
            title="What gets a name, and how much of it is right",
            columns=(
                _KEY,
                *(
                    Column(name=name, kind="share", digits=0)
                    for name in (
                        *("float named", "float right", "int8 named", "int8 right"),
                        *("gate refuses", "int8 past both", "past both right"),
                    )
                ),
            ),
            rows=tuple(rows),
            note="Named: not called unknown by the threshold. Past both: nor refused by the "
            f"quality gate; dim: fewer than {MIN_CLASS_ROWS} rows. Pictures of noise that get a "
            f"name: float {_percent(self.found.reference.accepted_noise, 1)}, int8 "
            f"{_percent(self.found.quantised.accepted_noise, 1)}, int8{refused} "
            f"{_percent(self.found.noise_answered, 1)}. {_NO_STRENGTH}",
        )


_KEY = Column(name="spoilt by", kind="text")


def measure_robustness(
    quantised: Classifier,
    reference: Classifier,
    faces: LabelledFaces,
    *,
    rows: int = ROWS,
    gate: bool = True,
    max_drop: float = MAX_DROP,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> MeasuredRobustness:
    """Show both models the same faces under every corruption; Ctrl-C passes through.

    Args:
        quantised: the model that is benchmarked; what it calls unknown is what the runtime would.
        reference: its float twin.
        faces: rows in the labels of both.
        rows: at most so many of them, drawn by a fixed seed.
        gate: whether the runtime is set to ask its quality gate.
        max_drop: limit of the drop under each corruption, points.
        on_progress: told how many of how many sets of pictures are done, each model counting.

    Raises:
        ConfigError: the two models cannot be compared.
        DataError: there are no rows.
    """
    check_comparable(quantised.model, reference.model)
    drawn = drawn_faces(faces, rows, REPORT_SEED)
    return MeasuredRobustness(
        faces=drawn,
        of=len(faces),
        found=ask_both(quantised, reference, drawn, gate=gate, on_progress=on_progress),
        max_drop=max_drop,
    )


def _named(condition: Condition) -> str:
    """With the strength where it makes a difference: every row of a table has a name of its own."""
    none = condition.name in (CLEAN, *ANY_STRENGTH)
    return _words(condition.name) + ("" if none else f", {condition.strength}")


def _spoken(condition: Condition) -> str:
    """The same within a sentence."""
    none = condition.name in ANY_STRENGTH
    return _words(condition.name) + ("" if none else f" (strength {condition.strength})")


def _changes(condition: Condition) -> bool:
    """Whether the interval of the drop leaves out 0."""
    low, high = condition.drop.ci95_points
    return low > 0 or high < 0


def _and_more(count: int) -> str:
    """What the table has besides; empty for none."""
    return f"; and {count} more row{'s' * (count > 1)}, see the table" if count else ""


def _words(name: str) -> str:
    return "as they are" if name == CLEAN else name.replace("_", " ")


def _percent(share: float | None, digits: int = 0) -> str:
    return "\u2013" if share is None else f"{100 * share:.{digits}f} %"
