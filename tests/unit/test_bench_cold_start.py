import json
import sys

import pytest

from edge_fer_bench.timing.cold_start import measure_cold_start

PARTS = {"imports_ms": 5.0, "open_ms": 2.0, "first_frame_ms": 1.0}
GOOD = f"print('''{json.dumps(PARTS)}''')"


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", text)


def test_the_median_of_three_fresh_processes() -> None:
    found = measure_cold_start({"model": "x"}, program=program(GOOD))
    assert len(found.runs_ms) == 3
    assert found.median_ms == sorted(found.runs_ms)[1]
    assert found.imports_ms == 5.0
    assert found.why_not is None


def test_the_time_ends_with_the_line_not_with_the_process() -> None:
    lingering = f"{GOOD[:-1]}, flush=True); import time; time.sleep(1.5)"
    found = measure_cold_start({}, runs=1, program=program(lingering))
    assert found.median_ms is not None
    assert found.median_ms < 1500


def test_slow_starts_are_measured_once() -> None:
    ticks = iter(range(0, 1000, 10))
    found = measure_cold_start(
        {}, budget_s=15.0, program=program(GOOD), clock=lambda: float(next(ticks))
    )
    assert found.runs_ms == (10_000.0,)


def test_it_gets_the_settings() -> None:
    check = f"import sys, json; assert json.loads(sys.argv[1]) == {{'model': 'm'}}; {GOOD}"
    assert measure_cold_start({"model": "m"}, runs=1, program=program(check)).runs_ms


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys; sys.exit('no camera')", "no camera"),
        ("print('not json')", "gave no result"),
        ("print('{}')", "gave no result"),
        ("print('[1]')", "gave no result"),
    ],
)
def test_a_process_without_a_result_is_a_reason_not_a_number(text: str, reason: str) -> None:
    found = measure_cold_start({}, program=program(text))
    assert found.median_ms is None
    assert found.runs_ms == ()
    assert reason in str(found.why_not)


def test_a_missing_program_is_a_reason() -> None:
    found = measure_cold_start({}, program=("/no/such/program",))
    assert "No such file" in str(found.why_not)


def test_a_real_start_goes_through_model_detector_and_source() -> None:
    settings = {
        "model": "expression",
        "source": "synthetic",
        "detector": "haar",
        "backend": "auto",
        "threads": "1",
    }
    found = measure_cold_start(settings, runs=1)
    assert found.why_not is None
    parts = (found.imports_ms, found.open_ms, found.first_frame_ms)
    assert all(part is not None and part > 0 for part in parts)
    assert sum(part or 0 for part in parts) < (found.median_ms or 0)


def test_a_source_that_is_not_there_is_named() -> None:
    settings = {
        "model": "expression",
        "source": "/no/such.mp4",
        "detector": "haar",
        "backend": "auto",
        "threads": "1",
    }
    assert "/no/such.mp4" in str(measure_cold_start(settings, runs=1).why_not)
