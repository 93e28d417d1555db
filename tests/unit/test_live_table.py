"""What a run shows while it runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from edge_fer.cli.live import Lines, LiveTable, Nothing
from edge_fer.types import Box, Expression, Face, Observation, ObservedFace, Reason


def seen(label: str, p: float, track: int | None = 0, reason: Reason | None = None) -> ObservedFace:
    rest = (1 - p) / 2
    probabilities = {"happiness": p, "neutral": rest, "fear": rest}
    expression = Expression(label=label, probabilities=probabilities, entropy=0.5, reason=reason)
    face = Face(box=Box(x=1, y=2, w=80, h=100), score=0.9, track=track)
    return ObservedFace(face=face, expression=expression, raw_expression=label)


def observation(number: int, *faces: ObservedFace) -> Observation:
    timings = {"capture": 30.0, "total": 34.0}  # the camera is waited for
    return Observation(frame=number, t_ns=number, source="s", faces=faces, timings_ms=timings)


def terminal(width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_names_faces_bars_and_reasons() -> None:
    now = iter(range(100))
    console = terminal()
    with LiveTable(console, "/dev/video0", clock=lambda: next(now) / 2) as table:
        for number in range(5):
            table.show(observation(number, seen("happiness", 0.75)))
        table.show(observation(5, seen("unknown", 0.4, 1, "dark")))
        table.show(observation(6))
        table.say("the camera was opened again")
    text = shown(console)
    assert "/dev/video0   2.0 frames/s   4.0 ms a frame" in text
    assert "█" * 18 in text
    assert "█" * 19 not in text
    assert "75 %" in text
    assert "neutral 12" in text
    assert "dark" in text
    assert "nobody" in text
    assert "the camera was opened again" in text


def test_it_is_drawn_a_few_times_a_second_and_not_for_every_frame() -> None:
    ticks = iter(range(10_000))
    console = terminal()
    with LiveTable(console, "s", clock=lambda: next(ticks) / 100) as table:
        for number in range(200):  # two seconds
            table.show(observation(number, seen("happiness", 0.75)))
    assert 8 <= shown(console).count("Ctrl-C ends") <= 12


def test_on_a_narrow_terminal_it_still_fits() -> None:
    console = terminal(40)
    with LiveTable(console, "s" * 60) as table:
        table.show(observation(0, seen("happiness", 0.75)))
    assert "happi" in shown(console)


def test_without_a_terminal_there_is_a_line_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    with Lines(told.append) as lines:
        lines.show(observation(7, seen("happiness", 0.75), seen("unknown", 0.4, 1, "blurred")))
        lines.show(observation(8))
        lines.say("hello")
    assert capsys.readouterr().out.splitlines() == [
        "     7  happiness 75 %, unknown (blurred)",
        "     8  -",
    ]
    assert told == ["hello"]


def test_a_label_that_smoothing_holds_has_its_own_probability(
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = seen("neutral", 0.4)  # happiness is ahead, by less than it takes
    console = terminal()
    with LiveTable(console, "s") as table, Lines(lambda text: None) as lines:
        table.show(observation(0, held))
        lines.show(observation(0, held))
    assert capsys.readouterr().out.splitlines() == ["     0  neutral 30 %"]
    assert "30 %" in shown(console)
    assert "happiness 40" in shown(console)


def test_where_observations_go_elsewhere_none_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Nothing(lambda text: None) as nothing:
        nothing.show(observation(7, seen("happiness", 0.75)))
    assert capsys.readouterr().out == ""
