"""What is set up around the service: accounts, configuration, journal, watchdog, udev."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from card_plans import DEPLOYMENT, plan

from edge_fer.backends.coral import UDEV_RULES
from edge_fer.config import Settings, load_settings
from edge_fer.errors import ConfigError
from edge_fer_firmware import units
from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.units import account, configuration, devices, journal, watchdog

SYSUSERS = shutil.which("systemd-sysusers")
TMPFILES = shutil.which("systemd-tmpfiles")


def text_of(file: CardFile) -> str:
    assert isinstance(file.content, bytes)
    return file.content.decode()


def by_path(files: tuple[CardFile, ...]) -> dict[str, str]:
    return {file.path.removeprefix("edge-fer/root"): text_of(file) for file in files}


def loaded(tmp_path: Path, **changes: Any) -> Settings:
    (file,) = configuration.files(plan(**changes))
    path = tmp_path / "config.toml"
    path.write_text(text_of(file), encoding="utf-8")
    return load_settings(path)


def test_all_files_are_there_once() -> None:
    sinks = ["sse://127.0.0.1:8765"]
    files = units.files(plan(kiosk={"enabled": True}, run={"source": "synthetic", "sinks": sinks}))
    paths = [file.path.removeprefix("edge-fer/root") for file in files]
    assert len(paths) == len(set(paths))
    assert set(paths) == {
        "/etc/edge-fer/config.toml",
        "/etc/systemd/journald.conf.d/60-edge-fer.conf",
        "/etc/systemd/system.conf.d/60-edge-fer-watchdog.conf",
        "/etc/systemd/system/edge-fer-kiosk.service",
        "/etc/systemd/system/edge-fer.service",
        "/etc/udev/rules.d/60-edge-fer-board.rules",
        "/etc/udev/rules.d/60-edge-fer-coral.rules",
        "/usr/lib/edge-fer/kiosk",
        "/usr/lib/sysusers.d/edge-fer.conf",
        "/usr/lib/tmpfiles.d/edge-fer.conf",
    }
    assert all(text_of(file).endswith("\n") and "\r" not in text_of(file) for file in files)


def test_the_configuration_gives_back_what_was_asked(tmp_path: Path) -> None:
    run = {
        "source": 'rtsp://h/s?a="x"&b=\\n',
        "sinks": ["sqlite:a.db", "mqtt://10.0.0.1/é"],
        "model": "/var/lib/edge-fer/models/mine.tflite",
        "threads": 4,
        "track": False,
        "max_fps": 12.5,
        "aggregate": "1min",
        "transition": {"neutral": {"happiness": 0.1}, "odd label": {"neutral": 0.25}},
        "name": 'Küche "1"\x7f\t\\',
    }
    got = loaded(tmp_path, run=run)
    for key, value in run.items():
        assert getattr(got, key) == (tuple(value) if isinstance(value, list) else value)
    assert got.operator == DEPLOYMENT["operator"]
    assert got.purpose == DEPLOYMENT["purpose"]
    assert got.notice == DEPLOYMENT["notice"]["en"]
    assert got.detector == load_settings(usual_files=False).detector  # not asked for: the default


def test_the_device_is_called_as_the_host(tmp_path: Path) -> None:
    assert loaded(tmp_path, host={"name": "foyer"}).name == "foyer"


@pytest.mark.parametrize(
    ("run", "secret"),
    [
        ({"source": "rtsp://u:hush@h/s"}, True),
        ({"source": "rtsp://h/s?password=hush"}, True),
        ({"source": "rtsp://h/s"}, False),
        ({"source": "synthetic", "sinks": ["mqtt://u:hush@h"]}, True),
        ({"source": "picamera2:0?fps=9", "sinks": ["mqtt://u@h", "sqlite:a.db"]}, False),
    ],
)
def test_a_password_in_an_address_makes_the_file_a_secret(
    run: dict[str, Any], secret: bool
) -> None:
    (file,) = configuration.files(plan(run=run))
    assert file.secret is secret


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"sourcce": "synthetic"}, "sourcce"),
        ({"threads": 0}, "threads"),
        ({"max_fps": float("inf")}, "max_fps"),
        ({"notice": "twice"}, r"\[run\] has notice"),
        ({"operator": "twice"}, r"\[run\] has operator"),
    ],
)
def test_settings_that_run_would_refuse_are_refused_here(run: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration.files(plan(run={"source": "synthetic", **run}))


def test_a_value_that_is_no_toml_of_ours_is_named() -> None:
    with pytest.raises(ConfigError, match="holds None"):
        configuration.toml_text({"source": None})


def test_the_banner_has_all_languages_where_they_fit() -> None:
    def banner(**notice: str) -> str:
        return configuration.banner(
            plan(deployment={**DEPLOYMENT, "notice": notice}).settings.deployment
        )

    assert banner() == ""
    assert banner(en="A camera\n  reads.") == "A camera reads."
    assert banner(en="A camera.", de="Eine Kamera.", fr="") == "A camera. · Eine Kamera."
    assert banner(en="x" * 300, de="y" * 300) == "x" * 300
    # An isolate keeps the full stop of a Hebrew sentence at its own end.
    hebrew = "שלום."
    assert banner(en="A camera.", he=hebrew) == f"A camera. · \u2068{hebrew}\u2069"


def test_the_rules_are_those_that_doctor_wants() -> None:
    found = by_path(devices.files(plan()))
    rules = found[devices.CORAL_RULES].splitlines()
    assert tuple(line for line in rules if not line.startswith("#")) == UDEV_RULES


def test_the_journal_stays_in_memory_and_small() -> None:
    found = configparser.ConfigParser(delimiters="=")
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read_string(text_of(journal.files(plan())[0]))
    assert dict(found["Journal"]) == {
        "Storage": "volatile",
        "RuntimeMaxUse": "16M",
        "RuntimeMaxFileSize": "4M",
        "ForwardToSyslog": "no",
    }


def test_the_board_is_restarted_when_systemd_hangs() -> None:
    lines = text_of(watchdog.files(plan())[0]).splitlines()
    assert lines[-3:] == ["[Manager]", "RuntimeWatchdogSec=15", "RebootWatchdogSec=2min"]


def test_accounts_and_folders() -> None:
    found = by_path(account.files(plan()))
    users = found["/usr/lib/sysusers.d/edge-fer.conf"]
    assert 'u edge-fer - "edge-fer" /var/lib/edge-fer /usr/sbin/nologin\n' in users
    assert "edge-fer-kiosk" not in users
    folders = found["/usr/lib/tmpfiles.d/edge-fer.conf"]
    assert "d /etc/edge-fer/credentials 0700 root root -\n" in folders
    assert "z /etc/edge-fer/config.toml 0640 root edge-fer -\n" in folders
    assert "models" not in folders

    found = by_path(account.files(plan(kiosk={"enabled": True}, model_updates=True)))
    for group in ("video", "render"):  # the unit of the screen names no groups itself
        assert f"m edge-fer-kiosk {group}\n" in found["/usr/lib/sysusers.d/edge-fer.conf"]
    models = "d /var/lib/edge-fer/models 0755 edge-fer edge-fer -\n"
    assert models in found["/usr/lib/tmpfiles.d/edge-fer.conf"]


@pytest.mark.skipif(SYSUSERS is None or TMPFILES is None, reason="no systemd")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_systemd_makes_the_accounts_and_the_folders(tmp_path: Path) -> None:
    made = plan(kiosk={"enabled": True, "url": "http://127.0.0.1/"}, model_updates=True)
    for path, text in by_path(units.files(made)).items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    for tool in (SYSUSERS, TMPFILES):
        command = [str(tool), f"--root={tmp_path}", *(["--create"] if tool == TMPFILES else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    account_line = r"^edge-fer:x:\d+:\d+:edge-fer:/var/lib/edge-fer:/usr/sbin/nologin$"
    assert re.search(account_line, users, re.M)
    groups = (tmp_path / "etc/group").read_text()
    assert re.search(r"^video:x:\d+:edge-fer,edge-fer-kiosk$", groups, re.M)
    number = int(re.findall(r"^edge-fer:x:(\d+):", groups, re.M)[0])
    assert (tmp_path / "etc/edge-fer/credentials").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/edge-fer/models").stat().st_gid == number


@pytest.mark.skipif(TMPFILES is None, reason="no systemd")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_service_may_read_its_settings_and_nobody_else(tmp_path: Path) -> None:
    for path, text in by_path((*account.files(plan()), *configuration.files(plan()))).items():
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text(text)
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nedge-fer:x:4711:4712::/:/bin/false\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\nedge-fer:x:4712:\n")
    config = tmp_path / "etc/edge-fer/config.toml"
    config.chmod(0o600)  # as the installer copies it
    command = [str(TMPFILES), f"--root={tmp_path}", "--create", "edge-fer.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = config.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 0, 4712)
