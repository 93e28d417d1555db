"""Settings of ``edge-fer run``: defaults.toml < file < ``EDGE_FER__*`` < command line."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "load_settings"]

ENVIRONMENT_PREFIX = "EDGE_FER__"
_DEFAULTS = Path(str(files("edge_fer") / "defaults.toml"))


class Settings(BaseSettings):
    """What a pipeline is assembled from; ``defaults.toml`` describes each."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, toml_file=_DEFAULTS
    )

    source: str = Field(description="a video, a folder, a picture or synthetic")
    model: str = Field(description="a shipped model's name or a file")
    detector: str = Field(description="face, haar or another, with options after ?")
    backend: str = Field(description="auto, edgetpu, litert or tflite-runtime")
    threads: int = Field(ge=1, le=64, description="CPU threads of one inference")
    track: bool = Field(description="follow faces from frame to frame")
    track_interval: int = Field(
        ge=1, le=10_000, description="frames between searches of the whole frame"
    )
    max_faces: int = Field(ge=1, le=100, description="how many faces are followed")
    faces_per_frame: int = Field(ge=1, le=100, description="how many are classified in one frame")
    gate: bool = Field(description="judge the picture of a face before naming its expression")
    min_face: float = Field(ge=0, le=4096, description="smaller faces are unknown: too_small")
    smoothing: Literal["hmm", "ema", "none"] = Field(description="of expressions over time")
    transition: dict[str, dict[str, float]] = Field(description="hmm: changes per second, by label")
    stall_after: float = Field(ge=1, le=600, description="a camera silent for so long hangs")
    max_fps: float = Field(ge=0, le=1000, description="frames per second; 0: as they come")
    idle_fps: float = Field(ge=0, le=1000, description="the same while nobody is there; 0: no")
    idle_after: float = Field(ge=0, le=86_400, description="seconds until nobody is there")
    max_temperature: float = Field(ge=30, le=120, description="above it the rate is lowered")
    sinks: Annotated[tuple[str, ...], NoDecode] = Field(description="where observations go")
    aggregate: Literal["", "1min"] = Field(description="only counts leave the process")
    commit_interval: float = Field(ge=0.1, le=3600, description="seconds between fsyncs")
    max_mb_per_day: float = Field(gt=0, le=1e6, description="written to disks, all sinks together")
    status_file: str = Field(description="for edge-fer status; empty: the service manager's folder")
    state_file: str = Field(description="counters that outlive a restart; empty: as above")
    name: str = Field(description="of this device; empty: its host name")
    operator: str = Field(description="who runs it; shown on the page")
    purpose: str = Field(description="what for; shown on the page")
    notice: str = Field(description="what the people in front of it are told; shown on the page")

    @field_validator("sinks", mode="before")
    @classmethod
    def _one_or_a_list(cls, value: Any) -> Any:
        """In the environment: one address as it is, or a JSON list of several."""
        if not isinstance(value, str):
            return value
        return json.loads(value) if value.startswith("[") else [value] if value else []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line and file (handed in, already merged), environment, defaults."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    usual_files: bool = True,
) -> Settings:
    """Merge all levels; a level's None means that it does not say.

    Args:
        file: a TOML file.
        overrides: from the command line.
        usual_files: without a file, look for one in the usual two places.

    Raises:
        ConfigError: a file that cannot be read, an unknown key at any level, a wrong value.
    """
    path = file
    if path is None and usual_files:
        path = next((p for p in _usual_files() if _is_there(p)), None)
    stated = {} if path is None else _read(path)
    for key in stated:
        _known(key, f"{path}: {key}")
    # pydantic-settings reads the names of variables in any case, and so do we.
    variables = {name.upper(): name for name in os.environ}
    for upper, name in variables.items():
        if upper.startswith(ENVIRONMENT_PREFIX):
            _known(upper.removeprefix(ENVIRONMENT_PREFIX).lower(), name)
    # A key that the environment also sets must not be overridden by the file, which is lower.
    below = {k: v for k, v in stated.items() if ENVIRONMENT_PREFIX + k.upper() not in variables}
    above = {k: v for k, v in (overrides or {}).items() if v is not None}
    try:
        return Settings(**{**below, **above})
    except (ValidationError, SettingsError) as err:
        raise ConfigError(_first(err), "See edge_fer/defaults.toml for every option.") from err


def _usual_files() -> tuple[Path, Path]:
    # Not Path.home(): a service's user may have none, and that is no error.
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))  # noqa: PTH111
    return home / "edge-fer" / "config.toml", Path("/etc/edge-fer/config.toml")


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a home that a sandbox hides
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}).", "Check --config.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} is not valid TOML: {err}.", "Mend that line.") from err


def _known(key: str, where: str) -> None:
    if key not in Settings.model_fields:
        raise ConfigError(f"{where} is not a setting.", suggestion(key, Settings.model_fields))


def _first(err: ValidationError | SettingsError) -> str:
    if isinstance(err, SettingsError):
        return f"A setting cannot be read: {err}."
    first = err.errors()[0]
    return f"Setting {'.'.join(str(p) for p in first['loc'])}: {first['msg']}."
