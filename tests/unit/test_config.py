import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from edge_fer.config import Settings, load_settings
from edge_fer.errors import ConfigError


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def test_defaults_toml_lists_every_setting() -> None:
    stated = tomllib.loads((files("edge_fer") / "defaults.toml").read_text())
    assert set(stated) == set(Settings.model_fields)
    assert load_settings().model_dump() == stated | {"sinks": tuple(stated["sinks"])}


def test_each_level_is_above_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('source = "file"\nmodel = "file"\ndetector = "file"\n')
    monkeypatch.setenv("EDGE_FER__MODEL", "environment")
    monkeypatch.setenv("EDGE_FER__DETECTOR", "environment")
    monkeypatch.setenv("EDGE_FER__SINKS", '["jsonl:a"]')
    found = load_settings(file, {"detector": "flag", "source": None})
    assert (found.source, found.model, found.detector) == ("file", "environment", "flag")
    assert found.sinks == ("jsonl:a",)
    assert found.threads == 1


def test_a_lower_case_variable_is_above_the_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("threads = 2\n")
    monkeypatch.setenv("edge_fer__threads", "3")
    assert load_settings(file).threads == 3
    monkeypatch.setenv("edge_fer__thread", "3")
    with pytest.raises(ConfigError, match="Did you mean threads"):
        load_settings(file)


def test_one_sink_stands_in_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER__SINKS", "jsonl:a")
    assert load_settings().sinks == ("jsonl:a",)
    monkeypatch.setenv("EDGE_FER__SINKS", "")
    assert load_settings().sinks == ()


def test_a_home_that_cannot_be_looked_into_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/1/root/none" + "x" * 300)
    assert load_settings().threads == 1


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "xdg" / "edge-fer").mkdir(parents=True)
    (tmp_path / "xdg" / "edge-fer" / "config.toml").write_text("threads = 3\n")
    assert load_settings().threads == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("detectr = 'haar'", "Did you mean detector"),
        ("threads = 0", "threads"),
        ("threads = 'many'", "threads"),
        ("threads = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_settings(file)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


def test_an_unknown_variable_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER__SORCE", "synthetic")
    with pytest.raises(ConfigError, match=r"EDGE_FER__SORCE is not a setting.*source"):
        load_settings()


def test_a_variable_that_is_no_list_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_FER__SINKS", '["jsonl:a"')
    with pytest.raises(ConfigError, match="sinks"):
        load_settings()
