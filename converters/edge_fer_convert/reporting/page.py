"""What the pages of all conversions share: styles, ways to write a figure, the layers."""

from __future__ import annotations

from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any

from edge_fer_convert.reporting.layers import short_name

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["GENERATOR", "layer_rows", "page_environment"]

GENERATOR = '<meta name="generator" content="edge-fer convert">'


def page_environment() -> Environment:
    """Templates of this package, with the filters that they use; a missing value is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(
            lambda name: (resources(__package__) / name).read_text(encoding="utf-8")
        ),
    )
    environment.filters |= {
        "percent": lambda share: "-" if share is None else f"{100 * share:.2f} %",
        "signed": _signed,
        "kib": lambda count: "-" if count is None else f"{count / 1024:.0f} KiB",
        "ms": lambda value: "-" if value is None else f"{value:.3g} ms",
        "short": lambda value: "-" if value is None else f"{value:.3g}",
    }
    return environment


def layer_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per layer: a name that fits, its place among those that hurt, a bar."""
    layers = report["layers"] or []
    most = max((layer["sqnr_db"] or 0.0 for layer in layers), default=0.0) or 1.0
    rank = {index: place for place, index in enumerate(report["hurting"] or (), 1)}
    return [
        {
            **layer,
            "name": short_name(layer["tensor"]),
            "rank": rank.get(layer["index"]),
            "bar": round(100 * max(0.0, layer["sqnr_db"] or 0.0) / most, 2),
        }
        for layer in layers
    ]


def _signed(points: float | None) -> str:
    shown = 0.0 if points is None else round(points, 2)
    return "-" if points is None else f"{shown:+.2f}" if shown else "0.00"
