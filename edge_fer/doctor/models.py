"""The shipped models: whole, as their contracts say, and computing here what they did at home."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from edge_fer.assemble import open_model
from edge_fer.doctor.findings import Finding, ok, problem
from edge_fer.errors import EdgeFerError, MissingExtra
from edge_fer.loaded import LoadedModel
from edge_fer.models import shipped

__all__ = ["check_models"]


def check_models(
    configured: str | None = None,
    *,
    models: Mapping[str, Path] | None = None,
    opened: Callable[[str], LoadedModel] = open_model,
) -> list[Finding]:
    """One finding where all are right, else one for each that is not.

    Args:
        configured: a model's name or path, looked at besides where it is no shipped one.
        models: name to file; None takes the shipped ones.
        opened: opens a model by its name or path.
    """
    addresses = {
        name: str(path) for name, path in (shipped() if models is None else models).items()
    }
    if configured is not None and configured not in addresses:
        addresses[configured] = configured
    wrong, checked, furthest, backend = [], 0, 0.0, ""
    for name, address in addresses.items():
        try:
            with closing(opened(address)) as model:
                found = model.check_golden()
                backend = model.backend.name
        except MissingExtra as err:  # of no model: there is nothing to run any of them with
            return [problem("models", err.message, err.remedy)]
        except EdgeFerError as err:
            wrong.append(problem(name, err.message, err.remedy or _FRESH))
            continue
        if found is not None:
            checked += found[0]
            int8 = model.contract.quantisation.scheme == "int8"
            furthest = max(furthest, found[1]) if int8 else furthest
    if wrong:
        return wrong
    if not addresses:
        return [problem("models", "There are no models in the package.", _FRESH)]
    whole = "1 file is" if len(addresses) == 1 else f"{len(addresses)} files are"
    return [
        ok(
            "models",
            f"{whole} whole; on {backend} {checked} golden vectors come out within "
            f"{furthest:g} steps.",
        )
    ]


_FRESH = "pip install --force-reinstall --no-deps edge-fer"
