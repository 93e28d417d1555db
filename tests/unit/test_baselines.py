"""The published results, their schema, and what the benchmark's README tells people to type."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from bench_samples import accuracy, report, run

from edge_fer.errors import BudgetMissed, ConfigError, DataError, DeviceError, ModelError
from edge_fer_bench.budgets import Budgets
from edge_fer_bench.cli import benchmark
from edge_fer_bench.compare.baseline import main, publish
from edge_fer_bench.timing.latency import summarise
from edge_fer_bench.timing.protocol import P99_FRAMES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "baselines"
README = (ROOT / "benchmarks" / "README.md").read_text()
FILES = sorted(p for p in FOLDER.glob("*.json") if p.name != "schema.json")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.S | re.M)


def test_every_published_file_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(FOLDER)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.count(": good") == len(FILES)


def test_a_bad_file_among_them_would_be_found(tmp_path: Path) -> None:
    long = run([10.0] * P99_FRAMES)
    good = publish(json.loads(json.dumps(report(run=long).to_json())), ())
    path = tmp_path / "raspberry-pi-5-model-b-rev-1-0--tiny.json"
    path.write_text(json.dumps(good))
    assert main(["check", str(tmp_path)]) == 0
    path.write_text(json.dumps({**good, "reference": "a faster Raspberry Pi"}))
    assert main(["check", str(tmp_path)]) == 2


def test_the_folder_holds_nothing_else() -> None:
    assert {p.name for p in FOLDER.iterdir()} - {p.name for p in FILES} == {
        "README.md",
        "schema.json",
    }


def test_the_schema_is_that_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert (FOLDER / "schema.json").read_text() == printed, (
        "print it anew: python -m edge_fer_bench.compare.baseline schema"
        " > benchmarks/baselines/schema.json"
    )
    schema = json.loads(printed)
    assert set(schema["required"]) == {"schema", "reference", "throttled", "benchmark", "stamp"}
    assert set(schema["$defs"]["Baseline"]["required"]) == {"schema", "device", "latency_ms"}


def parsed(line: str) -> dict[str, Any]:
    """The options of an ``edge-fer benchmark`` line, read as the command itself reads them."""
    program, command, *words = shlex.split(line)
    assert program.rpartition("/")[2] == "edge-fer"
    assert command == "benchmark"
    app = typer.Typer()
    app.command()(benchmark)
    context = typer.main.get_command(app).make_context("benchmark", words)
    return context.params


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if "edge-fer benchmark" in line]


TYPED = [
    line
    for text in (README, (FOLDER / "README.md").read_text())
    for block in blocks("sh", text)
    for line in lines(block)
]


@pytest.mark.parametrize("line", TYPED)
def test_the_options_of_a_typed_line_exist(line: str) -> None:
    parsed(re.sub(r" > \S+$", "", line))


def test_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed("edge-fer benchmark --max-smell 3")


def workflow() -> dict[Any, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    (text,) = blocks("yaml")
    found: dict[Any, Any] = yaml.safe_load(text)
    return found


def steps() -> list[tuple[str, dict[str, Any]]]:
    return [(name, step) for name, job in workflow()["jobs"].items() for step in job["steps"]]


def test_the_workflow_gates_on_both_machines() -> None:
    jobs = workflow()["jobs"]
    assert "self-hosted" in jobs["latency"]["runs-on"]
    assert "self-hosted" not in jobs["accuracy"]["runs-on"]
    runs = {
        name: parsed(line)
        for name, step in steps()
        for line in lines(step.get("run", ""))
        if "pip install" not in line
    }
    assert runs["accuracy"]["max_drop"] == 0.5
    assert runs["accuracy"]["max_class_drop"] == 3
    assert runs["accuracy"]["data"] == Path("data/faces")
    assert runs["latency"]["compare"] == Path("benchmarks/pi5.json")
    assert {runs["latency"][name] for name in ("max_p99", "min_fps", "max_rss")} == {60, 15, 200}
    assert runs["accuracy"]["report"] == runs["latency"]["report"] == Path("report")


def test_the_workflow_keeps_the_report_of_a_failed_gate() -> None:
    for job in workflow()["jobs"].values():
        last = job["steps"][-1]
        assert last["uses"].startswith("actions/upload-artifact@")
        assert last["if"] == "always()"
        assert last["with"]["path"] == "report"


def test_the_workflow_is_pinned_and_has_no_secrets() -> None:
    used = [step["uses"] for _, step in steps() if "uses" in step]
    assert len(used) == 5
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name) for name in used)
    found = workflow()
    assert found["permissions"] == {"contents": "read"}
    # YAML 1.1 reads the key "on" as true. Strangers' pull requests never reach the board.
    assert set(found[True]) == {"push"}
    assert "secrets" not in str(found)


@pytest.mark.parametrize(
    ("limits", "budget", "reason"),
    [
        ({"max_drop": 0.5}, "max_drop", "is beyond the limit of 0.5"),
        ({"max_class_drop": 3.0}, "max_class_drop", "lost more than 3 points of recall: happiness"),
        ({"max_p99": 5.0}, "max_p99", "99 % of frames take at most"),
        ({"min_fps": 1000.0}, "min_fps", "the least allowed is 1000"),
        ({"max_rss": 100.0}, "max_rss", "memory peaked at 111 MB, the limit is 100 MB"),
    ],
)
def test_each_limit_can_be_missed(limits: dict[str, float], budget: str, reason: str) -> None:
    timed, lost = run(), accuracy(80, n=2000, label=1)
    (check,) = Budgets(**limits).check(summarise(timed), timed.fps, 111.0, lost)
    assert (check.budget, check.met) == (budget, False)
    assert reason in check.words
    flag = f"--{budget.replace('_', '-')}"
    assert flag in README


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.M)}
    raised = {e.exit_code for e in (ConfigError, DataError, DeviceError, ModelError, BudgetMissed)}
    assert told == {0, 7} | raised
