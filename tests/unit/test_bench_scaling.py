from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from edge_fer_bench.sweep.scaling import Cost, Fit, fits, fitted, line_chart
from edge_fer_bench.sweep.tables import scaling_grids


def cost(
    faces: float, ms: float, size: tuple[int, int] = (640, 480), what: str = "expression"
) -> Cost:
    return Cost(what=what, faces=faces, width=size[0], height=size[1], ms=ms)


def fit_of(over: str = "faces", *, ms: tuple[float, ...] = (2.0, 2.5, 3.5, 5.5)) -> Fit:
    (found,) = fits([cost(n, m) for n, m in zip((1, 2, 4, 8), ms, strict=True)])
    assert found.over == over
    return found


def test_a_line_by_hand() -> None:
    # Through (0, 1), (1, 3), (2, 2): slope 1/2, base 3/2; off by -1/2, 1, -1/2.
    slope, base, residual = fitted([0, 1, 2], [1, 3, 2])
    assert (slope, base) == pytest.approx((0.5, 1.5))
    assert residual == pytest.approx(0.5**0.5)


def test_the_line_is_that_of_numpy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 9, 20), rng.uniform(0, 9, 20)
    slope, base, residual = fitted(x.tolist(), y.tolist())
    assert (slope, base) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert residual == pytest.approx(np.sqrt(np.mean((np.polyval([slope, base], x) - y) ** 2)))


def test_what_a_face_costs() -> None:
    found = fit_of()
    assert (found.slope_ms, found.base_ms) == pytest.approx((0.5, 1.5))
    assert found.residual_ms == pytest.approx(0.0, abs=1e-12)
    assert found.cost == "each further face costs 0.50 ms (points 0.00 ms off the line)"
    assert found.where == "1, 2, 4 and 8 faces, 640x480"
    assert found.to_json()["at"] == [1, 2, 4, 8]


def test_what_a_megapixel_costs() -> None:
    sizes = [(1920, 1080), (640, 480), (1280, 720)]
    (found,) = fits([cost(1.98, 3 + 2 * w * h / 1e6, (w, h)) for w, h in sizes])
    assert found.over == "megapixels"
    assert found.at == (0.3072, 0.9216, 2.0736)
    assert (found.slope_ms, found.base_ms) == pytest.approx((2.0, 3.0))
    assert found.cost.startswith("each megapixel costs 2.00 ms")
    assert found.where == "0.31, 0.92 and 2.1 megapixels, 2 faces a frame"


def test_noise_is_not_called_growth() -> None:
    found = fit_of(ms=(2.0, 5.0, 1.0, 3.0))
    assert found.cost.startswith("a further face costs nothing that could be told (points 1.4")


def test_a_cost_that_falls_has_a_real_minus_sign() -> None:
    assert "costs \u22120.50 ms" in fit_of(ms=(8.0, 7.5, 6.5, 4.5)).cost


def test_fewer_than_three_values_or_both_varying_give_no_line() -> None:
    assert fits([]) == ()
    assert fits([cost(1, 2), cost(2, 3)]) == ()
    assert fits([cost(2, 2), cost(2.02, 3), cost(1.98, 4)]) == ()  # all have two faces
    sizes = [(640, 480), (1280, 720), (1920, 1080)]
    assert fits([cost(n, n, size) for n, size in zip((1, 2, 4), sizes, strict=True)]) == ()
    # In the large pictures half of the faces were missed: they are not as many.
    assert fits([cost(n, n, size) for n, size in zip((2, 2, 1.6), sizes, strict=True)]) == ()


def test_each_variant_and_each_held_value_has_its_own() -> None:
    sizes = [(640, 480), (1280, 720), (1920, 1080)]
    costs = [
        cost(n, n + w, (w, h), what) for what in ("a", "b") for w, h in sizes for n in (1, 2, 4)
    ]
    found = fits(costs)
    assert len(found) == 2 * (3 + 3)
    assert [f.over for f in found if f.what == "a"] == ["faces"] * 3 + ["megapixels"] * 3
    assert {f.held for f in found if f.over == "megapixels"} == {
        "1 face a frame",
        "2 faces a frame",
        "4 faces a frame",
    }


def test_the_table_says_where_the_line_bends() -> None:
    (grid,) = scaling_grids([fit_of()], faces_per_frame=4)
    assert grid.rows[0].cells == ("expression", "face", *grid.rows[0].cells[2:5], "640x480")
    assert "each further face costs 0.50 ms" in grid.note
    assert "4 are classified in a frame" in grid.note
    other = replace(fit_of(), over="megapixels", slope_ms=1.25, held="2 faces a frame")
    (grid,) = scaling_grids([fit_of(), fit_of(), other], faces_per_frame=4)
    assert grid.note.count("each further face") == 1
    assert "each megapixel costs 1.25 ms" in grid.note
    (grid,) = scaling_grids([fit_of()], faces_per_frame=8)
    assert "classified" not in grid.note
    assert scaling_grids([], 4) == []


@pytest.mark.parametrize("ms", [(2.0, 2.5, 3.5, 5.5), (0.1, 1.0, 3.0, 7.0), (8.0, 7.0, 5.0, 0.0)])
def test_the_chart_shows_points_and_line_within_its_frame(ms: tuple[float, ...]) -> None:
    found = fit_of(ms=ms)
    root = ElementTree.fromstring(str(line_chart([found, found])))  # noqa: S314 - our own
    width, height = (float(v) for v in root.get("viewBox", "").split()[2:])
    dots = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter("circle")]
    assert len(dots) == 2 * (4 + 1)  # the points, and one beside each name
    assert all(0 <= x <= width and 0 <= y <= height for x, y in dots)
    xs = [x for x, _ in dots[:4]]
    assert xs[2] - xs[1] == pytest.approx(2 * (xs[1] - xs[0]), abs=0.3)
    lines = [p for p in root.iter("path") if p.get("class") == "line"]
    assert len(lines) == 2
    assert len({line.get("stroke-dasharray") for line in lines}) == 2
    names = [t for t in root.iter("text") if t.text == "expression"]
    assert abs(float(names[0].get("y", "")) - float(names[1].get("y", ""))) >= 15
