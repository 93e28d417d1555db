"""Why a drop is no drop: a contract that does not fit its model, found and named in words.

The standing failure of the field is a good model behind wrong labels or wrong pixels. Between a
float model and its int8 twin, or between both and the truth, it leaves traces that quantisation
does not: another order of the classes, or another way to scale the pixels, brings the agreement
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import SCHEMES
from edge_fer.evaluation.metrics import confusion
from edge_fer_bench.accuracy.assignment import best_assignment
from edge_fer_bench.accuracy.inputs import Variant, plain_range, said_through, variants

__all__ = ["LOW_AGREEMENT", "RESTORED", "diagnose", "exchanged"]

LOW_AGREEMENT = 0.95
"""Above it nothing is looked for: two models that agree so often cannot be 5 points apart.

On the validation rows of FER2013 the shipped int8 models agree with their float twins on 98.1 to
99.6 %; with the range -1..1 instead of 0..1 in the contract on 65 to 82 %.
"""
RESTORED = 0.9
"""What a change must bring the agreement back to.

Where a shipped model was damaged with noise and its contract was right, no change of the contract
brought it above 85 %: 300 validation rows, seven strengths drawn twice, three models.
"""

_GAIN = 0.05  # and above what it was
_RIGHT, _RIGHT_GAIN = 0.5, 0.25  # the same where only the truth can tell: accuracies
_CONSTANT, _VARIED = 0.99, 0.9
_CLASS_ROWS = 10
_ASKED, _SCREENED, _FINALISTS, _LEAST = 300, 64, 2, 30

Said = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Suspect:
    """A model, what it said, and what it should have said.

    Attributes:
        model: asked again.
        name, judge: in sentences.
        said, wanted: ``int64[N]``, classes of the rows.
        by_truth: the judge is the data, so that even a good model is wrong at times.
    """

    model: Classifier
    name: str
    judge: str
    said: Said
    wanted: Said
    by_truth: bool = False

    @property
    def right(self) -> float:
        """Share of the rows."""
        return float((self.said == self.wanted).mean())

    @property
    def floor(self) -> float:
        """The share from which on nothing more is to be explained."""
        return _RIGHT if self.by_truth else RESTORED


def diagnose(
    quantised: Classifier,
    reference: Classifier,
    faces: LabelledFaces,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
) -> tuple[str, ...]:
    """What is wrong with a contract, if that is what a drop comes from.

    Cheap tests come first: a healthy pair costs two confusion matrices. Only where the models agree
    too little, or are right less often than a constant answer, a few hundred rows are asked again
    through other preprocessings: one to two thousand inferences.

    Args:
        quantised: the int8 model.
        reference: its float twin.
        faces: the rows, in labels that both models know, in any order.
        before: ``[N, C]`` probabilities of the reference, classes as in ``faces.labels``.
        after: the same of the int8 model.

    Returns:
        Sentences, the last with the remedy; none for a healthy pair, and none for an int8 model
        that is poor for other reasons.
    """
    if len(faces) < _LEAST:
        return ()
    int8 = _Suspect(
        model=quantised,
        name="The int8 model",
        judge="the data",
        said=after.argmax(axis=1),
        wanted=faces.truth,
        by_truth=True,
    )
    float_ = replace(int8, model=reference, name="The float reference", said=before.argmax(axis=1))
    worse, better = (int8, float_) if int8.right <= float_.right else (float_, int8)
    apart = float((worse.said == better.said).mean()) < LOW_AGREEMENT or bool(
        exchanged(worse.said, better.said, len(faces.labels))
    )
    if _no_judge(better, faces):
        pair = (int8, float_) if apart else (replace(int8, name="Each of the two models"),)
        return tuple(words for suspect in pair for words in _explained(suspect, faces))
    if not apart:
        return ()
    name = better.name.replace("The", "the", 1)
    return _explained(replace(worse, wanted=better.said, judge=name, by_truth=False), faces)


def exchanged(said: Said, wanted: Said, classes: int) -> dict[int, int]:
    """Classes that a model calls by the names of others, each other by another.

    The one-to-one renaming that agrees best is looked for; of its cycles those count in which most
    rows of a class, and most of those that were called so, speak for it. Classes of fewer than ten
    rows follow, unless they speak against it.

    Args:
        said: ``int64[N]``, what the model said.
        wanted: ``int64[N]``, what it should have said.
        classes: C.

    Returns:
        What the model says, by what it should say; empty where the names are right.
    """
    counts = confusion(said, wanted, classes)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    # Half a row for each class's own name decides where no row does.
    best = best_assignment(counts + 0.5 * np.eye(classes))
    found: dict[int, int] = {}
    for first in range(classes):
        cycle = [first]
        while (following := int(best[cycle[-1]])) != first:
            cycle.append(following)
        if len(cycle) < 2 or first != min(cycle):
            continue
        hits = {c: int(counts[c, best[c]]) for c in cycle}
        many = {c: rows[c] >= _CLASS_ROWS for c in cycle}
        proven = {c: 2 * hits[c] > rows[c] and 2 * hits[c] > columns[best[c]] for c in cycle}
        follows = {c: proven[c] if many[c] else hits[c] >= counts[c, c] for c in cycle}
        if all(follows.values()) and any(proven[c] and many[c] for c in cycle):
            found |= {c: int(best[c]) for c in cycle}
    return found


def _no_judge(model: _Suspect, faces: LabelledFaces) -> bool:
    """Whether even the better model is no better than a constant answer, or misnames classes."""
    rows = np.bincount(faces.truth, minlength=len(faces.labels))
    useless = np.count_nonzero(rows) > 1 and model.right <= rows.max() / len(faces)
    return useless or bool(exchanged(model.said, faces.truth, len(faces.labels)))


def _explained(suspect: _Suspect, faces: LabelledFaces) -> tuple[str, ...]:
    """Labels first, which need no inference; then the pixels; a constant answer in any case."""
    counts = np.bincount(suspect.said, minlength=len(faces.labels))
    spread = np.bincount(suspect.wanted, minlength=len(faces.labels))
    constant = counts.max() >= _CONSTANT * len(faces) and spread.max() < _VARIED * len(faces)
    names = {} if constant else exchanged(suspect.said, suspect.wanted, len(faces.labels))
    variant = None
    sentences = []
    if constant:
        sentences.append(
            f"{suspect.name} says {faces.labels[int(counts.argmax())]} for "
            f"{100 * counts.max() / len(faces):.0f} % of the pictures, whatever they show."
        )
    if not names or _renamed(suspect, names) < suspect.floor:
        found = _restoring(suspect, faces)
        if found is not None:
            variant, names, words = found
            sentences.append(words)
    if names:
        sentences.append(_label_words(suspect, names, faces.labels))
    if variant is not None or names:
        sentences[-1] += f" {_remedy(suspect.model, variant, names, faces.labels)}"
    elif constant:
        sentences[-1] += (
            " No other way to scale the pixels changes that, so the file itself looks damaged, or "
            "quantised with wrong ranges: convert it again with edge-fer convert."
        )
    return tuple(sentences)


def _renamed(suspect: _Suspect, names: Mapping[int, int]) -> float:
    """Share of rows that are right under the right names."""
    return float((_with_names(suspect.said, names) == suspect.wanted).mean())


def _with_names(said: Said, names: Mapping[int, int]) -> Said:
    renamed = said.copy()
    for wanted, called in names.items():
        renamed[said == called] = wanted
    return renamed


def _restoring(
    suspect: _Suspect, faces: LabelledFaces
) -> tuple[Variant, dict[int, int], str] | None:
    """The preprocessing that brings the answers back, with what it does in words.

    All are tried on a few rows, the best of them on more.
    """
    chosen = np.linspace(0, len(faces) - 1, min(_ASKED, len(faces))).astype(np.int64)
    few = chosen[:: max(1, len(chosen) // _SCREENED)]

    def asked(variant: Variant, rows: NDArray[np.int64]) -> tuple[float, dict[int, int]]:
        said = said_through(suspect.model, variant, faces.take(rows))
        wanted = suspect.wanted[rows]
        names = exchanged(said, wanted, len(faces.labels))
        return float((_with_names(said, names) == wanted).mean()), names

    tried = [
        (asked(variant, few)[0], variant) for variant in variants(suspect.model.contract.input)
    ]
    tried.sort(key=lambda entry: -entry[0])
    finals = [(*asked(variant, chosen), variant) for _, variant in tried[:_FINALISTS]]
    share, names, variant = max(finals, key=lambda entry: entry[0])
    now = float((suspect.said[chosen] == suspect.wanted[chosen]).mean())
    gain = _RIGHT_GAIN if suspect.by_truth else _GAIN
    if share < max(suspect.floor, now + gain):
        return None
    does = "is right" if suspect.by_truth else f"agrees with {suspect.judge}"
    return (
        variant,
        names,
        f"With {variant.words}, "
        f"{suspect.name.replace('The', 'the', 1).replace('Each', 'each', 1)} {does} on "
        f"{100 * share:.0f} % of {len(chosen)} pictures (now {100 * now:.0f} %): the "
        f"{variant.what} in its contract looks wrong.",
    )


def _label_words(suspect: _Suspect, names: Mapping[int, int], labels: tuple[str, ...]) -> str:
    judged = "the data say" if suspect.by_truth else f"{suspect.judge} says"
    whose = "its contract, or those of the data," if suspect.by_truth else "its contract"
    if len(names) == 2:
        one, other = names
        return (
            f"{suspect.name} says {labels[other]} where {judged} {labels[one]}, and the other way "
            f"round: the labels of {whose} look swapped."
        )
    each = ", ".join(f"{labels[said]} for {labels[wanted]}" for wanted, said in names.items())
    return (
        f"{suspect.name} gives its answers other names than {suspect.judge}, one for one ({each}): "
        f"the labels of {whose} look to be in a wrong order."
    )


def _remedy(
    model: Classifier,
    variant: Variant | None,
    names: Mapping[int, int],
    labels: tuple[str, ...],
) -> str:
    """The line that mends it, where a contract can."""
    right = {labels[called]: labels[wanted] for wanted, called in names.items()}
    order = tuple(right.get(label, label) for label in model.labels)
    scheme = next((name for name, known in SCHEMES.items() if known == order), None)
    if scheme is None and names and list(order) == sorted(order):
        remark = " (alphabetical, as Keras sorts class folders)"
    else:
        remark = ""
    spec = model.contract.input if variant is None else variant.spec
    span = None if variant is not None and variant.reversed_channels else plain_range(spec)
    if span is None:
        return (
            "No contract can say that: put it into the Keras model as a layer, and convert it "
            "again with edge-fer convert."
        )
    low, high = (f"{value:g}" for value in span)
    return (
        f"Check with whoever trained it; then write the contract anew{remark}: edge-fer models "
        f"adopt {model.model.path} --labels {scheme or ','.join(order)} "
        f"--input-range={low},{high} --kind {model.contract.output.kind} -o FIXED.tflite"
    )
