"""edge-fer.service: what it may do follows from its source, its sinks and its accelerator."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from card_plans import plan

from edge_fer.errors import ConfigError
from edge_fer_firmware.plan import Model
from edge_fer_firmware.units import service

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd: apt-get install systemd")

PAGE = "sse://127.0.0.1:8765"
VARIANTS: dict[str, dict[str, Any]] = {
    "synthetic": {"run": {"source": "synthetic"}},
    "file": {"run": {"source": "/srv/visitors.mp4", "sinks": ["jsonl:/srv/out/seen.jsonl"]}},
    "csi": {"run": {"source": "picamera2:0", "sinks": ["sqlite:seen.db"]}},
    "csi-page": {"run": {"source": "picamera2:0", "sinks": [PAGE]}},
    "usb": {"run": {"source": "usb:C920"}},
    "usb-coral": {"run": {"source": "/dev/video0"}, "coral": {"usb": True}},
    "broker": {
        "run": {"source": "picamera2:0", "sinks": ["mqtts://10.0.0.4"]},
        "credentials": {"mqtt-password": "hush"},
    },
    "stream": {"run": {"source": "rtsp://u:hush@10.0.0.9:554/s"}},
    "everything": {
        "run": {"source": "http://cam.example/s", "sinks": [PAGE, "mqtt://[fd00::4]/t"]},
        "coral": {"usb": True},
        "service": {"cpu_quota": 150},
        "storage": "root",
    },
    "pcie": {"board": "pi5-coral-pcie", "run": {"source": "picamera2:0"}},
}


def unit(**changes: Any) -> str:
    (file,) = service.files(plan(**changes))
    assert file.path == "edge-fer/root/etc/systemd/system/edge-fer.service"
    assert isinstance(file.content, bytes)
    return file.content.decode()


def keys(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.M)


@needs_systemd
@pytest.mark.parametrize("name", VARIANTS)
def test_exposure_is_at_most_two_and_systemd_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    path = tmp_path / "edge-fer.service"
    text = unit(**VARIANTS[name])
    path.write_text(text)
    command = [str(ANALYZE), "security", "--offline=true", "--threshold=20", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
    assert re.search(r"exposure level .*: [01]\.\d", done.stdout)
    path.write_text(text.replace("/opt/edge-fer/bin/edge-fer", "/bin/true"))
    verified = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@needs_systemd
def test_the_measurement_would_notice_an_open_unit(tmp_path: Path) -> None:
    path = tmp_path / "edge-fer.service"
    path.write_text(re.sub(r"(?m)^(Protect|Restrict|SystemCall|Capab).*\n", "", unit()))
    command = [str(ANALYZE), "security", "--offline=true", "--threshold=20", str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_it_is_watched_bounded_and_never_gives_up() -> None:
    text = unit(service={"watchdog": 33, "memory_max_mb": 256, "cpu_quota": 90})
    assert keys(text, "Type") == ["notify"]
    assert keys(text, "WatchdogSec") == ["33"]
    assert keys(text, "StartLimitIntervalSec") == ["0"]
    assert keys(text, "TimeoutStartSec") == ["240"]
    assert keys(text, "MemoryMax") == ["256M"]
    assert keys(text, "CPUQuota") == ["90%"]
    assert keys(text, "LimitCORE") == ["0"]
    assert keys(text, "ExecStart") == [
        "/opt/edge-fer/bin/edge-fer run --config /etc/edge-fer/config.toml"
    ]
    assert "CPUQuota" not in unit()
    assert "network-online" not in text
    assert "time-sync" not in text


@pytest.mark.parametrize(
    ("source", "restart"),
    [
        ("picamera2:0", "always"),
        ("/dev/video0", "always"),
        ("synthetic", "always"),
        ("synthetic?frames=50", "on-failure"),
        ("video:/srv/a.mp4", "on-failure"),
    ],
)
def test_a_recording_may_end(source: str, restart: str) -> None:
    assert keys(unit(run={"source": source}), "Restart") == [restart]


@pytest.mark.parametrize(
    ("name", "devices", "groups"),
    [
        ("synthetic", [], []),
        ("file", [], []),
        ("usb", ["char-video4linux", "/dev/vcio"], ["video"]),
        ("csi", ["char-video4linux", "char-media", "char-dma_heap", "/dev/vcio"], ["video"]),
        ("stream", ["/dev/vcio"], ["video"]),
        ("usb-coral", ["char-video4linux", "/dev/vcio", "char-usb_device"], ["video plugdev"]),
        (
            "pcie",
            ["char-video4linux", "char-media", "char-dma_heap", "/dev/vcio", "/dev/apex_0"],
            ["video plugdev"],
        ),
    ],
)
def test_devices_are_those_of_the_source(name: str, devices: list[str], groups: list[str]) -> None:
    text = unit(**VARIANTS[name])
    assert keys(text, "DeviceAllow") == [f"{device} rw" for device in devices]
    assert keys(text, "PrivateDevices") == ([] if devices else ["yes"])
    assert keys(text, "DevicePolicy") == (["closed"] if devices else [])
    assert keys(text, "SupplementaryGroups") == groups


@pytest.mark.parametrize(
    ("run", "families", "allowed", "private"),
    [
        ({"source": "synthetic"}, "AF_UNIX", [], True),
        ({"source": "picamera2:0"}, "AF_UNIX AF_NETLINK", [], True),
        ({"source": "synthetic", "sinks": [PAGE]}, "AF_UNIX AF_NETLINK AF_INET", ["localhost"], 0),
        (
            {"source": "synthetic", "sinks": ["sse://[::1]:80"]},
            "AF_UNIX AF_NETLINK AF_INET6",
            ["localhost"],
            False,
        ),
        (
            {"source": "rtsp://10.0.0.9/s", "sinks": ["mqtt://[fd00::4]/t", PAGE]},
            "AF_UNIX AF_NETLINK AF_INET AF_INET6",
            ["10.0.0.9", "fd00::4", "localhost"],
            False,
        ),
        (
            {"source": "synthetic", "sinks": ["mqtt://localhost"]},
            "AF_UNIX AF_NETLINK AF_INET AF_INET6",
            ["localhost"],
            False,
        ),
    ],
)
def test_only_listed_addresses_can_be_reached(
    run: dict[str, Any], families: str, allowed: list[str], private: bool
) -> None:
    text = unit(run=run)
    assert keys(text, "RestrictAddressFamilies") == [families]
    assert keys(text, "IPAddressDeny") == ["any"]
    assert keys(text, "IPAddressAllow") == allowed
    assert keys(text, "PrivateNetwork") == (["yes"] if private else [])


def test_a_name_needs_a_name_server_and_the_unit_says_so() -> None:
    text = unit(run={"source": "synthetic", "sinks": ["mqtts://u@broker.example/t?qos=0"]})
    assert keys(text, "IPAddressDeny") == []
    assert "a name server has to be asked for broker.example." in text


def test_a_coral_hears_udev() -> None:
    # In a network namespace of its own, netlink has no messages of udev.
    text = unit(run={"source": "synthetic"}, coral={"usb": True})
    assert keys(text, "PrivateNetwork") == []
    assert keys(text, "RestrictAddressFamilies") == ["AF_UNIX AF_NETLINK"]
    assert keys(text, "IPAddressDeny") == ["any"]


def test_secrets_are_loaded_and_never_written() -> None:
    text = unit(**VARIANTS["broker"])
    assert keys(text, "LoadCredential") == ["mqtt-password:/etc/edge-fer/credentials/mqtt-password"]
    sinks = ["mqtt://u:hush@10.0.0.4/t", "mqtt://10.0.0.4?credential=hush"]
    for shown in (text, unit(run={"source": "rtsp://u:hush@10.0.0.9/s?k=hush", "sinks": sinks})):
        assert "hush" not in shown


def test_an_address_cannot_begin_a_line_of_the_unit() -> None:
    sinks = ["mqtt://10.0.0.1/t\nUser=root"]
    text = unit(run={"source": "usb:camera\nUser=root", "sinks": sinks})
    assert keys(text, "User") == ["edge-fer"]
    with pytest.raises(ConfigError, match="no name of a credential"):
        unit(credentials={"x\nUser=root": "hush"})


def test_models_of_the_card_are_found_by_their_names() -> None:
    own = Model(name="blazeface-full.tflite", content=b"", sha256="0" * 64)
    assert "EDGE_FER_MODELS" not in unit()
    assert "\nEnvironment=EDGE_FER_MODELS=/opt/edge-fer/models\n" in unit(models=(own,))
    replaced = unit(models=(own,), model_updates=True)
    assert "\nEnvironment=EDGE_FER_MODELS=/var/lib/edge-fer/models\n" in replaced


def test_writes_go_to_the_state_and_to_what_the_sinks_name() -> None:
    inside = ["jsonl:/var/lib/edge-fer/a.jsonl?rotate=1MB", "sqlite:b.db", "jsonl:-", "stdout"]
    assert keys(unit(run={"source": "synthetic", "sinks": inside}), "ReadWritePaths") == []
    outside = [
        "jsonl:/srv/a/x.jsonl?keep=2", "sqlite:/srv/b/x.db", "mqtt://10.0.0.1?spool=/srv/s"
    ]  # fmt: skip
    run = {"source": "synthetic", "sinks": outside, "state_file": "/srv/c/state.json"}
    assert keys(unit(run=run), "ReadWritePaths") == ["-/srv/a", "-/srv/b", "-/srv/c", "-/srv/s"]


def test_a_data_partition_is_waited_for() -> None:
    assert keys(unit(), "RequiresMountsFor") == ["/var/lib/edge-fer"]
    for storage in ("root", "overlay"):
        assert keys(unit(storage=storage), "RequiresMountsFor") == []


@pytest.mark.parametrize(
    ("run", "message", "remedy"),
    [
        ({"sinks": ["jsonl:/home/me/seen.jsonl"]}, "/home/me/seen.jsonl", "/var/lib/edge-fer/seen"),
        ({"sinks": ["sqlite:/tmp/seen.db"]}, "temporary folders", "/var/lib/edge-fer/seen.db"),
        ({"source": "video:/root/a.mp4"}, "/root/a.mp4", "/var/lib/edge-fer/a.mp4"),
        ({"sinks": ["jsonl:/srv/100%/x"]}, "cannot stand in a unit", "/var/lib/edge-fer/seen"),
        ({"sinks": ["jsonl:/srv/a b/x"]}, "cannot stand in a unit", "/var/lib/edge-fer/seen"),
        ({"sinks": ["jsonl:/srv/a\nUser=root/x"]}, "cannot stand in a unit", "/var/lib/edge-fer"),
        ({"sinks": ["jsonl:../../etc/x"]}, "cannot stand in a unit", "/var/lib/edge-fer/seen"),
        ({"sinks": ["mqtt://"]}, "no address of a broker", "mqtt://HOST"),
        ({"sinks": ["sse://127.0.0.1:http"]}, "no network address", "SCHEME://HOST"),
        ({"source": "rtsp:///s"}, "no network address", "SCHEME://HOST"),
    ],
)
def test_what_cannot_work_is_refused(run: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        unit(run={"source": "synthetic", **run})
    assert message in caught.value.message
    assert remedy in caught.value.remedy
