"""Where secrets come from, and that they are never shown."""

from pathlib import Path

import pytest

from edge_fer.credentials import secret, without_password
from edge_fer.errors import ConfigError


def test_systemd_first_then_a_file_then_the_environment(tmp_path: Path) -> None:
    (tmp_path / "mqtt-password").write_text("one\n")
    (tmp_path / "other").write_text("two\n\n")
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "EDGE_FER_MQTT_PASSWORD_FILE": str(tmp_path / "other"),
        "EDGE_FER_MQTT_PASSWORD": "three",
    }
    assert secret("mqtt-password", environ) == "one"
    (tmp_path / "mqtt-password").unlink()
    assert secret("mqtt-password", environ) == "two\n"
    del environ["EDGE_FER_MQTT_PASSWORD_FILE"]
    assert secret("mqtt-password", environ) == "three"
    assert secret("mqtt-password", {}) is None


def test_a_secret_that_cannot_be_read_is_an_error_not_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        secret("a", {"EDGE_FER_A_FILE": str(tmp_path / "none")})
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        secret("a", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "a\n"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError, match="no name"):
        secret(name, {"CREDENTIALS_DIRECTORY": "/"})


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mqtt://me:pw@host:1/t?qos=1", "mqtt://me:***@host:1/t?qos=1"),
        ("mqtt://me:p@w@host/t", "mqtt://me:***@host/t"),
        ("mqtt://me:p/w?x#y@host", "mqtt://me:***@host"),
        ("rtsp://:pw@[::1]:554/a", "rtsp://:***@[::1]:554/a"),
        ("mqtt://me@host/t", "mqtt://me@host/t"),
        ("mqtt://host:1883/who@where", "mqtt://host:1883/who@where"),
        ("mqtt://host", "mqtt://host"),
        ("jsonl:/a:b@c", "jsonl:/a:b@c"),
    ],
)
def test_a_password_is_hidden(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
