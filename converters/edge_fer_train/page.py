"""The run record as one page that needs no network: curve, confusion, rejection, recipe."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files as resources
from typing import Any

from markupsafe import Markup

from edge_fer.evaluation.robustness import HARD
from edge_fer_train import charts

__all__ = ["GENERATOR", "as_html"]

GENERATOR = '<meta name="generator" content="edge-fer train">'
_TEMPLATE = "run.html.jinja"


def as_html(record: Mapping[str, Any]) -> str:
    """The page of a record, ``edge-fer/train/1``, styles and drawings inside.

    Sections whose key is missing or None are left out, so that older records have a page too:
    ``curve`` and ``best``, ``labels`` and ``confusion``, ``rejection``, ``quality``, ``cross_fit``.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    text = (resources(__package__) / _TEMPLATE).read_text(encoding="utf-8")
    rejection = record.get("rejection")
    return environment.from_string(text).render(
        r=record,
        generator=Markup(GENERATOR),  # noqa: S704 - a constant
        best=record.get("best") or {},
        trained_on=record.get("trained_on") or {},
        recipe=_flat(record.get("recipe") or {}),
        curves=_curves(record),
        confusion=_confusion(record),
        rejection=rejection,
        met=_MET.get(rejection["met"]) if rejection else None,
        coverage=_coverage(rejection) if rejection else None,
        strengths=_strengths(rejection) if rejection else [],
        hard=HARD,
        quality=record.get("quality"),
        cross_fit=record.get("cross_fit"),
    )


_MET = {
    "aim": "This reaches the aim.",
    "must": "This misses the aim and reaches what is required at least.",
    "coverage": "No threshold reaches the aim or what is required at least; "
    "this one keeps the aim's coverage.",
}


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _curves(record: Mapping[str, Any]) -> list[Markup]:
    curve = record.get("curve") or []
    if not curve:
        return []
    epochs = [point["epoch"] for point in curve]
    marked = (record.get("best") or {}).get("epoch")

    def series(names: Mapping[str, str]) -> dict[str, list[float | None]]:
        return {words: [point.get(key) for point in curve] for key, words in names.items()}

    accuracy = {"validation_accuracy": "accuracy", "validation_macro_recall": "macro recall"}
    loss = {"loss": "training loss", "validation_nll": "validation NLL"}
    return [
        charts.lines(
            epochs, series(accuracy), label="Validation accuracy", marked=marked, percent=True
        ),
        charts.lines(epochs, series(loss), label="Loss", marked=marked),
    ]


def _confusion(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per true class: its cells with the share of the row, and its recall."""
    labels, matrix = record.get("labels"), record.get("confusion")
    if not labels or not matrix:
        return []
    out = []
    for i, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        total = sum(counts)
        cells = [
            {"count": c, "share": c / total if total else 0.0, "hit": i == j}
            for j, c in enumerate(counts)
        ]
        recall = counts[i] / total if total else None
        out.append({"label": label, "n": total, "cells": cells, "recall": recall})
    return out


def _coverage(rejection: Mapping[str, Any]) -> Markup:
    clean = rejection["clean"]
    return charts.coverage_curve(
        [(p["coverage"], p["accuracy"]) for p in rejection["curve"]],
        (clean["coverage"], clean["accuracy"]),
        f"from {rejection['min_probability']:g}",
    )


def _strengths(rejection: Mapping[str, Any]) -> list[str]:
    first: Mapping[str, Any] = next(iter(rejection["corrupted"].values()), {})
    return [key for key in first if key != "all"]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value
    return out
