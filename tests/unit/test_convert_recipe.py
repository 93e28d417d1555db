"""Recipes as TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_fer.errors import ConfigError
from edge_fer_convert.climbing.recipe import LADDER, load_recipe


def test_the_ladder_grows() -> None:
    rungs = [load_recipe(name) for name in LADDER]
    assert [r.name for r in rungs] == list(LADDER)
    assert rungs[0].ranges == ("minmax",)
    assert not rungs[0].equalise
    assert rungs[2].equalise
    assert rungs[2].correct_bias
    assert [r.last_resort for r in rungs] == [False, False, False, True]
    assert [r.finetune is not None for r in rungs] == [False, False, False, True]


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'words = "mine"\nranges = ["percentile:99.5"]\nfinetune = {steps = 5, learning_rate = 0.1}'
    )
    recipe = load_recipe(str(file))
    assert (recipe.name, recipe.ranges) == ("mine", ("percentile:99.5",))
    assert recipe.finetune is not None
    assert recipe.finetune.steps == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('words = "x"\nequalize = true', "Did you mean equalise"),
        ('words = "x"\nranges = ["percentile:9"]', "minmax, mse or percentile"),
        ('words = "x"\nranges = ["percentile:many"]', "minmax, mse or percentile"),
        ('words = "x"\nranges = []', "ranges"),
        ('words = "x"\nfinetune = {steps = 0, learning_rate = 1.0}', "finetune.steps"),
        ('words = "x"\nequalise = "yes"', "equalise"),
        ("ranges = [", "not TOML"),
        ("", "words"),
    ],
)
def test_a_recipe_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(file))
    assert said in caught.value.message + str(caught.value.remedy)


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe 'plane'") as caught:
        load_recipe("plane")
    assert "plain" in str(caught.value.remedy)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
