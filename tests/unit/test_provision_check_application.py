"""What the check says about config.toml, models, wheels, and what people are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from card_folders import CONFIG, Folder

from edge_fer.models import find
from edge_fer_firmware.checking import check

SETTINGS = "edge-fer/root/etc/edge-fer/config.toml"


def rewritten(tmp_path: Path, old: str, new: str) -> Folder:
    card = Folder(tmp_path)
    card.edit(SETTINGS, old, new)
    card.sign()
    return card


def test_a_setting_that_edge_fer_does_not_know(tmp_path: Path) -> None:
    found = rewritten(tmp_path, "source =", "sourse =").problem("config.toml", "sourse")
    assert (found.line, found.remedy) == (1, "Did you mean source?")


def test_a_setting_with_a_wrong_value(tmp_path: Path) -> None:
    card = rewritten(tmp_path, CONFIG, f"{CONFIG}threads = 0\n")
    assert card.problem("config.toml", "threads").line == 6


def test_settings_that_are_no_toml(tmp_path: Path) -> None:
    card = rewritten(tmp_path, 'purpose = "', "purpose = ")
    assert card.problem("config.toml", "not valid TOML").line == 4


def test_no_settings_at_all(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (card.boot / SETTINGS).unlink()
    card.sign()
    assert card.problem("config.toml", "missing")


@pytest.mark.parametrize(("key", "line"), [("operator", 3), ("purpose", 4), ("notice", 5)])
def test_people_are_not_told(tmp_path: Path, key: str, line: int) -> None:
    said = next(row for row in CONFIG.splitlines() if row.startswith(key))
    card = rewritten(tmp_path, said, f'{key} = ""')
    assert card.problem("config.toml", f"no {key}").line == line


def test_a_purpose_that_speaks_of_staff(tmp_path: Path) -> None:
    card = rewritten(tmp_path, "Counts smiles in the hall", "Watches our staff")
    found = card.problem("config.toml", "Article 5(1)(f)")
    assert found.line == 4
    assert "workplace" in found.remedy


def test_plain_mqtt_to_a_public_address(tmp_path: Path) -> None:
    card = rewritten(tmp_path, "sqlite:/var/lib/edge-fer/counts.db", "mqtt://broker.example.com/a")
    assert card.problem("config.toml", "no private address").line == 2


def test_it_is_a_warning_once_it_was_said_twice(tmp_path: Path) -> None:
    card = Folder(tmp_path, accept=["plain-mqtt"])
    card.edit(SETTINGS, "sqlite:/var/lib/edge-fer/counts.db", "mqtt://broker.example.com/a")
    card.sign()
    (found,) = card.said()
    assert (found.state, found.line) == ("warning", 2)


def test_a_page_for_the_whole_network(tmp_path: Path) -> None:
    card = rewritten(tmp_path, "sqlite:/var/lib/edge-fer/counts.db", "sse://0.0.0.0:8080")
    assert card.problem("config.toml", "to a network").line == 2


def test_a_sink_outside_the_state_folder(tmp_path: Path) -> None:
    card = rewritten(tmp_path, "/var/lib/edge-fer/counts.db", "/srv/counts.db")
    found = card.problem("config.toml", "lies outside")
    assert (found.line, found.remedy) == (2, "Write sqlite:/var/lib/edge-fer/counts.db")


def test_durable_sinks_on_an_overlay(tmp_path: Path) -> None:
    card = Folder(tmp_path, storage="overlay", board="pi5")
    assert card.problem("config.toml", "an overlay").line == 2


def test_model_updates_on_an_overlay(tmp_path: Path) -> None:
    card = Folder(tmp_path, storage="overlay", board="pi5", model_updates=True)
    found = card.problem("card.json", "model_updates")
    lines = (card.boot / "edge-fer/card.json").read_text().splitlines()
    assert "model_updates" in lines[found.line - 1]


def test_a_model_without_a_contract(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/models/mine.tflite", "no model")
    assert card.problem("mine.tflite", "not a .tflite")


def test_a_model_with_its_contract(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    data = find("expression-nano").read_bytes()
    card.write("edge-fer/models/nano.tflite", "")
    (card.boot / "edge-fer/models/nano.tflite").write_bytes(data)
    assert next(f.message for f in check(tmp_path) if f.check == "models").startswith("nano: its")


@pytest.mark.parametrize("name", ["/var/lib/edge-fer/models/gone.tflite", "expresion"])
def test_a_model_that_nothing_brings(tmp_path: Path, name: str) -> None:
    card = rewritten(tmp_path, CONFIG, f'{CONFIG}model = "{name}"\n')
    assert card.problem("config.toml", name).line == 6


def test_no_wheels_and_no_network(tmp_path: Path) -> None:
    Folder(tmp_path)
    (found,) = [f for f in check(tmp_path) if f.check == "wheels"]
    assert found.state == "warning"
    assert "the image must bring edge-fer" in found.message


def test_no_wheels_with_a_network(tmp_path: Path) -> None:
    Folder(tmp_path, network={"ethernet": True})
    (found,) = [f for f in check(tmp_path) if f.check == "wheels"]
    assert "package index" in found.message


def test_wheels_that_are_not_enough(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/wheels/numpy-2.2.0-cp311-cp311-manylinux_2_17_aarch64.whl", "")
    found = [f for f in check(tmp_path) if f.check == "wheels"]
    assert found
    assert all(f.state == "problem" and "--system trixie" in f.remedy for f in found)


def test_the_printed_notice_is_missing(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (tmp_path / "notice.html").unlink()
    (found,) = card.said()
    assert (found.check, found.state) == ("deployment", "warning")


@pytest.mark.parametrize("sinks", ["5", '"jsonl:-"', "[5]", "{a = 1}"])
def test_sinks_of_another_kind_are_said_and_break_nothing(tmp_path: Path, sinks: str) -> None:
    card = rewritten(tmp_path, '["sqlite:/var/lib/edge-fer/counts.db"]', sinks)
    found = [f for f in card.said("config.toml") if f.check == "config.toml"]
    assert [f.line for f in found] == ([] if sinks == '"jsonl:-"' else [2])


def test_what_the_image_must_have(tmp_path: Path) -> None:
    def said(**settings: Any) -> list[tuple[str, str]]:
        Folder(tmp_path, **settings)
        return [(f.state, f.message) for f in check(tmp_path) if f.check == "image"]

    ((state, words),) = said()
    assert (state, "python3-venv" in words, "picamera2" in words) == ("ok", True, False)
    (first, second) = said(run={"source": "picamera2:0"}, kiosk={"enabled": True, "url": "file:/a"})
    assert "python3-picamera2" in first[1]
    assert (second[0], "cage chromium" in second[1]) == ("warning", True)


def test_a_kiosk_whose_packages_the_first_boot_gets(tmp_path: Path) -> None:
    kiosk = {"enabled": True, "url": "file:/a"}
    for ethernet, state in ((True, "ok"), (False, "warning")):
        card = Folder(tmp_path, kiosk=kiosk, network={"ethernet": ethernet})
        card.write("edge-fer/install.sh", "#!/bin/sh\napt-get -y install cage chromium\n")
        assert [f.state for f in check(tmp_path) if f.check == "image"][1] == state
