"""This project's own models: whatever int8 classifiers are shipped."""

from __future__ import annotations

from pathlib import Path

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.evaluation.labels import SCHEMES
from edge_fer.modelfile import ModelFile, read_model
from edge_fer.models import shipped
from peers.entrant import Card, ClassifierEntrant

__all__ = ["open_ours", "shipped_classifiers"]


def shipped_classifiers() -> list[ModelFile]:
    """The shipped int8 models that name the expression of one frame, by name.

    Raises:
        ModelError: a shipped file is damaged.
    """
    models = [read_model(path) for path in shipped().values()]
    return [
        model
        for model in models
        if model.contract.task == "expression-frame"
        and model.contract.quantisation.scheme == "int8"
        and model.contract.label_scheme in SCHEMES
    ]


def open_ours(model: ModelFile) -> ClassifierEntrant:
    """One of them, on one thread.

    Raises:
        MissingExtra: no runtime is installed.
        ModelError: the file breaks its contract.
    """
    classifier = Classifier(model, open_backend("auto", model.flatbuffer, threads=1))
    licence = model.contract.licence
    card = Card(
        name=model.name,
        ours=True,
        numbers="int8",
        labels=model.contract.labels,
        size_bytes=Path(model.path).stat().st_size,
        sha256=model.sha256,
        runtime=classifier.backend.name,
        terms=f"code {licence.code}; weights {licence.weights}",
    )
    return ClassifierEntrant(card, classifier)
