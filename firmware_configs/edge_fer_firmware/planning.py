"""From loaded settings to a plan: models and wheels are looked up, and weak choices refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from edge_fer import __version__
from edge_fer.detectors import DETECTORS
from edge_fer.errors import ConfigError, ModelError
from edge_fer.modelfile import ModelFile
from edge_fer.models import find, load, shipped
from edge_fer_firmware.facts import board, system
from edge_fer_firmware.judging import judge
from edge_fer_firmware.loading import Loaded
from edge_fer_firmware.plan import Model, Plan, models_folder
from edge_fer_firmware.settings import CardSettings
from edge_fer_firmware.wheel_folder import Offer, offer

__all__ = ["extras", "judge_wheels", "load_model", "make_plan", "uses_picamera"]

# What a contract must say it is for.
_TASKS: Mapping[Literal["model", "detector"], str] = MappingProxyType(
    {"model": "expression-frame", "detector": "face-detection"}
)


def make_plan(loaded: Loaded, wheels: Path | None = None) -> Plan:
    """Everything that a card is rendered from.

    Args:
        loaded: the settings.
        wheels: a folder that ``edge-fer provision wheels`` filled; None: the card brings none.

    Raises:
        ConfigError: a weak choice that was not said twice, wheels that the image cannot use.
        ModelError: a model that is not there, damaged or has no contract.
    """
    settings = loaded.settings
    judged = judge(settings)
    for found in judged:
        if found.state == "problem":
            raise loaded.file.wrong(found.keys, found.message, found.remedy)
    run, models = _models(loaded)
    facts = system(settings.system)
    return Plan(
        settings=settings.model_copy(update={"run": run}),
        board=board(settings.board),
        system=facts,
        version=__version__,
        models=models,
        credentials=loaded.credentials,
        wheels=() if wheels is None else _wheels(wheels, settings),
        warnings=tuple(
            f"{loaded.file.place(found.keys)}: {found.message} {found.remedy}"
            for found in judged
            if found.state == "warning"
        ),
    )


def extras(settings: CardSettings) -> tuple[str, ...]:
    """What of edge-fer the card's sinks need beyond the device set."""
    sinks = settings.run.get("sinks", ())
    return ("mqtt",) if any(str(sink).startswith("mqtt") for sink in sinks) else ()


def uses_picamera(settings: CardSettings) -> bool:
    """Whether the system's own picamera2 is imported beside the wheels."""
    return str(settings.run["source"]).startswith("picamera2")


def load_model(path: Path, key: Literal["model", "detector"]) -> ModelFile:
    """A model as the device will take it, for ``render`` and ``check`` alike.

    Its contract stands in the file, or in the catalogue of those that can be pulled, which knows
    them by their hash.

    Args:
        path: of a ``.tflite``.
        key: of ``[run]``: what it is to do.

    Raises:
        ModelError: not there, damaged, without a contract, or made for another task.
    """
    model = load(path)
    task = _TASKS[key]
    if model.contract.task != task:
        other = next((k for k, t in _TASKS.items() if t == model.contract.task), None)
        remedy = f'Write {other} = "{path.name}", or name' if other else "Name"
        raise ModelError(
            f"{path} is a model for {model.contract.task}, and the {key} must be one for {task}.",
            f"{remedy} another {key}; see: edge-fer models list",
        )
    return model


def _models(loaded: Loaded) -> tuple[dict[str, Any], tuple[Model, ...]]:
    """``[run]`` as the device reads it, and the files that it then needs."""
    settings = loaded.settings
    run, models = dict(settings.run), []
    for key in _TASKS:
        name, mark, query = str(run.get(key, "")).partition("?")
        if not name or (key == "detector" and name == "haar"):
            continue
        try:
            found = _found(name, key, loaded.folder)
        except ModelError as err:
            raise loaded.file.placed(err, ("run", key)) from err
        if name in shipped():
            continue
        models += [_file(found), *map(_file, _companions(found))]
        # A pulled model keeps its name: the device looks it up in the same folder.
        if name.endswith(".tflite"):
            run[key] = f"{models_folder(settings)}/{found.name}{mark}{query}"
    unique = {model.name: model for model in models}
    return run, tuple(unique.values())


def _found(name: str, key: Literal["model", "detector"], folder: Path) -> Path:
    path = folder / name if (folder / name).is_file() else find(name)
    if path.suffix == ".tflite":
        load_model(path, key)
    elif key == "model" or name not in DETECTORS:
        raise ModelError(f"{path} is no {key} that edge-fer runs.", "Name a .tflite file.")
    return path.resolve()


def _companions(path: Path) -> list[Path]:
    """What was compiled for an Edge TPU stands beside its model."""
    beside = path.with_name(f"{path.stem}.edgetpu.tflite")
    return [beside] if beside.is_file() else []


def _file(path: Path) -> Model:
    content = path.read_bytes()
    return Model(name=path.name, content=content, sha256=sha256(content).hexdigest())


def judge_wheels(wheels: Sequence[Path], settings: CardSettings, version: str) -> Offer:
    """What a card's wheels are good for, for ``render`` and ``check`` alike.

    Args:
        wheels: files.
        settings: of the card: its system, and what its sinks and its camera need.
        version: of edge-fer.

    Raises:
        MissingExtra: the package ``packaging`` is not installed.
    """
    facts = system(settings.system)
    return offer(
        wheels,
        python=facts.python,
        glibc=facts.glibc,
        extras=extras(settings),
        version=version,
        constraints=facts.constraints if uses_picamera(settings) else (),
    )


def _wheels(folder: Path, settings: CardSettings) -> tuple[Path, ...]:
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    facts = system(settings.system)
    remedy = f"edge-fer provision wheels --system {facts.name} -o {folder}"
    if not wheels:
        raise ConfigError(f"{folder} holds no wheels.", remedy)
    found = judge_wheels(wheels, settings, __version__)
    if found.missing:
        raise ConfigError(
            f"The wheels in {folder} do not do for {facts.title}: {' '.join(found.missing)}", remedy
        )
    return found.wheels
