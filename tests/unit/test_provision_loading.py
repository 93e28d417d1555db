"""A card's settings: what is wrong is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_fer.errors import ConfigError
from edge_fer_firmware.loading import line_of, load

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kiosk.toml"
SMALL = """board = "pi4"
system = "trixie"

[run]
source = "synthetic"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "card.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_is_a_whole_card() -> None:
    settings = load(EXAMPLE).settings
    assert (settings.board, settings.system, settings.storage) == (
        "pi4",
        "trixie",
        "data-partition",
    )
    assert settings.network.wifi is None
    assert not settings.network.ssh
    assert list(settings.deployment.notice) == ["en", "de"]


def test_the_command_line_overrides_board_and_system() -> None:
    settings = load(EXAMPLE, {"board": "pi5", "system": None}).settings
    assert (settings.board, settings.system) == ("pi5", "trixie")


@pytest.mark.parametrize(
    ("was", "now", "line", "says", "remedy"),
    [
        ('"pi4"', '"pi44"', 1, "no board that we know", "Did you mean pi4?"),
        ('"trixie"', '"trixy"', 2, "no system that we know", "Did you mean trixie?"),
        ("system", "sytem", 2, "no setting", "Did you mean system?"),
        ("[run]", "[ru]", 4, "no setting", "Did you mean run?"),
        ("source", "sorce", 5, "no setting of edge-fer run", "Did you mean source?"),
        ("[run]", "[run]\nthreads = 0", 5, "greater than or equal to 1", "defaults.toml"),
        ("[run]", '[run]\nnotice = "x"', 5, "not set here", "[deployment]"),
        ("[run]", '[host]\nname = "A_b"\n[run]', 5, "match pattern", "one label"),
        ("[run]", '[host]\ntime_zone = "Europe/Berlni"\n[run]', 5, "time zone", "Berlin?"),
        ("[run]", '[user]\npassword_hash = "raspberry"\n[run]', 5, "no hash", "openssl passwd -6"),
        ("[run]", '[user]\nssh_keys = ["AAAA"]\n[run]', 5, "no public key", "id_ed25519.pub"),
        ("[run]", "[network]\nssh = true\n[run]", 5, "nobody could log in", "ssh_keys"),
        ("[run]", "[network]\nssh_password = true\n[run]", 5, "no password", "password_hash"),
        ("[run]", '[service.credentials]\nmqtt-pasword = "x"\n[run]', 5, "asks", "password?"),
        ("[run]", '[service.credentials]\nmqtt-password = "no"\n[run]', 5, "be read", "ls -l"),
        ("[run]", "[kiosk]\nrotate = 45\n[run]", 5, "0, 90, 180 or 270", "kiosk.toml"),
        ("[run]", "[kiosk]\nenabled = maybe\n[run]", 5, "not TOML", "Mend that line"),
        ('[run]\nsource = "synthetic"', "[run]", 4, "source must be set", "picamera2:0"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(
    tmp_path: Path, was: str, now: str, line: int, says: str, remedy: str
) -> None:
    assert was in SMALL
    path = written(tmp_path, SMALL.replace(was, now, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert says in caught.value.message
    assert remedy in caught.value.remedy


def test_missing_altogether(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"system: this must be set"):
        load(written(tmp_path, SMALL.replace('system = "trixie"', "")))


@pytest.mark.parametrize("name", ["not-there.toml", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load(tmp_path / name)
    assert "examples/kiosk.toml" in caught.value.remedy


def test_no_text(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "card.toml")


WIFI = '\n[network.wifi]\nssid = "hall"\ncountry = "DE"\n'


def test_a_wifi_key_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("correct horse battery\n")
    loaded = load(written(tmp_path, SMALL + WIFI + 'psk_file = "key"\n'))
    assert loaded.settings.network.wifi is not None
    assert loaded.settings.network.wifi.psk == "correct horse battery"
    assert "correct horse" not in repr(loaded)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ('psk = "short"', "neither a passphrase"),
        ('psk = "long enough"\npsk_file = "key"', "set as well"),
        ('psk_file = "key"', "cannot be read"),
    ],
)
def test_a_wifi_key_that_is_none(tmp_path: Path, rest: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(written(tmp_path, SMALL + WIFI + rest))


def test_a_credential_is_read_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    text = SMALL + '[service.credentials]\nmqtt-password = "secret"\n'
    loaded = load(written(tmp_path, text))
    assert loaded.credentials == {"mqtt-password": "hunter2"}
    assert "hunter2" not in repr(loaded)


def test_where_a_key_stands() -> None:
    text = 'a = 1\n[b]\nc.d = 2\n["e".f]\n"g" = { h = 3 }\n'
    assert line_of(text, ("a",)) == 1
    assert line_of(text, ("b", "c", "d")) == 3
    assert line_of(text, ("b", "x")) == 2
    assert line_of(text, ("e", "f", "g", "h")) == 5
    assert line_of(text, ("z",)) == 0
