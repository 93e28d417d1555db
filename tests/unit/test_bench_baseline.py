"""Reading earlier results, and publishing one without saying whose machine it was."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_samples import COMPUTER, PI, accuracy, report, run
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.errors import ConfigError, DataError
from edge_fer.machine import Reading
from edge_fer_bench.compare import documents
from edge_fer_bench.compare.baseline import (
    check_may_publish,
    check_published,
    file_name,
    main,
    publish,
    read_baseline,
    stamp_of,
)
from edge_fer_bench.compare.reading import leaves
from edge_fer_bench.compare.redaction import own_names, redact
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.report.report import SCHEMA
from edge_fer_bench.timing.protocol import P99_FRAMES

LONG = run([10.0 + i % 7 for i in range(P99_FRAMES)])


def document(**changes: Any) -> dict[str, Any]:
    """As JSON gives it back: lists, no tuples."""
    whole = report(**{"run": LONG, **changes}).to_json()
    back: dict[str, Any] = json.loads(json.dumps(whole))
    return back


def written(folder: Path, content: object, name: str = "before.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def without(content: dict[str, Any], field: str) -> dict[str, Any]:
    """A copy that lacks ``a.b.c``."""
    changed = copy.deepcopy(content)
    *way, last = field.split(".")
    part = changed
    for name in way:
        part = part[name]
    del part[last]
    return changed


def with_(content: dict[str, Any], field: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *way, last = field.split(".")
    part = changed
    for name in way:
        part = part[name]
    part[last] = value
    return changed


def stamped(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "stamp": stamp_of(content)}


def test_it_reads_what_a_benchmark_writes(tmp_path: Path) -> None:
    assert documents.BENCHMARK == SCHEMA
    found = read_baseline(written(tmp_path, document(accuracy=accuracy(3, 2))))
    assert found.device.name == PI.name
    assert found.latency_ms.total.n == P99_FRAMES
    assert found.latency_ms.total.ci95 is not None
    assert set(found.latency_ms.stages) >= {"detect", "classify", "smooth"}
    assert found.latency_ms.stages["smooth"].p50 is None
    assert found.cold_start is not None
    assert found.cold_start.runs_ms == (700.0, 650.0, 720.0)
    assert found.accuracy is not None
    assert found.accuracy.quantised.accuracy == pytest.approx(0.995, abs=0.005)


def test_an_older_document_lacks_all_that_can_be_done_without(tmp_path: Path) -> None:
    bare = {
        "schema": "edge-fer/benchmark/1",
        "device": {"kind": "virtual", "name": "x", "architecture": "x86_64", "cores": 2},
        "latency_ms": {"total": {"n": 5, "p50": 7.5}},
        "a_field_of_tomorrow": {"of": ["any", "kind"]},
    }
    found = read_baseline(written(tmp_path, bare))
    assert found.latency_ms.total.p50 == 7.5
    assert found.latency_ms.total.ci95 is None
    assert found.latency_ms.stages == {}
    assert (found.fps, found.accuracy, found.throttled, found.model.name) == (None,) * 4


def test_a_published_file_is_a_baseline_too(tmp_path: Path) -> None:
    found = read_baseline(written(tmp_path, publish(document(), ())))
    assert found.model.name == "tiny"
    assert found.fps == pytest.approx(report(run=LONG).run.fps)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON"),
        ("{]", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1, 2]", "names no schema"),
        ("3", "names no schema"),
        ({"device": {}}, "names no schema"),
        ({"schema": 1}, "names no schema"),
        ({"schema": "edge-fer/evaluate/1"}, "is of edge-fer/evaluate/1, not of edge-fer/benchmark"),
        ({"schema": "edge-fer/error/1"}, "is of edge-fer/error/1"),
        ({"schema": "benchmark"}, "is of benchmark"),
        ({"schema": "edge-fer/benchmark/2"}, "written by a newer edge-fer"),
        ({"schema": "edge-fer/benchmark/10"}, "written by a newer edge-fer"),
        ({"schema": "edge-fer/baseline/2"}, "written by a newer edge-fer"),
        ({"schema": "edge-fer/benchmark/1"}, "lacks device, latency_ms"),
        (without(document(), "device.kind"), "lacks device.kind"),
        (without(document(), "latency_ms.total"), "lacks latency_ms.total"),
        (without(document(), "latency_ms.total.p50"), "lacks latency_ms.total.p50"),
        (with_(document(), "device", []), "device:"),
        (with_(document(), "device.kind", "toaster"), "device.kind:"),
        (with_(document(), "device.cores", 0), "device.cores:"),
        (with_(document(), "device.cores", True), "device.cores:"),
        (with_(document(), "latency_ms.total.p50", "12"), "latency_ms.total.p50:"),
        (with_(document(), "latency_ms.total.p50", 0.0), "latency_ms.total.p50:"),
        (with_(document(), "latency_ms.detect.p50", -1.0), "latency_ms.detect.p50:"),
        (with_(document(), "latency_ms.total.ci95", {"p50": [9, 8]}), "the lower end lies above"),
        (with_(document(), "latency_ms.total.ci95", {"p50": [9]}), "latency_ms.total.ci95"),
        (with_(document(), "fps", float("nan")), "not finite: fps"),
        (with_(document(), "protocol.seconds", float("inf")), "not finite: protocol.seconds"),
        (with_(document(), "budgets", [{"x": float("-inf")}]), r"not finite: budgets\[0\].x"),
        (json.dumps(document()).replace('"fps": ', '"fps": 1e999, "was": '), "not finite: fps"),
        (with_(document(), "interrupted", True), "partial report"),
        (with_(document(), "protocol.stopped_by", "interrupted"), "partial report"),
        ({"schema": "edge-fer/baseline/1"}, "lacks reference, throttled, benchmark, stamp"),
    ],
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_baseline(written(tmp_path, content))
    assert caught.value.exit_code == 2
    assert "before.json" in caught.value.message
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no baseline") as caught:
        read_baseline(tmp_path / "none.json")
    assert "edge-fer benchmark --json" in caught.value.remedy
    with pytest.raises(DataError, match="cannot be read"):
        read_baseline(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(DataError, match="no UTF-8"):
        read_baseline(tmp_path / "bytes.json")


def test_all_missing_fields_are_named_at_once(tmp_path: Path) -> None:
    bad = without(without(document(), "device.name"), "latency_ms.total.n")
    with pytest.raises(DataError, match=r"lacks device.name, latency_ms.total.n\."):
        read_baseline(written(tmp_path, with_(bad, "latency_ms.total.p50", 5.0)))


def test_a_published_file_says_what_it_is() -> None:
    found = publish(document(), ())
    assert list(found) == ["schema", "reference", "throttled", "benchmark", "stamp"]
    assert found["schema"] == "edge-fer/baseline/1"
    assert found["reference"] == "a Raspberry Pi"
    assert found["throttled"] == []
    assert found["benchmark"] == document()  # there was nothing to hide
    checked = check_published(json.loads(json.dumps(found)))
    assert file_name(checked) == "raspberry-pi-5-model-b-rev-1-0--tiny.json"


@pytest.mark.parametrize(
    ("machine", "reference", "name"),
    [
        (replace(COMPUTER, architecture="x86_64"), "x86_64, no device", "x86-64-computer-some-cpu"),
        (
            replace(COMPUTER, kind="virtual", architecture="x86_64", name="x86_64 virtual machine"),
            "x86_64 virtual machine, no device",
            "x86-64-virtual-machine-some-cpu",
        ),
        (
            replace(PI, kind="board", name="Radxa ROCK 5B"),
            "a board that is no Raspberry Pi",
            "radxa-rock-5b",
        ),
    ],
)
def test_what_is_no_pi_is_marked(machine: Any, reference: str, name: str) -> None:
    found = publish(document(machine=machine), ())
    assert found["reference"] == reference
    assert file_name(check_published(found)) == f"{name}--tiny.json"


def test_a_throttled_run_is_marked() -> None:
    hot = MachineState(
        before=Reading(celsius=79, throttled=0), after=Reading(celsius=83, throttled=4)
    )
    unknown = MachineState(
        before=Reading(celsius=None, throttled=None), after=Reading(celsius=None, throttled=None)
    )
    assert publish(document(state=hot), ())["throttled"] == ["throttled"]
    assert publish(document(state=unknown), ())["throttled"] is None


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"interrupted": True}, DataError, "interrupted"),
        ({"run": run([10.0] * (P99_FRAMES - 1))}, DataError, f"{P99_FRAMES - 1} frames; a 99th"),
        ({"machine": replace(PI, kind="emulated")}, ConfigError, "is emulated"),
    ],
)
def test_some_runs_are_not_published(
    changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        publish(document(**changes), ())


def test_only_a_benchmark_is_published() -> None:
    for other in ({"schema": "edge-fer/evaluate/1"}, publish(document(), ()), {}):
        with pytest.raises(DataError):
            publish(other, ())


def test_an_emulated_machine_is_refused_before_measuring() -> None:
    with pytest.raises(ConfigError, match="QEMU board is emulated"):
        check_may_publish({"kind": "emulated", "name": "QEMU board"})
    for machine in (PI, COMPUTER):
        check_may_publish(machine.to_json())


PUBLISHED = publish(document(accuracy=accuracy(3, 2)), ())
PLACES = [name for name, _ in leaves({k: v for k, v in PUBLISHED.items() if k != "stamp"})]


def changed_at(content: dict[str, Any], place: str) -> dict[str, Any]:
    """A copy with another value at a name as :func:`leaves` gives it."""
    found = copy.deepcopy(content)
    way = [int(x) if x.isdecimal() else x for x in re.findall(r"[^.\[\]]+", place)]
    part: Any = found
    for step in way[:-1]:
        part = part[step]
    value = part[way[-1]]
    if isinstance(value, bool):
        part[way[-1]] = not value
    elif isinstance(value, int | float):
        part[way[-1]] = value + 1
    else:
        part[way[-1]] = "something else"
    return found


@given(place=st.sampled_from(PLACES))
def test_the_stamp_shows_any_change(place: str) -> None:
    assert stamp_of(PUBLISHED) == PUBLISHED["stamp"]
    assert stamp_of(changed_at(PUBLISHED, place)) != PUBLISHED["stamp"]


@pytest.mark.parametrize("place", ["benchmark.fps", "benchmark.started", "throttled"])
def test_a_changed_file_is_refused_in_words(tmp_path: Path, place: str) -> None:
    changed = with_(PUBLISHED, place, ["throttled"] if place == "throttled" else 3)
    if place == "benchmark.started":
        changed = with_(PUBLISHED, place, "2020-01-01")
    with pytest.raises(DataError, match="was changed after it was published"):
        read_baseline(written(tmp_path, changed))
    added = with_(PUBLISHED, "benchmark.note", "quite fast")
    with pytest.raises(DataError, match="was changed after it was published"):
        check_published(added)


def test_the_stamp_does_not_mind_layout_and_order(tmp_path: Path) -> None:
    turned = {key: PUBLISHED[key] for key in reversed(PUBLISHED)}
    path = written(tmp_path, json.dumps(turned, indent=3, ensure_ascii=False))
    assert read_baseline(path).started == PUBLISHED["benchmark"]["started"]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("benchmark.device.kind", "emulated", "emulated machine"),
        ("benchmark.interrupted", True, "partial"),
        ("benchmark.latency_ms.total.n", 20, "20 frames"),
        ("benchmark.model.name", None, "does not name its model"),
        ("benchmark.device.kind", "virtual", "by its device it is of 'aarch64 virtual"),
        ("reference", "a Raspberry Pi 9", "says that it is of 'a Raspberry Pi 9'"),
        ("throttled", ["throttled"], "not what benchmark.thermal.events says"),
        ("benchmark.model.path", "/home/ada/m.tflite", "in: benchmark.model.path"),
        ("benchmark.model.path", "Jane Doe/tiny.tflite", "in: benchmark.model.path"),
        ("benchmark.model.path", "Jane Doe tiny.tflite", "not the file of the model 'tiny'"),
        ("benchmark.source.detector", "Jane Doe/x.tflite", "in: benchmark.source.detector"),
        ("benchmark.source.sinks", ["jsonl:Jane Doe/o.jsonl"], r"benchmark.source.sinks\[0\]"),
        ("benchmark.bounded_by", "adopt Jane Doe/x.tflite", "in: benchmark.bounded_by"),
        ("benchmark.bounded_by", "fe80::1ff:fe23:4567:890a", "in: benchmark.bounded_by"),
        ("benchmark.bounded_by", "pi-17.corp.example.com", "in: benchmark.bounded_by"),
        ("benchmark.bounded_by", "rtsp://ada:pw@cam/1", "in: benchmark.bounded_by"),
        ("stamp", "0" * 64, "was changed"),
        ("stamp", "none", "stamp:"),
        ("schema", "edge-fer/baseline/2", "newer edge-fer"),
    ],
)
def test_a_stamp_does_not_excuse_what_is_wrong(field: str, value: object, says: str) -> None:
    bad = with_(PUBLISHED, field, value)
    with pytest.raises(DataError, match=says):
        check_published(bad if field == "stamp" else stamped(bad))


# What a document may hold one day, and what is to be left of it.
SHOWN = {
    "/home/ada/models/mine.tflite": "mine.tflite",
    "/home/Ada Lovelace/models/mine.tflite": "mine.tflite",
    "/data/fer2013/": "fer2013",
    "~/mine.tflite": "mine.tflite",
    "~ada/mine.tflite": "mine.tflite",
    "../ada/mine.tflite": "mine.tflite",
    "models/mine.tflite?min_score=0.5": "mine.tflite?min_score=0.5",
    r"C:\Users\Ada\mine.tflite": "mine.tflite",
    r"\\server\share\mine.tflite": "mine.tflite",
    "There is no /home/Ada Lovelace/x.mp4.": "There is no x.mp4.",
    "haar?cascade=/home/ada/x.xml": "haar?cascade=x.xml",
    "jsonl:/home/ada/out.jsonl": "jsonl:out.jsonl",
    "rtsp://ada:secret@cam.example/live?token=x": "rtsp://***",
    "rtsp://ada:se cret/@x@cam.example/live": "rtsp://***",
    "no picture from http://10.0.0.7:8080/ yet": "no picture from http://*** yet",
    "mail ada@example.org": "mail ***",
    "ada:secret@cam": "***",
    "camera?password=hunter2&fps=5": "camera?password=***&fps=5",
    "at 192.168.1.20 now": "at *** now",
    "on pi.local": "on ***",
    "dc:a6:32:01:02:03": "***",
    "fe80::1ff:fe23:4567:890a%eth0 is down": "*** is down",
    "from [2001:db8::7]:8554.": "from [***]:8554.",
    "2001:db8:0:1:2:3:4:5.": "***.",
    "203.0.113.7 answered": "*** answered",
    "8.8.8.8:53": "***",
    "pi-17.corp.example.com answered.": "*** answered.",
    "http://cam.example/Jane Doe/x.mp4 ended": "http://*** ended",
    "models adopt Jane Doe/x.tflite --labels a": "models adopt x.tflite --labels a",
    "read Zo\u00eb \u00c9mile/x.csv": "read x.csv",
    # These are no secrets.
    "synthetic?faces=3&fps=15": "synthetic?faces=3&fps=15",
    "picamera2:0?rotate=90": "picamera2:0?rotate=90",
    "usb: 640x480@30": "usb: 640x480@30",
    "Debian GNU/Linux 12, Linux 6.18.44": "Debian GNU/Linux 12, Linux 6.18.44",
    "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz": "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz",
    "OpenCV 4.10.0.84": "OpenCV 4.10.0.84",
    "2026-11-21T21:14:11+00:00, 1:2:3": "2026-11-21T21:14:11+00:00, 1:2:3",
    "expression.float.tflite 10 times": "expression.float.tflite 10 times",
    "30 frames/s, 2 ms/frame, n/a, p50 / p99": "30 frames/s, 2 ms/frame, n/a, p50 / p99",
    "Half of the frames take at most 8.9 ms.": "Half of the frames take at most 8.9 ms.",
}


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_left_of_a_text(text: str) -> None:
    assert redact({"words": text}) == {"words": SHOWN[text]}


def test_fields_that_say_who_or_where_are_emptied() -> None:
    given_ = {
        "hostname": "kiosk-7",
        "host": {"name": "kiosk-7"},
        "user": "ada",
        "serial": 12345678,
        "machine_id": "0f",
        "executable": "python",
        "cwd": "work",
        "fps": 3.0,
        "users": 2,
    }
    kept = {"fps": 3.0, "users": 2}
    assert redact(given_) == {**dict.fromkeys(given_), **kept}


def test_files_named_from_the_working_folder_lose_it() -> None:
    given_ = {"path": "ada/work", "data": "ada/a b/faces", "source": "clips/x", "words": "a/b"}
    assert redact(given_) == {"path": "work", "data": "faces", "source": "x", "words": "a/b"}


FILE_KEYS = (
    *("path", "uri", "detector", "detectors", "data", "source", "reference", "reference_path"),
    *("groups", "groups_file", "folder", "model", "models", "file", "sinks", "baseline", "report"),
)
FOLDERS = {
    "Jane Doe/": "x.tflite",
    "models of Jane Doe/acme gmbh/": "my model.tflite",
    "jane doe/acme/": "x.tflite",
    "Jane Doe\\acme gmbh\\": "x.tflite",
    "C:\\Jane Doe\\": "x.tflite",
    "Zo\u00eb/B\u00fccher & S\u00f6hne/": "\u00e9l\u00e8ve 1.csv",
    "\u7530\u4e2d/\u79d8\u5bc6 2/": "faces",
    "Jane? Doe/": "x.tflite",
    "Jane, Doe/": "x.tflite",
    "./Jane Doe/": "x",
}


@pytest.mark.parametrize("key", FILE_KEYS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_of_a_file_only_its_name_is_left_in_any_field_and_in_words(key: str, folder: str) -> None:
    name = FOLDERS[folder]
    given_ = {
        "part": {key: f"{folder}{name}"},
        "list": [{key: [f"{folder}{name}"]}],
        "words": f"The model: edge-fer models adopt {folder}{name} --labels a",
        "beside": f"{folder}another one.json is missing",
        "alone": f"nothing in {folder.rstrip('/')}",
        f"{folder}{name}": 1,
    }
    shown = redact(given_)
    assert shown["part"] == shown["list"][0] | {key: name} == {key: name}
    assert shown["list"][0] == {key: [name]}
    assert shown["words"] == f"The model: edge-fer models adopt {name} --labels a"
    assert shown["beside"] == "another one.json is missing"
    text = json.dumps(shown, ensure_ascii=False)
    for part in re.split(r"[/\\]", folder):
        if " " in part or not part.isascii():
            assert part not in text
    assert "doe" not in text.lower()
    assert redact(shown) == shown


@pytest.mark.parametrize(
    ("key", "value", "left"),
    [
        ("detector", "haar?file=Jane Doe/c.xml&min_size=40", "haar?file=c.xml&min_size=40"),
        ("detector", "haar?file=Doe & Co/c.xml", "haar?file=c.xml"),
        ("uri", "videos/Jane Doe/clip one.mp4?mirror=1", "clip one.mp4?mirror=1"),
        ("sinks", "jsonl:Jane Doe/o.jsonl", "jsonl:o.jsonl"),
        ("sinks", "kunde:meier/o.jsonl", "o.jsonl"),
        ("uri", "http://cam.example/Jane Doe/x.mp4", "http://***"),
        ("data", "clients/Big Bank plc/faces/", "faces"),
        ("detector", "haar?cascade=alt2&min_size=40", "haar?cascade=alt2&min_size=40"),
        ("model", "expression", "expression"),
    ],
)
def test_what_is_left_of_a_file_with_options(key: str, value: str, left: str) -> None:
    assert redact({key: value}) == {key: left}


def test_arguments_and_servers_are_hidden_wherever_they_stand() -> None:
    given_ = {
        "uri": "rtsp://door-cam.shop/live",
        "words": "door-cam.shop is silent, see jane doe/acme/g.csv and kunde 7",
        "left": "nobody at ada77",
    }
    arguments = ["--groups=jane doe/acme/g.csv", "--report", "kunde 7/out", "rtsp://ada77:x@h/1"]
    assert redact(given_, (), arguments) == {
        "uri": "rtsp://***",
        "words": "*** is silent, see g.csv and ***",
        "left": "nobody at ***",
    }


def test_publishing_looks_for_folders_of_the_command() -> None:
    given_ = {**document(), "note": "skipped jane doe/acme/g.csv"}
    found = publish(given_, (), ["--groups", "jane doe/acme/g.csv"])
    assert found["benchmark"]["note"] == "skipped g.csv"
    check_published(found)


def test_a_sentence_on_a_source_is_no_file() -> None:
    given_ = {"mhz_source": "as /proc/cpuinfo says", "words": "2596 MHz, as /proc/cpuinfo says"}
    shown = {"mhz_source": "as cpuinfo says", "words": "2596 MHz, as cpuinfo says"}
    assert redact(given_) == shown


def test_names_go_in_any_case_but_not_out_of_words() -> None:
    words = {"words": "Kiosk-7: ada, not adage; KIOSK-7.", "kind": "ada", "list": [["by Ada"]]}
    shown = {"words": "***: ***, not adage; ***.", "kind": "ada", "list": [["by ***"]]}
    assert redact(words, ["ada", "kiosk-7"]) == shown


def test_keys_are_looked_through_and_none_is_lost() -> None:
    given_ = {"/home/ada/a.tflite": 1, "/home/eve/a.tflite": 2, "a.tflite": 3}
    assert redact(given_) == {"a.tflite": 1, "a.tflite'": 2, "a.tflite''": 3}


def test_own_names_are_words() -> None:
    assert all(len(name) > 2 for name in own_names())
    assert not {"root", "localhost", "raspberrypi"} & set(own_names())


NAME = st.text("abcdefghijkXYZ0123456789_-. ", min_size=1, max_size=12).filter(
    lambda s: s.strip(". ") == s
)
BEFORE = st.sampled_from(["", "There is no ", "'", "(", "jsonl:", "x=", "see: ", "a\n", "\u2192"])
AFTER = st.sampled_from(["", ".", " is gone", "?fps=5", ")", "'", ", or not", "\n"])
FIELD = st.sampled_from(["words", "path", "uri", "why_not", "some_day"])


def placed(field: str, text: str) -> dict[str, Any]:
    return {"section": [{field: text, "also": {text: 1.5}}], "n": 3, "on": True, "none": None}


@given(
    before=BEFORE,
    folders=st.lists(NAME, min_size=1, max_size=4),
    file=NAME,
    after=AFTER,
    field=FIELD,
)
def test_no_absolute_path_survives(
    before: str, folders: list[str], file: str, after: str, field: str
) -> None:
    folder = "/" + "/".join(folders)
    text = json.dumps(redact(placed(field, f"{before}{folder}/{file}{after}")))
    assert f"{folder}/" not in text
    assert f"{folders[-1]}/" not in text


@given(before=BEFORE, user=NAME, password=NAME, host=NAME, after=AFTER, field=FIELD)
def test_no_account_survives(
    before: str, user: str, password: str, host: str, after: str, field: str
) -> None:
    given_ = placed(field, f"{before}rtsp://{user}:{password}@{host}/live{after}")
    text = json.dumps(redact(given_))
    assert f"{user}:{password}" not in text
    assert f"@{host}" not in text
    if " " in user + password + host:
        return  # without rtsp:// that is not told from words
    bare = json.dumps(redact(placed(field, f"{before}{user}:{password}@{host}{after}")))
    assert f":{password}@" not in bare


@given(
    name=st.from_regex(r"[a-z][a-z0-9-]{2,12}[a-z0-9]", fullmatch=True),
    around=st.tuples(*[st.text(" ,.:;()'/@?=", max_size=3)] * 2),
    field=FIELD,
)
def test_no_host_name_survives(name: str, around: tuple[str, str], field: str) -> None:
    given_ = {"section": [{field: f"{around[0]}{name.upper()}{around[1]}"}]}
    value = redact(given_, [name])["section"][0][field]
    assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", value, re.IGNORECASE)


@given(
    text=st.text(st.sampled_from("ab1/\\~.@: =?-'()*\n"), max_size=24),
    field=FIELD | st.just("/home/ada/path"),
    names=st.sampled_from([(), ("ab", "b1"), ("a-b",)]),
)
def test_twice_is_as_good_as_once(text: str, field: str, names: tuple[str, ...]) -> None:
    once = redact(placed(field, text), names)
    assert redact(once, names) == once
    assert redact(once) == once  # what the check of a published file does


@pytest.mark.parametrize("part", ["a.b-", "a/b.c", "pass", "a@", "/", "x=://@", "aa:", "10.1."])
def test_a_long_text_takes_no_square_of_its_length(part: str) -> None:
    # 40,000 characters: minutes, if each started a search of its own.
    assert isinstance(redact(part * (40_000 // len(part)), ["ada"]), str)


def test_numbers_and_the_form_stay() -> None:
    whole = document(accuracy=accuracy(3, 2))
    hidden = redact(whole, ["tiny"])
    assert [v for _, v in leaves(whole) if not isinstance(v, str)] == [
        v for _, v in leaves(hidden) if not isinstance(v, str)
    ]
    assert hidden["model"]["name"] == "***"


def test_the_command_checks_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path, PUBLISHED, "raspberry-pi-5-model-b-rev-1-0--tiny.json")
    assert main(["check", str(good)]) == 0
    assert "measured on a Raspberry Pi" in capsys.readouterr().out
    written(tmp_path, PUBLISHED, "mine.json")
    written(tmp_path, document(), "report.json")
    written(tmp_path, "{}", "schema.json")
    assert main(["check", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.count("good") == 1
    assert "mine.json should be called raspberry-pi-5-model-b-rev-1-0--tiny.json" in said.err
    assert "report.json is of edge-fer/benchmark/1, not of edge-fer/baseline/1" in said.err
    assert main([]) == main(["check"]) == main(["schema", "x"]) == 2
    assert "usage:" in capsys.readouterr().err
