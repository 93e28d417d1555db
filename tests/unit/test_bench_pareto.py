from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from edge_fer_bench.drawing.dot_labels import Dot, placed
from edge_fer_bench.sweep.pareto import Point, pareto_front, pareto_picture


def point(
    accuracy: float, ms: float, kb: float = 100.0, group: str = "a", label: str = ""
) -> Point:
    return Point(accuracy=accuracy, latency_ms=ms, size_kb=kb, group=group, label=label)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([point(0.8, 10)], {0}),
        # The second is as accurate and slower.
        ([point(0.8, 10), point(0.8, 11)], {0}),
        # Faster and less accurate: a choice.
        ([point(0.8, 10), point(0.7, 5)], {0, 1}),
        # Slower and less accurate, but smaller.
        ([point(0.8, 10, 100), point(0.7, 11, 99)], {0, 1}),
        ([point(0.8, 10, 100), point(0.7, 11, 100)], {0}),
        # Beaten by the third only.
        ([point(0.8, 10), point(0.7, 8), point(0.75, 7), point(0.6, 1)], {0, 2, 3}),
        # Equal ones both stay.
        ([point(0.8, 10), point(0.8, 10), point(0.7, 12)], {0, 1}),
        # Other labels are another contest.
        ([point(0.8, 10), point(0.7, 11, group="b"), point(0.6, 12, group="b")], {0, 1}),
        ([], set()),
    ],
)
def test_the_front_by_hand(points: list[Point], front: set[int]) -> None:
    assert pareto_front(points) == front


def test_nothing_on_the_front_is_beaten_and_all_else_is() -> None:
    rng = np.random.default_rng(5)
    points = [point(float(a), float(b), float(c)) for a, b, c in rng.integers(1, 9, (60, 3))]
    front = pareto_front(points)
    for i, p in enumerate(points):
        beaten = any(
            q.accuracy >= p.accuracy
            and q.latency_ms <= p.latency_ms
            and q.size_kb <= p.size_kb
            and q != p
            for q in points
        )
        assert (i in front) is not beaten


def drawn(points: list[Point]) -> ElementTree.Element:
    return ElementTree.fromstring(str(pareto_picture(points)))  # noqa: S314 - our own


def circles(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [c for c in root.iter("circle") if c.find("title") is not None]


def test_dots_lie_where_they_should() -> None:
    found = circles(
        drawn([point(0.9, 10, 400), point(0.8, 100, 100), point(0.7, 1000, 100), point(0.9, 1, 1)])
    )
    x, y, r = ([float(c.get(a, "")) for c in found] for a in ("cx", "cy", "r"))
    # The axis is logarithmic: ten times as long is always as far.
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert x[0] - x[3] == pytest.approx(x[1] - x[0], abs=0.2)
    assert y[0] < y[1] < y[2]  # up is better
    assert y[1] - y[0] == pytest.approx(y[2] - y[1], abs=0.2)
    assert r[1] - 4 == pytest.approx((r[0] - 4) / 2, abs=0.1)  # the area is the size
    # Only the last is beaten by none; the first is larger and slower than it.
    assert [c.get("fill-opacity") for c in found] == ["0.28", "0.28", "0.28", "0.9"]


@pytest.mark.parametrize("times", [(4.0, 4.01), (4.0, 6.0), (4.0, 60.0), (0.1, 1000.0)])
def test_the_time_axis_has_a_few_marks(times: tuple[float, float]) -> None:
    root = drawn([point(0.8, times[0]), point(0.9, times[1])])
    marks = [t for t in root.iter("text") if t.get("class") == "small middle"]
    assert 4 <= len(marks) <= 16
    places = [float(t.get("x", "")) for t in marks]
    assert min(np.diff(places)) > 25


def test_the_line_joins_the_best_of_each_group() -> None:
    points = [
        point(0.9, 10),
        point(0.8, 5),
        point(0.7, 8),
        point(0.6, 3),
        point(0.5, 2, group="b"),
    ]
    lines = [p.get("d", "") for p in drawn(points).iter("path") if p.get("class") == "line"]
    assert len(lines) == 1  # the second group has one alone
    corners = [tuple(map(float, at.split())) for at in lines[0][1:].split("L")]
    assert len(corners) == 5  # three, and what leads from one to the next
    # First to the right, then up: what one gets by waiting.
    for i, ((x, y), (x2, y2)) in enumerate(pairwise(corners)):
        assert (x2 > x and y2 == y) if i % 2 == 0 else (x2 == x and y2 < y)


def test_no_label_lies_on_the_line() -> None:
    root = drawn([point(0.871, 7, label="expression, 2 threads"), point(0.872, 30, label="x")])
    (line,) = [p.get("d", "") for p in root.iter("path") if p.get("class") == "line"]
    (label,) = [t for t in root.iter("text") if t.text == "expression, 2 threads"]
    height = float(line[1:].split("L")[0].split()[1])
    baseline = float(label.get("y", ""))
    assert baseline < height or baseline - 11 > height


def test_one_alone_equal_ones_and_no_size_can_be_drawn() -> None:
    for points in ([point(0.8, 10)], [point(0.8, 10), point(0.8, 10)], [point(1.0, 0.01, 0.0)]):
        assert len(circles(drawn(points))) == len(points)
    assert "nan" not in str(pareto_picture([point(1.0, 5.0, 0.0)]))


def test_the_legend_names_the_groups_where_there_are_several() -> None:
    one = drawn([point(0.9, 10, group="ferplus8"), point(0.8, 5, group="ferplus8")])
    assert "ferplus8" not in [t.text for t in one.iter("text")]
    two = drawn([point(0.9, 10, group="ferplus8"), point(0.8, 5, group="fer2013-7")])
    assert {"ferplus8", "fer2013-7"} <= {t.text for t in two.iter("text")}
    kinds = [c.get("class") for c in circles(two)]
    assert len(set(kinds)) == 2


def test_names_are_escaped() -> None:
    text = str(pareto_picture([point(0.9, 10, label="<script>")]))
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 2


def overlapping(boxes: list[tuple[float, float, float, float]]) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, (x, y, w, h) in enumerate(boxes)
        for j, (x2, y2, w2, h2) in enumerate(boxes[:i])
        if x < x2 + w2 and x2 < x + w and y < y2 + h2 and y2 < y + h
    ]


@pytest.mark.parametrize("spread", [0.0, 1.0, 40.0, 400.0])
def test_labels_lie_on_nothing_and_within_the_frame(spread: float) -> None:
    rng = np.random.default_rng(7)
    dots = [
        Dot(x=460 + spread * float(a), y=180 + 0.3 * spread * float(b), r=8)
        for a, b in rng.uniform(-1, 1, (24, 2))
    ]
    words = [f"expression-{i}, haar" for i in range(24)]
    found = placed(
        list(zip(dots, words, strict=True)), dots, Dot(x=50, y=10, r=0), Dot(x=920, y=320, r=0)
    )
    labels = [label for label in found if label is not None]
    assert found[0] is not None  # the first has the choice
    assert len(labels) >= (20 if spread == 400 else 8)
    assert overlapping([(label.x, label.y, label.width, label.height) for label in labels]) == []
    for label in labels:
        assert label.x >= 50
        assert label.y >= 10
        assert label.x + label.width <= 920
        assert label.y + label.height <= 320
        for dot in dots:
            across = max(label.x - dot.x, 0, dot.x - label.x - label.width)
            down = max(label.y - dot.y, 0, dot.y - label.y - label.height)
            assert np.hypot(across, down) >= dot.r


def test_a_label_without_a_place_is_left_out() -> None:
    dot = Dot(x=50, y=50, r=5)
    room = Dot(x=0, y=0, r=0), Dot(x=100, y=100, r=0)
    assert placed([(dot, "much too long for this frame")], [dot], *room) == [None]
    (label,) = placed([(dot, "fits")], [dot], *room)
    assert label is not None
    assert label.leader is None  # it is beside its dot
    around = [(dx, dy) for dx in (-20, 0, 20) for dy in (-20, 0, 20) if dx or dy]
    wall = [dot, *(Dot(x=50 + dx, y=50 + dy, r=9) for dx, dy in around)]
    (label,) = placed([(dot, "x")], wall, *room)
    assert label is not None
    assert label.leader is not None


def test_a_crowd_keeps_the_labels_of_the_front() -> None:
    points = [point(0.8, 10 + 0.01 * i, label=f"beaten number {i}") for i in range(40)]
    points.append(point(0.81, 9.9, label="the best"))
    text = str(pareto_picture(points))
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert "the best" in shown
    assert len([t for t in shown if t.startswith("beaten")]) < 40
    assert text.count("<title>") == 41
