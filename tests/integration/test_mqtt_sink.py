"""The MQTT sink against a real Mosquitto, with brokers and processes that die."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt.client", reason="pip install 'edge-fer[mqtt]'")

from mosquitto import Cable, Listener, Mosquitto, free_port, needs_mosquitto, wait_for

from edge_fer.errors import ConfigError
from edge_fer.records import Record
from edge_fer.sinks.mqtt import MqttWriter
from edge_fer.sinks.spool import Spool

HOUR = 3600
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def record(seq: int, *labels: str) -> Record:
    faces = [
        {
            "track": n,
            "box": [10.0, 10.0, 100.0 - n, 100.0 - n],
            "score": 0.9,
            "expression": label,
            "reason": "dark" if label == "unknown" else None,
            "probabilities": dict.fromkeys(LABELS, 0.125),
            "raw_expression": "neutral",
        }
        for n, label in enumerate(labels)
    ]
    return Record.of({"schema": "edge-fer/observation/1", "run": "r", "seq": seq, "faces": faces})


def connect(port: int, spool: Path, **more: Any) -> MqttWriter:
    return MqttWriter(
        f"mqtt://127.0.0.1:{port}",
        **{"spool": spool, "device": "Lobby", "retry_s": (0.05, 0.2), "warn": ignore, **more},
    )


def ignore(text: str) -> None:
    pass


def configs(listener: Listener) -> int:
    return sum(topic.endswith("/config") for topic, _, _ in list(listener.messages))


def seqs(records: list[dict[str, Any]]) -> list[int]:
    return [r["seq"] for r in records]


@needs_mosquitto
def test_records_arrive_one_a_message_and_home_assistant_is_told_also_when_it_comes_late(
    tmp_path: Path,
) -> None:
    with Mosquitto(tmp_path) as broker:
        writer = connect(broker.port, tmp_path / "spool", discovery="homeassistant")
        writer.watch(lambda: {"fps": 24.04, "thermal": {"celsius": 51.6}})
        with Listener(broker.port) as early, closing(writer):
            writer.write([record(0, "happiness", "unknown"), record(1, "happiness", "unknown")])
            writer.sync()
            wait_for(lambda: len(early.records) == 2, "two records")
            assert early.records[0] == dict(record(0, "happiness", "unknown").document)
            wait_for(lambda: b"expression" in (early.last("/state") or b""), "a state")
            with Listener(broker.port) as late:
                wait_for(lambda: configs(late) == 5, "five sensors")
                wait_for(lambda: late.last("lobby/state"), "the state")
                assert late.records == []
                assert late.last("availability") == b"online"
                state = json.loads(late.last("lobby/state") or b"")
                assert state == {
                    "expression": "happiness",
                    "faces": 2,
                    "unknown_rate": 50,
                    "fps": 24.0,
                    "temperature": 52,
                }
                found = {t: json.loads(p) for t, p, _ in late.messages if t.endswith("config")}
                assert set(found) == {f"homeassistant/sensor/lobby/{k}/config" for k in state}
                assert len({d["unique_id"] for d in found.values()}) == 5
                for document in found.values():
                    assert document["state_topic"] == "edge-fer/lobby/state"
                    assert document["availability_topic"] == "edge-fer/lobby/availability"
        # Said before the goodbye; a clean one brings no last will.
        with Listener(broker.port) as after:
            wait_for(lambda: after.last("availability") == b"offline", "offline")


@needs_mosquitto
def test_the_state_follows_a_change_and_keeps_still_without_one(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        with closing(connect(broker.port, tmp_path, discovery="homeassistant")) as writer:
            for seq in range(200):
                writer.write([record(seq, "anger")])
            wait_for(lambda: listener.last("/state"), "a state")
            writer.write([record(200)])
            wait_for(
                lambda: json.loads(listener.last("/state") or b"{}").get("expression") == "nobody",
                "nobody",
            )
            wait_for(lambda: writer.backlog == 0, "all delivered")
        states = [m for m in listener.messages if m[0].endswith("/state")]
        assert len(states) == 2
        assert seqs(listener.records) == list(range(201))


WRITING = """
import sys, time
from pathlib import Path
from edge_fer.records import Record
from edge_fer.sinks.mqtt import MqttWriter
writer = MqttWriter(sys.argv[1], spool=Path(sys.argv[2]), device="Lobby", warn=lambda text: None)
for seq in range(int(sys.argv[4]), int(sys.argv[4]) + int(sys.argv[3])):
    writer.write([Record.of({"schema": "edge-fer/observation/1", "seq": seq, "faces": []})])
    if seq % 50 == 49:
        writer.sync()
        print(seq, flush=True)
print("done", flush=True)
time.sleep(600)
"""


def writing(port: int, spool: Path, count: int, first: int = 0) -> "subprocess.Popen[bytes]":
    address, numbers = f"mqtt://127.0.0.1:{port}", (str(count), str(first))
    return subprocess.Popen(
        [sys.executable, "-c", WRITING, address, str(spool), *numbers], stdout=subprocess.PIPE
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@needs_mosquitto
def test_the_last_will_comes_when_the_process_is_killed(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        process = writing(broker.port, tmp_path / "spool", 100)
        try:
            wait_for(lambda: len(listener.records) == 100, "100 records", 30)
            assert listener.last("availability") == b"online"
        finally:
            kill(process)
        wait_for(lambda: listener.last("availability") == b"offline", "the last will", 10)


@needs_mosquitto
def test_the_last_will_comes_when_the_cable_is_cut_and_online_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    with (
        Mosquitto(tmp_path) as broker,
        Listener(broker.port) as listener,
        Cable(broker.port) as cable,
        closing(connect(cable.port, tmp_path)) as writer,
    ):
        wait_for(lambda: listener.last("availability") == b"online", "online")
        cable.pull()
        wait_for(lambda: listener.last("availability") == b"offline", "the last will", 10)
        wait_for(lambda: writer.status()["state"] == "away", "away")
        cable.plugged = True
        wait_for(lambda: listener.last("availability") == b"online", "online again")
        assert writer.status()["connections"] == 2


@needs_mosquitto
def test_an_hour_without_a_broker_all_of_it_comes_in_order_and_once(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with Cable(broker.port, plugged=False) as cable:
        writer = connect(cable.port, tmp_path / "spool")
        with closing(writer):
            for minute in range(0, HOUR, 60):
                writer.write([record(s, "neutral") for s in range(minute, minute + 60)])
                writer.sync()
            assert writer.backlog == HOUR
            wait_for(lambda: writer.status()["last_error"], "a reason")
            with broker, Listener(broker.port) as listener:
                cable.plugged = True
                wait_for(lambda: writer.backlog == 0, "everything is forwarded", 60)
                writer.write([record(HOUR, "neutral")])
                wait_for(lambda: len(listener.records) == HOUR + 1, "the last record")
                assert seqs(listener.records) == list(range(HOUR + 1))
                assert not any("duplicate" in r for r in listener.records)
                assert writer.status()["duplicates"] == 0


@needs_mosquitto
def test_what_was_sent_and_not_acknowledged_comes_again_and_says_so(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path) as broker,
        Listener(broker.port) as listener,
        Cable(broker.port) as cable,
        closing(connect(cable.port, tmp_path, inflight=8)) as writer,
    ):
        writer.write([record(s) for s in range(5)])
        wait_for(lambda: writer.backlog == 0, "five acknowledged")
        cable.deaf = True
        writer.write([record(s) for s in range(5, 30)])
        wait_for(lambda: len(listener.records) == 13, "as many as may be under way")
        writer.sync()
        assert writer.backlog == 25
        cable.pull()
        cable.deaf, cable.plugged = False, True
        wait_for(lambda: writer.backlog == 0, "all acknowledged")
        wait_for(lambda: len(listener.records) == 38, "all there")
        assert seqs(listener.records) == [*range(13), *range(5, 30)]
        marks = [r.get("duplicate", False) for r in listener.records]
        assert marks == [False] * 13 + [True] * 8 + [False] * 17
        assert writer.status()["duplicates"] == 8


def send(writer: MqttWriter, count: int) -> None:
    for seq in range(count):
        writer.write([record(seq)])


@needs_mosquitto
def test_a_broker_killed_under_load_gets_what_it_had_not_acknowledged(tmp_path: Path) -> None:
    count = 1500
    broker = Mosquitto(tmp_path)
    with broker, Cable(broker.port) as cable, closing(connect(cable.port, tmp_path)) as writer:
        with Listener(broker.port) as before:
            sender = threading.Thread(target=send, args=(writer, count))
            sender.start()
            wait_for(lambda: len(before.messages) > 200, "traffic")
            broker.kill()
            sender.join()
        cable.pull()
        wait_for(lambda: writer.status()["state"] == "away", "away")
        acknowledged = writer.status()["delivered"]
        assert 0 < acknowledged < count
        assert writer.backlog == count - acknowledged
        broker.start()
        with Listener(broker.port) as after:
            cable.plugged = True
            wait_for(lambda: writer.backlog == 0, "everything is forwarded", 60)
            wait_for(lambda: len(after.records) == count - acknowledged, "all there")
            assert seqs(after.records) == list(range(acknowledged, count))
            twice = set(seqs(before.records)) & set(seqs(after.records))
            assert all(r["duplicate"] for r in after.records if r["seq"] in twice)
            # Not more than were under way.
            assert sum(r.get("duplicate", False) for r in after.records) <= 20


@needs_mosquitto
def test_a_process_killed_while_the_broker_is_away_loses_nothing_that_was_synced(
    tmp_path: Path,
) -> None:
    spool = tmp_path / "spool"
    process = writing(free_port(), spool, 100_000)
    assert process.stdout is not None
    synced = -1
    try:
        while synced < 400:
            synced = int(process.stdout.readline())
    finally:
        kill(process)
    broker = Mosquitto(tmp_path)
    with broker, Listener(broker.port) as listener:
        with closing(connect(broker.port, spool)) as writer:
            waiting = writer.backlog
            wait_for(lambda: writer.backlog == 0, "everything is forwarded", 60)
        assert waiting > synced
        wait_for(lambda: len(listener.records) == waiting, "all there")
        assert seqs(listener.records) == list(range(waiting))
        # None of it was sent before.
        assert not any("duplicate" in r for r in listener.records)


@needs_mosquitto
def test_a_process_killed_at_random_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    rounds = 60 if os.environ.get("EDGE_FER_LONG") == "1" else 6
    chance = random.Random(7)  # noqa: S311
    spool, synced = tmp_path / "spool", list[int]()
    with (
        Mosquitto(tmp_path) as broker,
        Listener(broker.port) as listener,
        Cable(broker.port) as cable,
    ):
        for number in range(rounds):
            # With a broker, or with one that comes back while there is a backlog.
            cable.plugged = number % 2 == 0
            first = number * 100_000
            process = writing(cable.port, spool, 100_000, first)
            assert process.stdout is not None
            try:
                for turn in range(chance.randrange(2, 12)):
                    synced.extend(range(first, int(process.stdout.readline()) + 1))
                    cable.plugged |= turn == 1
            finally:
                kill(process)
        cable.plugged = True
        with closing(connect(cable.port, spool)) as writer:
            wait_for(lambda: writer.backlog == 0, "everything is forwarded", 60)
            writer.write([record(99_999_999)])
            wait_for(lambda: listener.records[-1]["seq"] == 99_999_999, "the last one", 60)
    seen = set[int]()
    for got in listener.records:
        assert got["seq"] not in seen or got["duplicate"]
        seen.add(got["seq"])
    assert set(synced) <= seen


def secured(tmp_path: Path) -> Mosquitto:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-c", "-b", str(passwords), "kiosk", "right"],
        check=True,
        capture_output=True,
    )
    # Mosquitto gives up its root rights before it reads this file.
    passwords.chmod(0o644)
    tmp_path.chmod(0o755)
    return Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}", "user root")


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_wrong_password_is_said_and_nothing_is_lost(tmp_path: Path, protocol: str) -> None:
    told: list[str] = []
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "mqtt-password").write_text("hunter2\n")
    with secured(tmp_path) as broker:
        address = f"mqtt://kiosk@127.0.0.1:{broker.port}/museum/lobby"
        options: dict[str, Any] = {
            "spool": tmp_path / "spool",
            "protocol": protocol,
            "retry_s": (0.05, 0.2),
            "warn": told.append,
            "environ": {"CREDENTIALS_DIRECTORY": str(folder)},
        }
        with closing(MqttWriter(address, **options)) as writer:
            writer.write([record(0)])
            writer.sync()
            wait_for(lambda: writer.status()["last_error"], "a reason")
            status = writer.status()
            assert "password is wrong" in status["last_error"]
            assert status["state"] == "away"
            assert writer.backlog == 1
        assert len(told) == 1
        assert "hunter2" not in json.dumps([*told, status, writer.name, repr(writer._broker)])
        (folder / "mqtt-password").write_text("right\n")
        with closing(MqttWriter(address, **options)) as writer:
            wait_for(lambda: writer.backlog == 0, "delivered")
            assert writer.status()["topic"] == "museum/lobby"


@needs_mosquitto
def test_a_broker_that_does_not_take_our_topic_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edge-fer/lobby/availability\n")
    rules.chmod(0o644)
    tmp_path.chmod(0o755)
    lines = ("allow_anonymous true", f"acl_file {rules}", "user root")
    with (
        Mosquitto(tmp_path, *lines) as broker,
        Listener(broker.port) as listener,
        closing(connect(broker.port, tmp_path / "spool")) as writer,
    ):
        writer.write([record(0)])
        wait_for(lambda: listener.last("availability") == b"offline", "offline between attempts")
        wait_for(lambda: writer.status()["last_error"], "a reason")
        assert "does not take messages on edge-fer/lobby" in writer.status()["last_error"]
        writer.sync()
        assert writer.backlog == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mqtt://127.0.0.1:PORT", "refused"),
        ("mqtt://no-such-host.invalid", "unknown"),
    ],
)
def test_a_broker_that_is_not_there_is_said(tmp_path: Path, address: str, words: str) -> None:
    address = address.replace("PORT", str(free_port()))
    with closing(MqttWriter(address, spool=tmp_path, warn=ignore)) as writer:
        writer.write([record(0)])
        writer.sync()
        wait_for(lambda: writer.status()["last_error"], "a reason", 40)
        assert words in writer.status()["last_error"]
        assert writer.backlog == 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder,
        capture_output=True,
        check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl here: apt-get install openssl")
    return folder


def encrypted(tmp_path: Path, certificate: Path) -> Mosquitto:
    return Mosquitto(
        tmp_path,
        "allow_anonymous true",
        f"certfile {certificate}/cert.pem",
        f"keyfile {certificate}/key.pem",
        "user root",
    )


@needs_mosquitto
def test_tls_with_the_authority_that_was_given(tmp_path: Path, certificate: Path) -> None:
    with encrypted(tmp_path, certificate) as broker:
        uri = f"mqtts://127.0.0.1:{broker.port}?spool={tmp_path}/s&ca={certificate}/cert.pem"
        with closing(MqttWriter.open(uri, device="Lobby", warn=ignore)) as writer:
            writer.write([record(0)])
            wait_for(lambda: writer.backlog == 0, "delivered")


@needs_mosquitto
# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("now", "words"),
    [
        (lambda: datetime.now(UTC), "is not good: self.signed"),
        (lambda: datetime(1970, 1, 1, tzinfo=UTC), "The clock is not set"),
    ],
)
def test_a_certificate_that_cannot_be_trusted(
    tmp_path: Path, certificate: Path, now: Callable[[], datetime], words: str
) -> None:
    with encrypted(tmp_path, certificate) as broker:
        address = f"mqtts://127.0.0.1:{broker.port}"
        with closing(MqttWriter(address, spool=tmp_path, now=now, warn=ignore)) as writer:
            wait_for(lambda: writer.status()["last_error"], "a reason")
            assert re.search(words, writer.status()["last_error"])


def test_without_a_folder_to_wait_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no folder") as caught:
        MqttWriter("mqtt://user:hunter2@broker", environ={})
    assert "?spool=" in caught.value.remedy
    assert "hunter2" not in str(caught.value)
    there = {"STATE_DIRECTORY": f"{tmp_path}:/elsewhere"}
    address = f"mqtt://127.0.0.1:{free_port()}/a/b"
    with closing(MqttWriter(address, environ=there, warn=ignore)):
        assert list(tmp_path.glob("mqtt-127.0.0.1-*-a-b/spool.sqlite"))


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "{}"}, ".local/state/edge-fer"),
        ({"HOME": "{}", "XDG_STATE_HOME": "relative"}, ".local/state/edge-fer"),
        ({"HOME": "/nowhere", "XDG_STATE_HOME": "{}/x"}, "x/edge-fer"),
        ({"HOME": "/nowhere", "STATE_DIRECTORY": "{}/service"}, "service"),
    ],
)
def test_a_short_address_is_enough(tmp_path: Path, environ: dict[str, str], folder: str) -> None:
    there = {key: value.format(tmp_path) for key, value in environ.items()}
    with closing(MqttWriter("mqtt://127.0.0.1:1", environ=there, warn=ignore)):
        assert (tmp_path / folder / "mqtt-127.0.0.1-1" / "spool.sqlite").exists()


def minute(seq: int) -> Record:
    return Record.of(
        {
            "schema": "edge-fer/aggregate/1",
            "seq": seq,
            "faces": 90,
            "mean_faces": 1.5,
            "expressions": {"anger": 60, "unknown": 30},
        }
    )


@needs_mosquitto
def test_with_counts_only_the_broker_forgets_what_it_kept_about_a_face(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        with closing(connect(broker.port, tmp_path / "a", discovery="homeassistant")) as writer:
            writer.write([record(0, "anger")])
            with Listener(broker.port) as before:
                wait_for(lambda: b"anger" in (before.last("/state") or b""), "a state")
                wait_for(lambda: before.last("expression/config"), "the sensor")
        with (
            Listener(broker.port) as during,
            closing(connect(broker.port, tmp_path / "a", discovery="homeassistant")) as writer,
        ):
            wait_for(lambda: during.last("expression/config"), "what the broker kept")
            writer.write([minute(1)])
            wait_for(lambda: during.last("expression/config") == b"", "taken back")
            wait_for(lambda: b"faces" in (during.last("/state") or b""), "the counts' state")
            wait_for(lambda: writer.backlog == 0, "delivered")
        with Listener(broker.port) as after:
            wait_for(lambda: after.last("availability"), "what the broker keeps")
            wait_for(lambda: after.last("/state"), "a state")
            wait_for(lambda: configs(after) == 2, "two sensors")
            assert json.loads(after.last("/state") or b"") == {"faces": 1.5, "unknown_rate": 33}
            kept = {topic for topic, _, _ in after.messages if topic.endswith("/config")}
            assert {topic.split("/")[-2] for topic in kept} == {"faces", "unknown_rate"}


@needs_mosquitto
def test_without_discovery_a_state_of_an_earlier_run_goes(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        with closing(connect(broker.port, tmp_path / "a", discovery="homeassistant")) as writer:
            writer.write([record(0, "anger")])
            with Listener(broker.port) as before:
                wait_for(lambda: b"anger" in (before.last("/state") or b""), "a state")
        with (
            Listener(broker.port) as during,
            closing(connect(broker.port, tmp_path / "a")) as writer,
        ):
            wait_for(lambda: during.last("/state"), "what the broker kept")
            writer.write([minute(1)])
            wait_for(lambda: during.last("/state") == b"", "taken back")


@needs_mosquitto
def test_close_leaves_a_broker_that_does_not_answer_in_time(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Cable(broker.port) as cable:
        writer = connect(cable.port, tmp_path / "spool")
        wait_for(lambda: writer.status()["state"] == "connected", "connected")
        cable.deaf = True
        writer.write([record(0)])
        writer.sync()
        began = time.monotonic()
        writer.close()
        # Of the 3.5 s that a delivery has for its end.
        assert time.monotonic() - began < 3.2


def test_a_password_in_the_address_works_is_hidden_and_warned_about(tmp_path: Path) -> None:
    told: list[str] = []
    uri = f"mqtt://me:hunter2@127.0.0.1:{free_port()}/t?spool={tmp_path}"
    with closing(MqttWriter.open(uri, warn=told.append)) as writer:
        assert "me:***@" in writer.name
        assert "credential" in told[0]
        assert "hunter2" not in json.dumps([*told, writer.name, writer.status()])


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mqtt://", "no address"),
        ("mqtt:broker", "no address"),
        ("mqtt://host:99999", "no address"),
        ("mqtt://host:0", "no address"),
        ("mqtt://host/a/+/b", "cannot publish"),
        ("mqtt://host/$SYS", "cannot publish"),
        ("mqtt://:hunter2@host", "no user"),
        ("mqtt://host?ca=/etc/hostname", "no TLS"),
        ("mqtts://host?ca=/no/such/file", "no file"),
        ("mqtt://u:hunter2@host?qos=2", "qos cannot be"),
        ("mqtt://u:hunter2@host?spol=x", "spool"),
        ("mqtt://u:hunter2@host?qos=1&qos=1", "twice"),
        ("mqtt://host?max_mb=nan", "max_mb cannot be"),
        ("mqtt://host?discovery=openhab", "homeassistant"),
        ("mqtt://host?credential=../x", "name of a credential"),
    ],
)
def test_bad_addresses_are_refused_without_showing_a_password(
    tmp_path: Path, uri: str, words: str
) -> None:
    # No spool, so that nothing is made even where an address should pass by mistake.
    with pytest.raises(ConfigError) as caught:
        MqttWriter.open(uri)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_paho_the_line_to_type_is_named(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["paho"] = None
from pathlib import Path
from edge_fer.errors import MissingExtra
from edge_fer.sinks.mqtt import MqttWriter
try:
    MqttWriter("mqtt://host", spool=Path({str(tmp_path)!r}))
except MissingExtra as err:
    print(err.remedy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "pip install 'edge-fer[mqtt]'", done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_mosquitto
def test_a_broker_that_takes_and_never_answers_is_left(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path) as broker,
        Cable(broker.port) as cable,
        closing(connect(cable.port, tmp_path, keepalive=2)) as writer,
    ):
        wait_for(lambda: writer.status()["state"] == "connected", "connected")
        cable.deaf = True
        writer.write([record(0)])
        wait_for(lambda: writer.status()["state"] == "away", "given up", 40)
        cable.deaf = False
        wait_for(lambda: writer.backlog == 0, "delivered over a new connection", 40)


def test_a_port_where_nobody_speaks_mqtt_is_left_and_closing_does_not_wait(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        writer = connect(mute.getsockname()[1], tmp_path)
        writer.write([record(0)])
        writer.sync()
        began = time.monotonic()
        writer.close()
        assert time.monotonic() - began < 10
    with closing(Spool(tmp_path)) as spool:
        assert len(spool) == 1


@needs_mosquitto
def test_what_is_written_just_before_the_end_still_leaves(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Listener(broker.port) as listener:
        writer = connect(broker.port, tmp_path / "spool")
        wait_for(lambda: writer.status()["state"] == "connected", "connected")
        writer.write([record(s) for s in range(100)])
        writer.close()
        writer.close()
        wait_for(lambda: len(listener.records) == 100, "all of them")
        assert seqs(listener.records) == list(range(100))
