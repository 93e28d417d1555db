"""The local page's server: who may ask, what they get, and that nobody slows the writer."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.records import Record
from edge_fer.sinks import check_writer
from edge_fer.sinks.sse import SseWriter
from edge_fer.sinks.sse_ring import Ring

TEXTS = {"operator": "City <Museum>", "purpose": "Counting", "notice": 'Read "this" & ask {{x}}'}


def record(seq: int, pad: int = 0) -> Record:
    return Record.of({"schema": "edge-fer/observation/1", "seq": seq, "faces": [], "p": "x" * pad})


@pytest.fixture
def writer() -> Iterator[SseWriter]:
    with closing(SseWriter("sse://127.0.0.1:0", device="Lobby", texts=TEXTS)) as opened:
        yield opened


def wait_for(condition: Callable[[], Any], what: str) -> None:
    by = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < by, f"never: {what}"
        time.sleep(0.01)


@contextmanager
def asking(
    writer: SseWriter, path: str, method: str = "GET", host: str | None = None, **headers: str
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", writer.port, timeout=20)
    with closing(connection):
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or f"127.0.0.1:{writer.port}")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        with closing(connection.getresponse()) as response:
            yield response


def status(writer: SseWriter, path: str, **headers: Any) -> int:
    with asking(writer, path, **headers) as response:
        return response.status


def events(response: http.client.HTTPResponse, count: int) -> list[tuple[int, dict[str, Any]]]:
    found: list[tuple[int, dict[str, Any]]] = []
    number = -1
    while len(found) < count:
        line = response.readline().decode().rstrip("\n")
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            found.append((number, json.loads(line[6:])))
    return found


def test_every_record_is_an_event_with_its_number(writer: SseWriter) -> None:
    with asking(writer, "/events") as response:
        assert response.status == 200
        assert response.getheader("Content-Type") == "text/event-stream"
        assert response.getheader("Access-Control-Allow-Origin") is None
        wait_for(lambda: writer.status()["clients"] == 1, "a client")
        writer.write([record(7), record(8)])
        writer.write([record(9)])
        writer.sync()
        assert events(response, 3) == [(n, dict(record(n).document)) for n in (7, 8, 9)]

    # Somebody who hung up is noticed at the next events.
    def gone() -> bool:
        writer.write([record(10)])
        return writer.status()["clients"] == 0

    wait_for(gone, "nobody")


def test_a_reader_that_comes_back_gets_what_it_missed_and_a_new_one_the_newest(
    writer: SseWriter,
) -> None:
    writer.write([record(n) for n in range(1000)])
    with asking(writer, "/events") as response:
        assert events(response, 1)[0][0] == 999
    with asking(writer, "/events", Last_Event_ID="995") as response:
        assert [n for n, _ in events(response, 4)] == [996, 997, 998, 999]
    with asking(writer, "/events", Last_Event_ID="3") as response:
        assert events(response, 1)[0][0] == 1000 - 256
    for nonsense in ("1000000", "-1", "abc", "9" * 100):
        with asking(writer, "/events", Last_Event_ID=nonsense) as response:
            assert events(response, 1)[0][0] == 999
    with asking(writer, "/events", Last_Event_ID="999") as response:
        writer.write([record(1000)])
        assert events(response, 1)[0][0] == 1000


@pytest.mark.parametrize("path", ["/", "/events", "/health"])
def test_only_a_loopback_name_with_our_port_is_answered(writer: SseWriter, path: str) -> None:
    port = writer.port
    writer.write([record(0)])
    writer.watch(lambda: {"state": "running"})
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert status(writer, path, host=host) == 200
    for host in (
        "",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        f"localhost.:{port}",
    ):
        assert status(writer, path, host=host) == 403, host


def test_two_hosts_are_one_too_many(writer: SseWriter) -> None:
    own = f"127.0.0.1:{writer.port}"
    with closing(socket.create_connection(("127.0.0.1", writer.port), timeout=20)) as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("path", ["/", "/events", "/health"])
def test_other_origins_are_refused(writer: SseWriter, path: str) -> None:
    writer.write([record(0)])
    writer.watch(lambda: {"state": "running"})
    own = f"http://localhost:{writer.port}"
    assert status(writer, path, Origin=own) == 200
    for origin in ("http://evil.example", "null", "http://localhost:1", own + ".evil.example"):
        assert status(writer, path, Origin=origin) == 403, origin
    assert status(writer, path, Sec_Fetch_Site="same-origin") == 200
    assert status(writer, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
    # Following a link to the page is no reading of it.
    followed = status(writer, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert followed == (200 if path == "/" else 403)


def test_one_other_origin_can_be_allowed() -> None:
    uri = "sse://127.0.0.1:0?allow_origin=http://localhost:3000"
    with closing(SseWriter.open(uri)) as writer:
        writer.write([record(0)])
        with asking(writer, "/health", Origin="http://localhost:3000") as response:
            assert response.status == 200
            assert response.getheader("Access-Control-Allow-Origin") == "http://localhost:3000"
            assert response.getheader("Vary") == "Origin"
        assert status(writer, "/health", Origin="http://localhost:3001") == 403


def test_health_follows_the_status(writer: SseWriter) -> None:
    assert status(writer, "/health") == 503  # nothing came yet
    writer.write([record(0)])
    with asking(writer, "/health") as response:
        assert response.status == 200
        document = json.load(response)
    assert document["schema"] == "edge-fer/health/1"
    assert (document["ok"], document["state"]) == (True, "running")
    for said, expected in (
        ({"state": "running", "camera": {"state": "streaming"}, "fps": 20.0}, 200),
        ({"state": "running", "camera": None}, 200),
        ({"state": "running", "camera": {"state": "stalled"}}, 503),
        ({"state": "camera_away", "camera": {"state": "away"}}, 503),
        ({"state": "stopping"}, 503),
        ({}, 503),
    ):
        writer.watch(lambda said=said: said)  # type: ignore[misc]
        assert status(writer, "/health") == expected, said


def test_the_seventeenth_reader_is_refused_until_one_leaves(writer: SseWriter) -> None:
    with ExitStack() as readers:
        responses = [readers.enter_context(asking(writer, "/events")) for _ in range(16)]
        assert [r.status for r in responses] == [200] * 16
        with asking(writer, "/events") as response:
            assert response.status == 503
            assert "16" in json.load(response)["error"]
        assert status(writer, "/") == 200  # the page itself is still there
        writer.write([record(5)])
        assert [events(r, 1)[0][0] for r in responses] == [5] * 16

    def room() -> bool:
        writer.write([record(6)])
        return writer.status()["clients"] == 0

    wait_for(room, "room again")
    assert status(writer, "/events") == 200


def test_a_reader_that_reads_nothing_loses_old_events_and_slows_nobody(writer: SseWriter) -> None:
    last, seen = 3000, list[int]()

    def read(response: http.client.HTTPResponse) -> None:
        while not seen or seen[-1] != last:
            seen.append(events(response, 1)[0][0])

    with closing(socket.create_connection(("127.0.0.1", writer.port), timeout=20)) as slow:
        slow.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{writer.port}\r\n\r\n".encode())
        with asking(writer, "/events") as quick:
            wait_for(lambda: writer.status()["clients"] == 2, "two clients")
            reader = threading.Thread(target=read, args=(quick,))
            reader.start()
            # Many times what the sockets between us can hold (some megabytes).
            for n in range(last + 1):
                writer.write([record(n, pad=8000)])
            reader.join()
        assert seen == sorted(set(seen))
        data = b""
        while f'"seq":{last}'.encode() not in data:
            chunk = slow.recv(1 << 20)
            assert chunk
            data += chunk
    got = [int(n) for n in re.findall(rb"^id: (\d+)$", data, re.MULTILINE)]
    assert got == sorted(set(got))
    assert len(got) < last - 200

    def missed() -> bool:
        writer.write([record(9999)])
        return bool(writer.status()["missed"] >= last + 1 - len(got))

    wait_for(missed, "missed events are counted")


def test_the_page_holds_the_texts_as_text_and_allows_nothing_from_elsewhere(
    writer: SseWriter,
) -> None:
    with asking(writer, "/") as response:
        assert response.status == 200
        policy = response.getheader("Content-Security-Policy") or ""
        assert response.getheader("Cache-Control") == "no-store"
        page = response.read().decode()
    assert "City &lt;Museum&gt;" in page
    assert "Read &quot;this&quot; &amp; ask" in page
    assert "<title>Lobby</title>" in page
    assert not [w for w in ("http://", "https://", "//cdn", "@import", "url(") if w in page]
    assert policy.startswith("default-src 'none';")
    assert "'unsafe-inline'" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_head_and_unknown_paths_and_methods(writer: SseWriter) -> None:
    with asking(writer, "/", method="HEAD") as response:
        assert (response.status, response.read()) == (200, b"")
        assert int(response.getheader("Content-Length") or 0) > 5000
    assert status(writer, "/events", method="HEAD") == 200
    for path in ("/frame.jpg", "/../etc/passwd", "/page.html", "/events/"):
        assert status(writer, path) == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert status(writer, "/", method=method) == 501, method


def test_rubbish_on_the_wire_ends_that_connection_only(writer: SseWriter) -> None:
    for rubbish in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\xff" * 70_000 + b"\r\n\r\n"):
        with closing(socket.create_connection(("127.0.0.1", writer.port), timeout=20)) as raw:
            raw.sendall(rubbish)
            raw.shutdown(socket.SHUT_WR)
    assert status(writer, "/") == 200


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sse://0.0.0.0:8765", "this machine alone"),
        ("sse://192.168.1.5:8765", "this machine alone"),
        ("sse://kiosk.local:8765", "this machine alone"),
        ("sse://[::]:8765", "this machine alone"),
        ("sse://:8765", "this machine alone"),
        ("sse://127.0.0.1", "not sse://127.0.0.1:PORT"),
        ("sse:8765", "not sse://127.0.0.1:PORT"),
        ("sse://127.0.0.1:8765/page", "not sse://127.0.0.1:PORT"),
        ("sse://a@127.0.0.1:8765", "not sse://127.0.0.1:PORT"),
        ("sse://127.0.0.1:99999", "Port out of range"),
        ("sse://127.0.0.1:1?allow_origin=*", "allow_origin cannot be"),
        ("sse://127.0.0.1:1?allow_origin=http://a/b", "allow_origin cannot be"),
        ("sse://127.0.0.1:1?allow_origin=http://a;script-src", "allow_origin cannot be"),
        ("sse://127.0.0.1:1?replay=0", "replay cannot be"),
        ("sse://127.0.0.1:1?frames=1", "no option"),
    ],
)
def test_bad_addresses(uri: str, words: str) -> None:
    for read in (SseWriter.open, check_writer):
        with pytest.raises(ConfigError, match=words):
            read(uri)


def test_a_port_that_is_taken(writer: SseWriter) -> None:
    with pytest.raises(DeviceError, match="cannot be opened") as caught:
        SseWriter(f"sse://127.0.0.1:{writer.port}")
    assert "ss -ltnp" in caught.value.remedy


def test_closing_ends_every_thread_whoever_is_connected() -> None:
    before = threading.active_count()
    writer = SseWriter("sse://localhost:0")
    with closing(socket.create_connection(("127.0.0.1", writer.port), timeout=20)):
        with asking(writer, "/events") as response:
            assert response.status == 200
            writer.close()
            assert response.readline() in (b"retry: 1000\n", b"")
        writer.close()
    wait_for(lambda: threading.active_count() == before, "all threads have ended")
    assert (writer.bytes_written, writer.backlog) == (0, 0)


def test_a_ring_keeps_places_across_what_it_loses() -> None:
    ring = Ring(4)
    ring.add((n, b"%d" % n) for n in range(3))
    follower = ring.follow(None)
    assert follower.next(0) == [b"2"]
    ring.add((n, b"%d" % n) for n in range(3, 10))
    assert follower.next(0) == [b"6", b"7", b"8", b"9"]
    assert follower.missed == 3
    assert follower.next(0) == []
    # A restarted service counts from zero again: the newest it is.
    assert ring.follow(50).next(0) == [b"9"]
    ring.add([(0, b"0")])
    assert ring.follow(50).next(0) == [b"0"]
    ring.close()
    assert follower.next(0) == [b"0"]
    assert follower.next(0) is None
