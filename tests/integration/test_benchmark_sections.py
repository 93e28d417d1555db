"""What ``edge-fer benchmark`` measures beside time and drop, as a user asks for it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from bench_command import benchmark


def refused(*words: str | Path, code: int = 2) -> str:
    """The message of a failed call, which has not measured anything."""
    done = benchmark(*words, "--json", "-v", code=code)
    assert "measuring" not in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code
    return f"{error['message']} {error['remedy']}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    # Enough frames that its p99 may be published.
    benchmark("--seconds", "3", "--report", folder, "--publish", folder / "public.json", "--quiet")
    return folder


@pytest.fixture(scope="module")
def everything(
    plain: Path, fer2013: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("everything")
    groups = folder / "groups.csv"
    lines = [f"{row},{'left' if row % 2 else 'right'}" for row in range(28_709, 32_298)]
    groups.write_text("\n".join(["image,side", *lines]) + "\n")
    done = benchmark(
        *("expression", "expression-nano", "--data", fer2013, "--groups", groups),
        *("--robustness", "--rows", "40", "--end-to-end", "--sustained", "0.01"),
        *("--compare", plain / "report.json", "--report", folder, "--json"),
    )
    return json.loads(done.stdout), folder


def test_every_section_is_in_the_document(everything: tuple[dict[str, Any], Path]) -> None:
    document, folder = everything
    wanted = ["comparison", "sustained", "roofline", "groups", "robustness", "end_to_end", "sweep"]
    assert [key for key in document if key in wanted] == wanted
    assert json.loads((folder / "report.json").read_text()) == document
    assert document["machine_state"]
    assert document["thermal"]["words"]


def test_every_section_is_on_the_page_and_in_the_csv(
    everything: tuple[dict[str, Any], Path],
) -> None:
    _, folder = everything
    page = (folder / "report.html").read_text()
    for words in ("Against the baseline", "Share of the int8 peak", "Faces as the field spoils"):
        assert words in page
    with (folder / "report.csv").open(newline="") as file:
        tables = {row["table"] for row in csv.DictReader(file)}
    assert {"roofline", "robustness", "sweep", "groups_side", "comparison"} <= tables


def test_groups_are_those_of_the_file_and_hold_every_row(
    everything: tuple[dict[str, Any], Path],
) -> None:
    document, _ = everything
    text = json.dumps(document["groups"])
    assert '"left"' in text
    assert '"right"' in text
    assert "proxies" not in document


def test_without_groups_the_pixels_give_proxies_that_are_called_so(fer2013: Path) -> None:
    done = benchmark("--data", fer2013, "--json")
    document = json.loads(done.stdout)
    assert "groups" not in document
    assert "brightness" in json.dumps(document["proxies"])
    table = benchmark("--data", fer2013).stdout
    assert "proxies" in " ".join(table.split())


def test_a_published_file_holds_and_a_changed_one_does_not(plain: Path, tmp_path: Path) -> None:
    public = json.loads((plain / "public.json").read_text())
    assert public["schema"] == "edge-fer/baseline/1"
    assert str(Path.home()) not in json.dumps(public)
    assert benchmark("--compare", plain / "public.json", "--json").stdout
    public["benchmark"]["fps"] *= 2
    (tmp_path / "changed.json").write_text(json.dumps(public))
    assert "stamp" in refused("--compare", tmp_path / "changed.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": "edge-fer/benchmark/2"}, "newer"),
        ({"schema": "edge-fer/evaluate/1"}, "edge-fer/evaluate/1"),
        ({"latency_ms": {}}, "latency_ms"),
        ({"interrupted": True}, "interrupted"),
        (
            {"device": {"kind": "raspberry_pi", "name": "Raspberry Pi 5", "cpu": "Cortex-A76"}},
            "Pi 5",
        ),
    ],
)
def test_what_cannot_be_compared_with_is_refused_before_anything_is_measured(
    plain: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    document = json.loads((plain / "report.json").read_text())
    for key, value in change.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) and value else value
    (tmp_path / "other.json").write_text(json.dumps(document))
    assert says in refused("--compare", tmp_path / "other.json")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--robustness"], "--data"),
        (["--end-to-end"], "--data"),
        (["--groups", "groups.csv"], "--data"),
        (["--scenes", "scenes.zip"], "--end-to-end"),
        (["--rows", "10"], "--robustness"),
        (["--threads", "1,,2"], "--threads"),
        (["--threads", "none"], "--threads"),
        (["--threads", ",".join(map(str, range(1, 60)))], "48"),
        (["--compare", "no-such.json"], "no-such.json"),
        (["--sustained", "nan"], "--sustained"),
    ],
)
def test_options_that_do_not_go_together(words: list[str], says: str) -> None:
    assert says in refused(*words)


def test_bad_groups_and_scenes_are_refused_before_anything_is_measured(
    fer2013: Path, tmp_path: Path
) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("picture,age\n1,old\n")
    assert "image" in refused("--data", fer2013, "--groups", groups)
    groups.write_text("image,age\n99999999,old\n")
    assert "99999999" in refused("--data", fer2013, "--groups", groups)
    assert "nope" in refused("--data", fer2013, "--split", "nope")
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("--data", fer2013, "--end-to-end", "--scenes", tmp_path / "empty")


def test_a_folder_that_cannot_be_written_to_is_refused_first() -> None:
    assert "--publish" in refused("--publish", "/proc/nothing/x.json", code=4)


@pytest.mark.slow
def test_a_stream_that_answers_and_never_delivers_ends_with_4() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "gives no pictures" in refused("--source", f"http://127.0.0.1:{port}/", code=4)
