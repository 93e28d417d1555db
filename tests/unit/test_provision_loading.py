"""A card's settings: what is wrong is said with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_fer.errors import ConfigError
from edge_fer_firmware.facts import boards
from edge_fer_firmware.loading import keys_of, line_of, load

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
        ("[run]", '[host]\nname = "A_b"\n[run]', 5, "as it must be", "one label"),
        ("[run]", '[host]\ntime_zone = "Europe/Berlni"\n[run]', 5, "time zone", "Europe/Berlin"),
        ("[run]", '[host]\ntime_zone = "CETT/Q"\n[run]', 5, "time zone", "as in /usr/share"),
        ("[run]", '[user]\nname = "edge-fer"\n[run]', 5, "a service of edge-fer", "edge"),
        ("[run]", '[user]\nname = "edge-fer-kiosk"\n[run]', 5, "a service of edge-fer", "edge"),
        ("[run]", '[user]\nname = "root"\n[run]', 5, "the system has", "edge"),
        ("[run]", '[user]\nname = "www-data"\n[run]', 5, "the system has", "edge"),
        ("[run]", '[user]\nname = "systemd-network"\n[run]', 5, "the system has", "edge"),
        ("[run]", '[user]\nname = "video"\n[run]', 5, "the system has", "edge"),
        ("[run]", '[network]\nwifi = "hall"\n[run]', 5, "table of its own", "[network.wifi]"),
        ("[run]", '[network.wifi]\nssid="x"\ncountry="de"\n[run]', 6, "as it must", "ISO 3166"),
        ("[run]", '[user]\nssh_keys = [1]\n[run]', 5, "must be text", "authorized_keys"),
        ("[run]", '[network]\nssh = "maybe"\n[run]', 5, "true or false", "kiosk.toml"),
        ("[run]", '[service]\nmemory_max_mb = 1.5\n[run]', 5, "whole number", "kiosk.toml"),
        ("[run]", '[run]\ntrack = "maybe"', 5, "this must be a", "defaults.toml"),
        ('"synthetic"', '""', 5, "run.source: The source is empty", "picamera2:0"),
        ('"synthetic"', '"picamera2:0?size=9x"', 5, "WIDTHxHEIGHT", ""),
        ('"synthetic"', '"picamera3:0"', 5, "no kind of source", "Did you mean picamera2?"),
        ('"synthetic"', '"rtps://h/live"', 5, "no kind of source", "Did you mean rtsp"),
        ('"synthetic"', '"rtsp:///live"', 5, "no network address", "HOST"),
        ('"synthetic"', '"clip-that-is-not-there.mp4"', 5, "no file", "begins with /"),
        ("[run]", '[run]\nsinks = ["jsnl:/x"]', 5, "no sink", "Did you mean jsonl?"),
        ("[run]", '[run]\nsinks = ["jsonl:/x?keep=0"]', 5, "keep cannot be", ""),
        ("[run]", '[run]\nsinks = ["mqtts://h?qs=1"]', 5, "no option 'qs'", "qos?"),
        ("[run]", '[run]\nsinks = ["mqtts://h/a/+"]', 5, "cannot publish", "no +"),
        ("[run]", '[run]\nsinks = ["sse://127.0.0.1"]', 5, "cannot be served", "8765"),
        ("[run]", '[run]\ndetector = "har"', 5, "no detector", "Did you mean haar?"),
        ("[run]", '[run]\ndetector = "haar?cascad=x"', 5, "no option", "cascade?"),
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


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (SMALL.encode("utf-16"), 1, "UTF-16"),
        (SMALL.encode("utf-8-sig"), 1, "UTF-8 with a BOM"),
        (b'board = "pi4"\n# caf\xe9\n', 2, "no UTF-8"),
    ],
)
def test_text_that_is_no_utf_8(tmp_path: Path, content: bytes, line: int, says: str) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert caught.value.remedy == "Save it as UTF-8 without BOM."


def test_a_file_that_ends_too_early_names_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"card\.toml:2: this is not TOML"):
        load(written(tmp_path, 'board = "pi4"\nsinks = ['))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card.toml")
    with pytest.raises(ConfigError, match="no regular file"):
        load(tmp_path / "card.toml")


def test_a_card_s_image_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        load(written(tmp_path, SMALL + "#" * 1_000_000))


def test_one_sink_needs_no_list(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, SMALL + 'sinks = "jsonl:-"\n'))
    assert loaded.settings.run["sinks"] == ["jsonl:-"]


@pytest.mark.parametrize(
    "source",
    ["picamera2:0?size=640x480", "/dev/video7", "/srv/on-the-device.mp4", "rtsp://u:s@h/live"],
)
@pytest.mark.parametrize(
    "sink",
    ["mqtts://user@broker.local/t?ca=/etc/ssl/own.pem&keepalive=30", "sqlite:/var/lib/edge-fer/a"],
)
def test_what_only_the_device_has_is_not_looked_for(tmp_path: Path, source: str, sink: str) -> None:
    text = SMALL.replace("synthetic", source) + f'sinks = ["{sink}"]\n'
    assert load(written(tmp_path, text)).settings.run["sinks"] == [sink]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('sinks = ["mqtts://edge:sesame@broker.local/t"]', "run.sinks"),
        ('sinks = ["mqtts://broker.local/t?password=sesame"]', "run.sinks"),
        ('sinks = ["mqtts://broker.local/t?qos=1&api_key=sesame"]', "run.sinks"),
        ('[kiosk]\nurl = "https://me:sesame@museum.example/"', "kiosk.url"),
        ('[kiosk]\nurl = "https://sesame@museum.example/"', "kiosk.url"),
        ('[kiosk]\nurl = "https://museum.example/?room=1&access_token=sesame"', "kiosk.url"),
        ('[kiosk]\nurl = "https://museum.example/#token=sesame"', "kiosk.url"),
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, line: str, key: str
) -> None:
    path = written(tmp_path, SMALL + line + "\n")
    with pytest.raises(ConfigError, match="password in it") as caught:
        load(path)
    number = 6 + line.count("\n")
    assert caught.value.message.startswith(f"{path}:{number}: {key}: ")
    assert "sesame" not in str(caught.value)
    assert "credentials" in caught.value.remedy


def test_words_that_only_look_like_a_password(tmp_path: Path) -> None:
    url = "https://museum.example/?keyboard=1&author=x&monkey=y#passage"
    text = SMALL + f'[kiosk]\nurl = "{url}"\n'
    assert load(written(tmp_path, text)).settings.kiosk.url == url


def test_a_missing_board_names_them_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, SMALL.replace('board = "pi4"', "")))
    assert all(name in caught.value.remedy for name in boards())


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


@pytest.mark.parametrize(
    ("ssid", "says"),
    [
        ("", "0 bytes"),
        ("ä" * 17, "34 bytes"),
        ("a" * 33, "33 bytes"),
        ("a\\nb", "control characters"),
        ("a\\u0000", "control characters"),
    ],
)
def test_a_network_s_name_is_32_bytes_at_most(tmp_path: Path, ssid: str, says: str) -> None:
    path = written(tmp_path, SMALL + WIFI.replace("hall", ssid))
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert f"{path}:8: network.wifi.ssid" in caught.value.message


@pytest.mark.parametrize("ssid", ["ä" * 16, "Halle 1 🙂", "a"])
def test_other_names_of_networks(tmp_path: Path, ssid: str) -> None:
    loaded = load(written(tmp_path, SMALL + WIFI.replace("hall", ssid)))
    assert loaded.settings.network.wifi is not None
    assert loaded.settings.network.wifi.ssid == ssid


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


@pytest.mark.parametrize(
    ("message", "keys"),
    [
        ("[kiosk] url 'x' is no address of a page.", ("kiosk", "url")),
        ("[run] has notice, which belongs elsewhere.", ("run", "notice")),
        ("[run] holds None, which is no setting.", ("run",)),
        ("The service does not see /home/me/a.db: homes are closed.", ("run", "sinks")),
        ("sse://127.0.0.1:0 has no port.", ("run", "sinks")),
        ("/home/you/a.db is another.", ()),
        ("A list [1] of something.", ()),
        ("Nothing.", ()),
    ],
)
def test_the_setting_that_a_sentence_names(message: str, keys: tuple[str, ...]) -> None:
    run = {"source": "synthetic", "sinks": ["sqlite:/home/me/a.db", "sse://127.0.0.1:0"]}
    assert keys_of(message, run) == keys
