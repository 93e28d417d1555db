"""How often each model of a sweep is right, on the same labelled pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from edge_fer.assemble import open_classifier
from edge_fer.errors import EdgeFerError
from edge_fer.evaluation.data import labelled, read
from edge_fer.evaluation.evaluate import probabilities_of
from edge_fer.evaluation.metrics import top1
from edge_fer_bench.sweep.swept import MeasuredShare

__all__ = ["measure_shares"]

_NONE: Mapping[str, MeasuredShare] = MappingProxyType({})


def measure_shares(
    models: Sequence[str],
    data: Path,
    *,
    split: str | None = None,
    ferplus: Path | None = None,
    backend: str = "auto",
    known: Mapping[str, MeasuredShare] = _NONE,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
) -> dict[str, MeasuredShare]:
    """Score every model on the split, in the labels of its own scheme.

    The figure is that of ``edge-fer evaluate``. A model that cannot be opened, or has no
    class of the data, is left out.

    Args:
        models: names or files.
        data: labelled pictures.
        split: None for the usual one.
        ferplus: votes for a FER2013 csv.
        backend: what runs the models.
        known: what was measured before, on the same pictures.
        on_progress: told how many inferences of about how many are done.
        on_skip: told of each model that is left out, and why.

    Raises:
        DataError: the data cannot be read.
    """
    found = {model: known[model] for model in models if model in known}
    missing = [model for model in dict.fromkeys(models) if model not in known]
    if not missing:
        return found
    rows = read(data, ferplus)
    for number, model in enumerate(missing):

        def told(done: int, total: int, before: int = number) -> None:
            on_progress(before * total + done, len(missing) * total)

        try:
            with closing(open_classifier(model, backend=backend)) as classifier:
                faces = labelled(rows, classifier.labels, split=split)
                share = top1(probabilities_of(classifier, faces, told), faces.truth)
        except EdgeFerError as error:
            on_skip(f"{model}: its accuracy was not measured: {error}")
        else:
            found[model] = MeasuredShare(share=share, n=len(faces), split=faces.split)
    return found
