"""``edge-fer models pull`` and ``list`` as a user runs them: in a process of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from file_server import Answer, FileServer

from edge_fer.models.catalogue import CATALOGUE

EDGE_FER = [sys.executable, "-c", "from edge_fer.cli import main; main()"]
FRONT = CATALOGUE["blazeface-front"]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.fixture
def front(shared: Path) -> bytes:
    return (shared / "models" / "blazeface_front_2019.tflite").read_bytes()


@pytest.fixture
def server(front: bytes) -> Iterator[FileServer]:
    with FileServer({"m/face_detection_front.tflite": front}) as running:
        yield running


def environment(own: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return os.environ | {"EDGE_FER_MODELS": str(own), "no_proxy": "127.0.0.1"} | (extra or {})


def edge_fer(
    *words: str | Path, own: Path, code: int = 0, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGE_FER, "models", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(own, extra),
        timeout=120,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def edge_fer_json(*words: str | Path, own: Path, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(edge_fer(*words, "--json", own=own, code=code).stdout)
    return document


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_an_air_gapped_site(shared: Path, own: Path) -> None:
    """Every model from a folder, then listed, shown, and pulled once more without it."""
    mirror = shared / "models"
    document = edge_fer_json("pull", *CATALOGUE, "--mirror", mirror, own=own)
    assert document["schema"] == "edge-fer/pull/1"
    for row, entry in zip(document["models"], CATALOGUE.values(), strict=True):
        assert row == {
            "name": entry.name,
            "status": "pulled",
            "path": str(own / entry.file_name),
            "bytes": (own / entry.file_name).stat().st_size,
            "sha256": entry.sha256,
            "source": str(mirror / entry.release),
            "resumed_at": 0,
            "licence": entry.licence,
            "caveat": entry.caveat or None,
        }
    assert names(own) == ["blazeface-front.tflite", "blazeface-full.tflite", "yunet.onnx"]

    listed = edge_fer_json("list", own=own)
    assert listed["available"] == []
    rows = {row["name"]: row for row in listed["models"]}
    assert rows["expression"]["state"] == "shipped"
    assert rows["expression"]["task"] == "expression-frame"
    assert {rows[name]["state"] for name in CATALOGUE} == {"pulled"}
    assert {rows[name]["task"] for name in CATALOGUE} == {"face-detection"}
    assert rows["blazeface-full"]["scheme"] == "float32"
    assert rows["yunet"]["scheme"] is None
    assert {row["error"] for row in rows.values()} == {None}

    shown = edge_fer_json("show", "blazeface-full", own=own)
    assert shown["contract"]["detection"]["decoder"] == "anchors"
    assert shown["sha256"] == CATALOGUE["blazeface-full"].sha256

    again = edge_fer("pull", *CATALOGUE, own=own).stdout
    assert again.count("here already, and right") == 3
    assert "WIDER FACE" in again
    present = edge_fer_json("pull", "yunet", own=own)["models"][0]
    assert (present["status"], present["source"]) == ("present", None)


def test_list_says_what_can_be_pulled(own: Path) -> None:
    document = edge_fer_json("list", own=own)
    assert [row["name"] for row in document["available"]] == list(CATALOGUE)
    for row, entry in zip(document["available"], CATALOGUE.values(), strict=True):
        assert (row["state"], row["task"]) == ("available", "face-detection")
        assert (row["bytes"], row["licence"], row["url"]) == (entry.size, entry.licence, entry.url)
    assert not {row["name"] for row in document["models"]} & set(CATALOGUE)
    text = edge_fer("list", own=own).stdout
    above, below = text.split("edge-fer models pull NAME")
    assert "expression.float" in above
    assert "1084 kB" in below
    assert "Apache-2.0" in below
    assert "MIT" in below


def test_list_says_what_is_wrong_with_a_pulled_file(own: Path) -> None:
    own.mkdir()
    (own / "blazeface-full.tflite").write_bytes(b"half")
    (own / "mine.onnx").write_bytes(b"")
    rows = {row["name"]: row for row in edge_fer_json("list", own=own)["models"]}
    assert "edge-fer models pull blazeface-full --force" in rows["blazeface-full"]["error"]
    assert "not a .tflite file" in rows["mine"]["error"]
    assert "is not the published" in edge_fer("list", own=own).stdout


def test_a_mirror_on_the_network(server: FileServer, front: bytes, own: Path) -> None:
    done = edge_fer("pull", FRONT.name, "--mirror", f"{server.url}/m/", own=own)
    assert f"423,256 bytes, right, Apache-2.0: {own / FRONT.file_name}" in done.stdout
    assert done.stderr == ""
    assert (own / FRONT.file_name).read_bytes() == front


def test_to_a_folder_that_is_not_looked_in(shared: Path, own: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    words = ("pull", "yunet", "--mirror", shared / "models", "--to", there)
    quiet = edge_fer(*words, "--quiet", own=own)
    assert quiet.stdout == quiet.stderr == ""
    words += ("--force",)
    assert "name it by its path" in edge_fer(*words, own=own).stdout
    assert names(there) == ["yunet.onnx"]
    assert names(own) == []


@pytest.mark.parametrize(
    ("words", "code", "kind", "says"),
    [
        (["blazeface-frnt"], 2, "config", "Did you mean blazeface-front?"),
        (["yunet", "--mirror", "gopher://x/"], 2, "config", "neither a folder nor"),
        (["yunet", "--mirror", "/no/such/folder"], 4, "device", "could not be read"),
        (["yunet", "--mirror", "http://127.0.0.1:9/"], 4, "device", "cannot be reached"),
        (["yunet", "--to", "/proc/edge-fer", "--mirror", "/"], 4, "device", "/proc/edge-fer"),
    ],
)
def test_what_fails_says_why(own: Path, words: list[str], code: int, kind: str, says: str) -> None:
    document = edge_fer_json("pull", *words, own=own, code=code)
    error = document["error"]
    assert document["schema"] == "edge-fer/error/1"
    assert (error["exit_code"], error["code"]) == (code, kind)
    assert says in f"{error['message']} {error['remedy']}"
    assert error["remedy"]
    assert names(own) == []


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (Answer(body=b"<!doctype html><title>Log in</title>"), 5, "a web page"),
        (Answer(body=b"\x1c\0\0\0TFL3 another"), 5, FRONT.sha256),
        (Answer(status=404), 4, "under none of its names"),
        (Answer(stall=-1), 4, "said nothing for 0.5 s"),
    ],
)
def test_a_bad_server(server: FileServer, own: Path, answer: Answer, code: int, says: str) -> None:
    server.otherwise = answer
    words = ("pull", FRONT.name, "--mirror", f"{server.url}/m", "--timeout", "0.5")
    assert says in edge_fer(*words, own=own, code=code).stderr
    assert names(own) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_had_come(
    server: FileServer, front: bytes, own: Path, number: signal.Signals
) -> None:
    server.script = [Answer(status=404), Answer(stall=200_000)]
    words = ["pull", FRONT.name, "--mirror", f"{server.url}/m"]
    part = own / f"{FRONT.file_name}.part"
    with subprocess.Popen(
        [*EDGE_FER, "models", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(own),
    ) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == 200_000):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    assert "Traceback" not in err
    error = json.loads(out)["error"]
    assert "200,000 of 423,256 bytes" in error["message"]
    assert names(own) == [part.name]
    assert part.read_bytes() == front[:200_000]

    remedy = error["remedy"].split("edge-fer models ")[1].split()
    assert remedy == words
    server.script = [Answer(status=404)]
    (row,) = edge_fer_json(*remedy, own=own)["models"]
    assert row["resumed_at"] == 200_000
    assert server.ranges[-1] == "bytes=200000-"
    assert names(own) == [FRONT.file_name]


def test_pulls_at_the_same_time(server: FileServer, front: bytes, own: Path) -> None:
    """Processes of their own, each started before the first one is done."""
    server.files = {f"m/{FRONT.file_name}": front}
    server.otherwise = Answer(pace_s=0.03)
    command = [*EDGE_FER, "models", "pull", FRONT.name, "--mirror", f"{server.url}/m", "--json"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(own))
        for _ in range(3)
    ]
    rows = [json.loads(process.communicate(timeout=60)[0])["models"][0] for process in running]
    assert sorted(row["status"] for row in rows) == ["present", "present", "pulled"]
    assert len(server.requests) == 1
    assert names(own) == [FRONT.file_name]
    assert (own / FRONT.file_name).read_bytes() == front


@pytest.mark.parametrize("by", ["mirror folder", "server"])
def test_a_file_size_limit_stands_for_a_full_disk(
    server: FileServer, shared: Path, own: Path, by: str
) -> None:
    mirror = str(shared / "models") if by == "mirror folder" else f"{server.url}/m"
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from edge_fer.cli import main\n"
        f"main(['models', 'pull', {FRONT.name!r}, '--mirror', {mirror!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, env=environment(own),
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "could not be written" in done.stderr
    assert "--to DIR" in done.stderr
    assert names(own) == []


def in_own_mounts(script: str, own: Path) -> subprocess.CompletedProcess[str]:
    """A shell that may mount what nobody else sees; skips where that is not allowed."""
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("mounting needs root and unshare")
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment(own, {"PYTHON": sys.executable}),
    )


PULL = '"$PYTHON" -c "from edge_fer.cli import main; main()" models pull blazeface-front'


def test_a_full_disk(server: FileServer, own: Path) -> None:
    done = in_own_mounts(
        "mount -t tmpfs -o size=256k tmpfs /mnt && "
        f"{PULL} --mirror {server.url}/m --to /mnt; echo $?; ls /mnt; df --output=used /mnt",
        own,
    )
    assert "No space left on device" in done.stderr
    assert done.stdout.split() == ["4", "Used", "0"]


def test_a_folder_for_the_whole_machine(shared: Path, own: Path) -> None:
    done = in_own_mounts(
        "mount -t tmpfs tmpfs /var/lib && "
        f"{PULL} --mirror {shared}/models --to /var/lib/edge-fer/models --quiet && {PULL} && "
        f"{PULL.replace('pull', 'show')}",
        own,
    )
    assert done.returncode == 0, done.stderr
    assert "here already, and right: /var/lib/edge-fer/models/blazeface-front.tflite" in done.stdout
    assert "decoder: anchors" in done.stdout
    assert names(own) == []


def test_a_folder_that_may_not_be_written(shared: Path, own: Path) -> None:
    done = in_own_mounts(
        f"mount -t tmpfs -o ro tmpfs /mnt && {PULL} --mirror {shared}/models --to /mnt; echo $?",
        own,
    )
    assert done.stdout == "4\n"
    assert "Read-only file system" in done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that only this test trusts."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    path = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", path, "-out", tmp_path / "certificate.pem", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + (tmp_path / "certificate.pem").read_bytes())
    return path


def test_https_is_checked_and_not_left(
    server: FileServer, front: bytes, own: Path, certificate: Path
) -> None:
    trusted = {"SSL_CERT_FILE": str(certificate)}
    with FileServer({f"m/{FRONT.file_name}": front}, certificate=certificate) as secure:
        words = ("pull", FRONT.name, "--mirror", f"{secure.url}/m")
        assert "timedatectl" in edge_fer(*words, own=own, code=4).stderr
        secure.script = [
            Answer(status=302, headers=(("Location", f"{server.url}/m/{FRONT.official_name}"),))
        ]
        assert "not safe" in edge_fer(*words, own=own, code=4, extra=trusted).stderr
        assert server.requests == []
        assert names(own) == []
        edge_fer(*words, own=own, extra=trusted)
    assert (own / FRONT.file_name).read_bytes() == front


def test_help_has_an_example_and_says_what_copies_are_called(own: Path) -> None:
    text = " ".join(edge_fer("pull", "--help", own=own).stdout.split())
    assert "Example: edge-fer models pull" in text
    assert "NAME.tflite" in text
