import pytest

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.config_txt import LIMIT, settings
from edge_fer_firmware.facts import board, boards, system, systems


def test_the_boards_and_systems_that_are_promised_are_there() -> None:
    assert {"zero2w", "pi3", "pi4", "pi5", "pi5-coral-pcie"} == set(boards())
    assert {"trixie", "bookworm"} == set(systems())


@pytest.mark.parametrize("name", boards())
def test_a_board_has_sources_and_lines_that_the_firmware_reads(name: str) -> None:
    facts = board(name)
    assert facts.name == name
    assert facts.title
    assert facts.sources
    assert all("/" in source for source in facts.sources), "a source is an address or a file"
    assert facts.memory_mb >= 512
    assert all(line.isascii() and len(line) <= LIMIT for line in facts.config)
    assert len(list(settings(facts.config))) == len(facts.config)
    assert all(tag.endswith("-64bit") for tag in facts.tags)
    assert facts.tags


@pytest.mark.parametrize("name", boards())
def test_lines_that_belong_together_come_together(name: str) -> None:
    facts = board(name)
    own = {*facts.config, *([f"kernel={facts.kernel}"] if facts.kernel else [])}
    for together in facts.needs:
        assert len(together) > 1
        assert set(together) <= own


def test_what_nobody_has_tried_is_said() -> None:
    coral = board("pi5-coral-pcie")
    assert coral.status == "community"
    said = " ".join(coral.unconfirmed)
    assert all(line in said for line in (*coral.config, f"kernel={coral.kernel}"))
    # Its parameters are from memory: named, never written.
    assert "pciex1-compat-pi5" in said
    assert not any("compat" in line for line in coral.config)
    assert all(board(name).status == "supported" for name in boards() if name != coral.name)


def test_pages_and_clocks_are_the_boards_own() -> None:
    assert board("pi5").page_kb == 16
    assert board("pi5-coral-pcie").page_kb == 4
    assert [name for name in boards() if board(name).clock] == ["pi5", "pi5-coral-pcie"]
    assert not board("zero2w").ethernet


def test_the_systems_differ_in_what_sets_up_the_first_boot() -> None:
    trixie, bookworm = system("trixie"), system("bookworm")
    assert (trixie.mechanism, trixie.python, trixie.constraints) == ("cloud-init", "3.13", ())
    assert (bookworm.mechanism, bookworm.python) == ("firstrun", "3.11")
    assert bookworm.constraints == ("numpy<2", "opencv-python-headless<4.12")
    assert {trixie.boot, bookworm.boot} == {"/boot/firmware"}
    assert trixie.sources
    assert bookworm.sources


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Did you mean zero2w") as caught:
        board("zero2")
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="Known: bookworm, trixie"):
        system("windows")
    with pytest.raises(ConfigError, match="no board"):
        board("../systems/trixie")
