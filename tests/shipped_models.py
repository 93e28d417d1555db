"""Which of the shipped models do what, by name, without their float twins."""

from __future__ import annotations

from edge_fer.modelfile import read_model
from edge_fer.models import shipped

__all__ = ["CLASSIFIERS", "DETECTORS"]

_TASKS = {name: read_model(path).contract.task for name, path in shipped().items()}
CLASSIFIERS = [n for n, t in _TASKS.items() if t != "face-detection" and not n.endswith(".float")]
DETECTORS = [n for n, t in _TASKS.items() if t == "face-detection" and not n.endswith(".float")]
