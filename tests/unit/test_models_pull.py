"""Pulling models: what a server, a disk or a mirror can do, and what is left of it."""

from __future__ import annotations

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import numpy as np
import pytest
from file_server import Answer, FileServer

from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, ModelError
from edge_fer.graphfile import read_graph
from edge_fer.models import find, load, shipped
from edge_fer.models.catalogue import CATALOGUE, Entry, contract_of
from edge_fer.models.download import Patience, SafeRedirects
from edge_fer.models.folders import SYSTEM, folders, own_folder, pulled
from edge_fer.models.pulling import Pulled, Watcher, entries, pull

DATA = b"\x1c\0\0\0TFL3" + np.random.default_rng(5).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])
QUICK = Patience(timeout_s=5, attempts=4, backoff_s=0.01)
ONCE = Patience(timeout_s=5, attempts=1)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, not there yet."""
    monkeypatch.setenv("EDGE_FER_MODELS", str(tmp_path / "own"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "own"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"official/tiny_v1.tflite": DATA}) as running:
        yield running


@pytest.fixture
def tiny(server: FileServer) -> Entry:
    return entry_at(f"{server.url}/official/tiny_v1.tflite")


def entry_at(url: str) -> Entry:
    return Entry(
        name="tiny",
        url=url,
        sha256=SHA256,
        size=len(DATA),
        release="tiny_2026.tflite",
        licence="MIT",
        description="",
    )


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def check(done: Pulled, own: Path) -> None:
    assert done.path == own / "tiny.tflite"
    assert done.path.read_bytes() == DATA
    assert names(own) == ["tiny.tflite"]


# A good server


def test_a_whole_file(server: FileServer, tiny: Entry, own: Path) -> None:
    seen: list[int] = []
    done = pull(tiny, watcher=Watcher(bytes=seen.append))
    check(done, own)
    assert (done.source, done.resumed_at) == (tiny.url, 0)
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)
    assert server.requests == [("official/tiny_v1.tflite", None)]


def test_what_is_there_and_right_needs_no_network(tiny: Entry, own: Path) -> None:
    own.mkdir()
    (own / "tiny.tflite").write_bytes(DATA)
    done = pull(entry_at("http://127.0.0.1:9/nobody.tflite"))
    check(done, own)
    assert done.source is None
    check(pull(tiny, force=True), own)


def test_force_pulls_again(server: FileServer, tiny: Entry, own: Path) -> None:
    pull(tiny)
    assert pull(tiny, force=True).source == tiny.url
    assert len(server.requests) == 2


@pytest.mark.parametrize("data", [OTHER, DATA[:1000], b""])
def test_another_file_of_its_name_stays_until_forced(
    server: FileServer, tiny: Entry, own: Path, data: bytes
) -> None:
    own.mkdir()
    target = own / "tiny.tflite"
    target.write_bytes(data)
    with pytest.raises(ModelError, match="edge-fer models pull tiny --force") as caught:
        pull(tiny)
    assert hashlib.sha256(data).hexdigest() in str(caught.value)
    assert target.read_bytes() == data
    assert server.requests == []
    check(pull(tiny, force=True), own)


def test_to_another_folder(tiny: Entry, own: Path, tmp_path: Path) -> None:
    pull(tiny)
    done = pull(tiny, to=tmp_path / "deep" / "er")
    assert done.path.read_bytes() == DATA
    assert done.source == tiny.url  # what lies in the own folder is no answer here
    assert done.path.parent == tmp_path / "deep" / "er"


def test_a_redirect_is_followed(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(status=302, headers=(("Location", "/official/tiny_v1.tflite"),))]
    moved = replace(tiny, url=f"{server.url}/moved.tflite")
    check(pull(moved), own)
    assert [path for path, _ in server.requests] == ["moved.tflite", "official/tiny_v1.tflite"]


@pytest.mark.parametrize(
    ("come_from", "lead_to", "safe"),
    [
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "ftp://a.example/x", False),
        ("http://a.example/x", "ftp://a.example/x", False),
        ("https://a.example/x", "https://b.example/x", True),
        ("http://a.example/x", "https://a.example/x", True),
        ("http://a.example/x", "http://b.example/x", True),
    ],
)
def test_no_redirect_leaves_https(come_from: str, lead_to: str, safe: bool) -> None:
    asked = Request(come_from)  # noqa: S310  (nothing is opened)

    def follow() -> Request | None:
        return SafeRedirects().redirect_request(
            asked, BytesIO(), 302, "Found", HTTPMessage(), lead_to
        )

    if safe:
        request = follow()
        assert request is not None
        assert request.full_url == lead_to
    else:
        with pytest.raises(DeviceError, match="not safe"):
            follow()


# Cut connections


def test_a_cut_connection_is_gone_on_with(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(cut=100_000), Answer(cut=50_000)]
    lines: list[str] = []
    check(pull(tiny, patience=QUICK, watcher=Watcher(say=lines.append)), own)
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert [line for line in lines if "100,000 of 300,008" in line]


def test_the_next_pull_goes_on_from_there(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(cut=123_456)]
    with pytest.raises(DeviceError, match=r"after 123,456 of 300,008 bytes.*goes on from there"):
        pull(tiny, patience=ONCE)
    assert names(own) == ["tiny.tflite.part"]
    assert (own / "tiny.tflite.part").read_bytes() == DATA[:123_456]
    done = pull(tiny)
    check(done, own)
    assert done.resumed_at == 123_456
    assert server.ranges == [None, "bytes=123456-"]


def test_it_gives_up_after_the_last_attempt(server: FileServer, tiny: Entry, own: Path) -> None:
    server.otherwise = Answer(cut=10)
    with pytest.raises(DeviceError, match="after 40 of 300,008 bytes"):
        pull(tiny, patience=QUICK)
    assert len(server.requests) == QUICK.attempts


def test_a_server_without_ranges_starts_over(server: FileServer, tiny: Entry, own: Path) -> None:
    server.otherwise = Answer(ranges=False)
    server.script = [Answer(cut=200_000, ranges=False)]
    check(pull(tiny, patience=QUICK), own)
    assert server.ranges == [None, "bytes=200000-"]


def test_another_range_than_asked_for_is_not_put_in(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.script = [Answer(cut=100_000), Answer(shift=7)]
    check(pull(tiny, patience=QUICK), own)
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_range_that_the_server_does_not_have(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(cut=100_000), Answer(status=416)]
    check(pull(tiny, patience=QUICK), own)
    assert server.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize("left", [OTHER[:50] + b"?" * 50, OTHER, DATA + b"more", DATA])
def test_what_was_left_may_be_anything(
    server: FileServer, tiny: Entry, own: Path, left: bytes
) -> None:
    own.mkdir()
    (own / "tiny.tflite.part").write_bytes(left)
    check(pull(tiny, patience=ONCE), own)
    assert len(server.requests) == {100: 2, len(DATA): int(left != DATA)}.get(len(left), 1)


@pytest.mark.parametrize("cut", [None, 100_000])
def test_a_server_that_states_no_length(
    server: FileServer, tiny: Entry, own: Path, cut: int | None
) -> None:
    server.script = [Answer(length=False, cut=cut)]
    check(pull(tiny, patience=QUICK), own)
    assert len(server.requests) == (1 if cut is None else 2)


def test_a_server_that_keeps_the_connection_open(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.script = [Answer(keep_open=True)]
    begin = time.monotonic()
    check(pull(tiny, patience=ONCE), own)
    assert time.monotonic() - begin < ONCE.timeout_s / 2


def test_a_busy_server_is_asked_again(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(status=503), Answer(status=429)]
    check(pull(tiny, patience=QUICK), own)


# Servers that have something else


def test_a_wrong_hash_leaves_nothing_and_says_both(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.files["official/tiny_v1.tflite"] = OTHER
    with pytest.raises(ModelError) as caught:
        pull(tiny, patience=QUICK)
    assert SHA256 in caught.value.message
    assert hashlib.sha256(OTHER).hexdigest() in caught.value.message
    assert names(own) == []
    assert len(server.requests) == 1


def test_a_wrong_file_does_not_replace_a_right_one(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    pull(tiny)
    server.files["official/tiny_v1.tflite"] = OTHER
    with pytest.raises(ModelError, match="is not the published tiny"):
        pull(tiny, force=True)
    check(pull(tiny), own)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "0 bytes"),
        (DATA[:1000], "1,000 bytes"),
        (DATA + b"x", "300,009 bytes"),
        (DATA * 5, "sends more than"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html>Log in</html>", "a web page instead"),
        (b"<html>" + b" " * (len(DATA) - 6), "a web page instead"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:8f", "a Git LFS pointer"),
    ],
)
def test_another_file_is_refused(
    server: FileServer, tiny: Entry, own: Path, body: bytes, says: str
) -> None:
    server.otherwise = Answer(body=body)
    with pytest.raises(ModelError, match=says):
        pull(tiny, patience=QUICK)
    assert names(own) == []
    assert len(server.requests) == 1


def test_a_log_in_page_does_not_cost_what_had_come(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.script = [Answer(cut=100_000), Answer(body=b"<html>Log in</html>", ranges=False)]
    with pytest.raises(ModelError, match="a web page"):
        pull(tiny, patience=QUICK)
    assert pull(tiny).resumed_at == 100_000


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_served(server: FileServer, tiny: Entry, own: Path, status: int) -> None:
    server.otherwise = Answer(status=status)
    with pytest.raises(DeviceError, match=f"HTTP {status}"):
        pull(tiny, patience=QUICK)
    assert names(own) == []
    assert len(server.requests) == 1


# No server


def test_a_refused_connection_is_said_at_once(own: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(DeviceError, match=r"cannot be reached: Connection refused.*--mirror"):
        pull(entry_at(f"http://127.0.0.1:{port}/x.tflite"), patience=Patience(backoff_s=5))
    assert time.monotonic() - begin < 4
    assert names(own) == []


def test_no_such_host(own: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be reached"):
        pull(entry_at("http://no-such-host.invalid/x.tflite"), patience=QUICK)


def test_a_silent_server(server: FileServer, tiny: Entry, own: Path) -> None:
    server.otherwise = Answer(stall=-1)
    with pytest.raises(DeviceError, match=r"said nothing for 0.2 s \(--timeout\)"):
        pull(tiny, patience=Patience(timeout_s=0.2))
    assert names(own) == []
    assert len(server.requests) == 1


def test_a_server_that_falls_silent(server: FileServer, tiny: Entry, own: Path) -> None:
    server.script = [Answer(stall=70_000)]
    check(pull(tiny, patience=replace(QUICK, timeout_s=0.3)), own)
    assert server.ranges == [None, "bytes=70000-"]


def test_what_does_not_speak_http(own: Path) -> None:
    def talk(listening: socket.socket) -> None:
        for _ in range(QUICK.attempts):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=talk, args=(listening,))
        thread.start()
        with pytest.raises(DeviceError, match="220 mail"):
            pull(
                entry_at(f"http://127.0.0.1:{listening.getsockname()[1]}/x.tflite"), patience=QUICK
            )
        thread.join()
    assert names(own) == []


# Mirrors


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("name", ["tiny.tflite", "tiny_v1.tflite", "tiny_2026.tflite"])
def test_a_mirror_by_address(
    server: FileServer, tiny: Entry, own: Path, name: str, slash: str
) -> None:
    server.files = {f"some/models/{name}": DATA}
    done = pull(tiny, mirror=f"{server.url}/some/models{slash}", patience=QUICK)
    check(done, own)
    assert done.source == f"{server.url}/some/models/{name}"
    assert server.requests[0] == ("some/models/tiny.tflite", None)


def test_a_mirror_without_it_names_what_was_tried(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.files = {}
    with pytest.raises(DeviceError, match=r"tiny\.tflite, tiny_v1\.tflite, tiny_2026\.tflite"):
        pull(tiny, mirror=server.url)
    assert names(own) == []


@pytest.mark.parametrize(
    "mirror",
    ["ftp://a.example/x", "http://", "https://me:secret@a.example/x", "file:///media/usb"],
)
def test_an_address_that_is_none(tiny: Entry, own: Path, mirror: str) -> None:
    with pytest.raises(ConfigError, match="neither a folder nor"):
        pull(tiny, mirror=mirror)
    assert names(own) == []


def test_a_port_that_is_none(tiny: Entry, own: Path) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        pull(tiny, mirror="http://127.0.0.1:port")


@pytest.mark.parametrize(
    "name", ["tiny.tflite", "tiny_v1.tflite", "tiny_2026.tflite", "whatever it is"]
)
def test_a_mirror_folder(tiny: Entry, own: Path, tmp_path: Path, name: str) -> None:
    mirror = tmp_path / "usb"
    mirror.mkdir()
    (mirror / "same size").write_bytes(OTHER)
    (mirror / name).write_bytes(DATA)
    done = pull(tiny, mirror=str(mirror))
    check(done, own)
    assert done.source == str(mirror / name)


def test_a_mirror_folder_with_a_wrong_file(tiny: Entry, own: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.tflite").write_bytes(OTHER)
    with pytest.raises(ModelError, match=SHA256) as caught:
        pull(tiny, mirror=str(tmp_path))
    assert hashlib.sha256(OTHER).hexdigest() in str(caught.value)
    assert names(own) == []


def test_a_mirror_folder_without_it(tiny: Entry, own: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="does not hold tiny"):
        pull(tiny, mirror=str(tmp_path))
    with pytest.raises(DeviceError, match="could not be read"):
        pull(tiny, mirror=str(tmp_path / "none"))
    assert names(own) == []


# This machine


def test_a_folder_that_cannot_be_made(tiny: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for folder in (Path("/proc/edge-fer"), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DeviceError, match="could not be written"):
            pull(tiny, to=folder)


def test_a_folder_in_its_place(tiny: Entry, own: Path) -> None:
    (own / "tiny.tflite").mkdir(parents=True)
    with pytest.raises(DeviceError, match="is not a file"):
        pull(tiny)


def test_two_pulls_of_one_model_download_it_once(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.otherwise = Answer(pace_s=0.004)
    lines: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(pull, tiny, watcher=Watcher(say=lines.append)) for _ in range(4)]
        results = [job.result() for job in jobs]
    for done in results:
        check(done, own)
    assert sorted(done.source is None for done in results) == [False, True, True, True]
    assert len(server.requests) == 1
    assert lines == ["tiny is being pulled already; waiting for that."] * 3


def test_a_forced_pull_that_waited_has_a_part_of_its_own(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    """What it waited for is the model by then, and not to be written to."""
    server.otherwise = Answer(pace_s=0.004)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(pull, tiny, force=True) for _ in range(2)]
        results = [job.result() for job in jobs]
    for done in results:
        check(done, own)
    assert server.ranges == [None, None]


def test_a_waiting_pull_takes_over_when_the_first_one_fails(
    server: FileServer, tiny: Entry, own: Path
) -> None:
    server.script = [Answer(cut=100_000, pace_s=0.004)]
    server.otherwise = Answer()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(pull, tiny, patience=ONCE) for _ in range(2)]
        failed = [job.exception() for job in jobs]
    assert sorted(str(type(err).__name__) for err in failed) == ["DeviceError", "NoneType"]
    assert server.ranges == [None, "bytes=100000-"]
    assert names(own) == ["tiny.tflite"]


# Names and folders


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean blazeface-full\?"):
        entries(["yunet", "blazeface-fill"])
    with pytest.raises(ConfigError, match="Known: blazeface-full"):
        entries(["zzz"])
    assert [e.name for e in entries(["yunet", "blazeface-front", "yunet"])] == [
        "yunet",
        "blazeface-front",
    ]


def test_where_the_folders_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders() == (tmp_path / "own", SYSTEM)
    monkeypatch.setenv("EDGE_FER_MODELS", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert own_folder() == tmp_path / "data" / "edge-fer" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert own_folder() == tmp_path / "home" / ".local" / "share" / "edge-fer" / "models"


def test_a_pulled_model_is_found_by_name(own: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="edge-fer models pull blazeface-full"):
        find("blazeface-full")
    own.mkdir()
    for name in ("blazeface-full.tflite", "yunet.onnx", "mine.tflite", "part.tflite.part", "a.txt"):
        (own / name).write_bytes(DATA)
    assert pulled() == {
        "blazeface-full": own / "blazeface-full.tflite",
        "mine": own / "mine.tflite",
        "yunet": own / "yunet.onnx",
    }
    assert find("blazeface-full") == own / "blazeface-full.tflite"
    assert find("yunet") == own / "yunet.onnx"
    with pytest.raises(ModelError, match=r"Did you mean blazeface-front\?"):
        find("blazeface-frond")


def test_a_shipped_name_stays_what_it_is(own: Path) -> None:
    own.mkdir()
    (own / "expression.tflite").write_bytes(DATA)
    assert find("expression") == shipped()["expression"]


# The catalogue


def test_every_entry_is_pinned_and_says_what_it_is() -> None:
    assert list(CATALOGUE) == ["blazeface-full", "blazeface-front", "yunet"]
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.url.startswith("https://")
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert len({*entry.mirror_names}) == 3
        assert entry.licence
        assert entry.description
    assert CATALOGUE["yunet"].file_name == "yunet.onnx"
    assert "WIDER FACE" in CATALOGUE["yunet"].caveat
    assert contract_of(CATALOGUE["yunet"].sha256) is None
    assert contract_of("0" * 64) is None


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_the_real_files_come_from_a_folder(name: str, shared: Path, own: Path) -> None:
    done = pull(CATALOGUE[name], mirror=str(shared / "models"))
    assert done.path == find(name)
    assert done.path.stat().st_size == CATALOGUE[name].size


@pytest.mark.parametrize("name", ["blazeface-full", "blazeface-front"])
def test_a_blazeface_file_gets_a_contract_that_fits_its_graph(
    name: str, shared: Path, own: Path
) -> None:
    pull(CATALOGUE[name], mirror=str(shared / "models"))
    model = load(name)
    contract = model.contract
    assert (contract.task, contract.labels) == ("face-detection", ("face",))
    assert model.sha256 == model.flatbuffer_sha256 == CATALOGUE[name].sha256
    assert contract.provenance["source"] == CATALOGUE[name].url
    spec, detection = contract.input, contract.detection
    assert np.array([0, 255]) * spec.scale[0] + spec.offset[0] == pytest.approx([-1, 1])
    assert detection is not None
    count = sum(
        (spec.width // stride) ** 2 * anchors
        for stride, anchors in zip(detection.strides, detection.anchors, strict=True)
    )
    shapes = {line.shape for line in read_graph(model.flatbuffer).lines}
    assert (1, count, 1) in shapes
    assert (1, count, 4 + 2 * len(detection.keypoints)) in shapes
    # The same file under any name is the same model.
    elsewhere = own / "copy.tflite"
    shutil.copy(model.path, elsewhere)
    assert load(elsewhere).contract == contract


def test_load_reads_shipped_models_and_paths(tmp_path: Path) -> None:
    assert load("expression").contract.task == "expression-frame"
    path = tmp_path / "x.tflite"
    shutil.copy(find("expression"), path)
    assert load(str(path)).sha256 == load("expression").sha256
    with pytest.raises(ModelError, match="There is no model at"):
        load(tmp_path / "none.tflite")
    with pytest.raises(ModelError, match="There is no model at"):
        load(tmp_path)


def test_a_pulled_file_that_was_damaged_says_how_to_mend_it(shared: Path, own: Path) -> None:
    entry = CATALOGUE["blazeface-front"]
    path = pull(entry, mirror=str(shared / "models")).path
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="edge-fer models pull blazeface-front --force"):
        load("blazeface-front")
    pull(entry, mirror=str(shared / "models"), force=True)
    assert load("blazeface-front").contract.detection


def test_yunet_is_no_model_for_a_classifier(shared: Path, own: Path) -> None:
    pull(CATALOGUE["yunet"], mirror=str(shared / "models"))
    with pytest.raises(ModelError, match="--detector yunet") as caught:
        load("yunet")
    assert isinstance(caught.value, EdgeFerError)


def test_a_pulled_yunet_is_checked_by_its_hash(
    shared: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_fer.cli.models import verify
    from edge_fer.detectors import open_detector

    again = "edge-fer models pull yunet --force"
    with pytest.raises(ModelError, match="edge-fer models pull yunet"):
        verify(["yunet"])
    path = pull(CATALOGUE["yunet"], mirror=str(shared / "models")).path
    verify(["yunet"], json=False)
    assert "yunet: good" in capsys.readouterr().out
    verify(["yunet"], json=True)
    assert CATALOGUE["yunet"].sha256 in capsys.readouterr().out
    open_detector("yunet").close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for use in (lambda: verify(["yunet"]), lambda: open_detector("yunet")):
        with pytest.raises(ModelError, match=again):
            use()
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelError):
        open_detector("yunet")


def test_a_file_without_a_contract_that_nobody_knows(own: Path, tmp_path: Path) -> None:
    own.mkdir()
    for path in (own / "mine.tflite", tmp_path / "blazeface-full.tflite"):
        path.write_bytes(DATA)
        with pytest.raises(ModelError) as caught:
            load(path)
        assert "pull" not in str(caught.value)
