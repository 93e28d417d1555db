"""What a rung of the ladder does, as data: ``recipes/*.toml``, or a file of the user's.

Example:
    words = "ranges of my own choice"
    ranges = ["percentile:99.95"]
    correct_bias = true
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion

__all__ = ["LADDER", "Finetune", "Recipe", "load_recipe"]

LADDER = ("plain", "ranges", "equalised", "finetuned")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Finetune(_Table):
    """Batches of 32 pictures, and Adam's rate in int8 steps: warm-up, then a cosine."""

    steps: int = Field(gt=0, le=1_000_000)
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Recipe(_Table):
    """One way to make an int8 model of a float one; the passes run in this order.

    Attributes:
        name: of the file, without ``.toml``.
        words: what it does, for people.
        equalise: rescale channels against each other first.
        ranges: methods of :meth:`~edge_fer_convert.measuring.statistics.Statistics.ranges`;
            of several, the one whose probabilities are nearest to the float model's.
        correct_bias: take shifted means back in the biases.
        finetune: train with the rounding in the loop.
        last_resort: only where the budget is missed without it.
    """

    name: str
    words: str
    equalise: bool = False
    ranges: tuple[str, ...] = Field(("minmax",), min_length=1, strict=False)
    correct_bias: bool = False
    finetune: Finetune | None = None
    last_resort: bool = False

    @field_validator("ranges")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for method in methods:
            kind, _, number = method.partition(":")
            try:
                good = method in ("minmax", "mse") or (
                    kind == "percentile" and 50 < float(number) <= 100
                )
            except ValueError:
                good = False
            if not good:
                raise ValueError(f"{method!r} is not minmax, mse or percentile:NUMBER")
        return methods


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a TOML file by path.

    Raises:
        ConfigError: no such recipe, or the file cannot be read or says something unknown.
    """
    if name in LADDER:
        text = (files(__package__) / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        return _parse(name, text, name)
    path = Path(name)
    if path.suffix != ".toml":
        raise ConfigError(
            f"There is no recipe {name!r}.", f"{suggestion(name, LADDER)} Or FILE.toml."
        )
    try:
        return _parse(path.stem, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(
            f"The recipe {path} cannot be read ({err}).", "Name a TOML file."
        ) from err


def _parse(name: str, text: str, source: str) -> Recipe:
    try:
        return Recipe.model_validate({**tomllib.loads(text), "name": name})
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"The recipe {source} is not TOML: {err}.", "Mend that line.") from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            remedy = suggestion(
                str(first["loc"][-1]), [*Recipe.model_fields, *Finetune.model_fields]
            )
            raise ConfigError(f"The recipe {source} has no setting {where}.", remedy) from err
        raise ConfigError(
            f"The recipe {source}: {where}: {first['msg']}.", "See the recipes of edge-fer convert."
        ) from err
