from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces, load
from edge_fer.evaluation.labels import FER2013_7
from edge_fer_bench.accuracy.group_chart import group_chart
from edge_fer_bench.accuracy.group_figures import Compared, Gap, Grouping, compare
from edge_fer_bench.accuracy.group_file import groupings_of, read_groups
from edge_fer_bench.accuracy.groups import GroupsSection, measure_groups

LABELS = ("anger", "happiness")


def rows(*blocks: tuple[int, int, int, int]) -> tuple[Any, Any, Any]:
    """Truth and both models' probabilities, from (class, rows, float right, int8 right).

    The first so many rows of a block are the ones that are right.
    """
    truth, before, after = [], [], []
    for which, n, float_right, int8_right in blocks:
        for i in range(n):
            truth.append(which)
            before.append(which if i < float_right else 1 - which)
            after.append(which if i < int8_right else 1 - which)
    eye = np.eye(2) * 0.8 + 0.1
    return np.array(truth), eye[before], eye[after]


def groups(*sizes: int, names: str = "abcdef") -> Grouping:
    member = np.repeat(np.arange(len(sizes)), sizes)
    return Grouping(name="age", groups=tuple(names[: len(sizes)]), member=member)


def compared(grouping: Grouping, *blocks: tuple[int, int, int, int]) -> Compared:
    truth, before, after = rows(*blocks)
    return compare(grouping, before, after, truth, LABELS)


def test_the_figures_of_a_group() -> None:
    found = compared(groups(100, 60), (0, 80, 80, 72), (1, 20, 10, 12), (0, 60, 30, 30))
    a, b = found.groups
    assert (a.name, a.n, a.few) == ("a", 100, False)
    assert [a.reference, a.quantised] == pytest.approx([0.90, 0.84])
    assert a.drop_points == pytest.approx(6)
    assert a.ci95_points[0] < 6 < a.ci95_points[1]
    # Wilson's interval of 84 of 100, from the textbook formula.
    assert list(a.quantised_ci95) == pytest.approx([0.7558, 0.8990], abs=1e-4)
    assert a.reference_recall == pytest.approx((1 + 0.5) / 2)
    assert a.quantised_recall == pytest.approx((0.9 + 0.6) / 2)
    # Only one class has rows here, and it alone counts.
    assert b.reference_recall == b.quantised_recall == pytest.approx(0.5)


def test_the_same_mix_of_classes_takes_the_mix_out_of_the_gap() -> None:
    """Both groups are right on 90 % of one class and 50 % of the other, but in other shares."""
    found = compared(
        groups(200, 200),
        *((0, 180, 162, 162), (1, 20, 10, 10)),
        *((0, 20, 18, 18), (1, 180, 90, 90)),
    )
    assert found.gap is not None
    assert found.gap.points == pytest.approx(100 * (172 - 108) / 200)
    assert found.gap.told
    assert found.even_gap is not None
    assert found.even_gap.points == pytest.approx(0, abs=1e-9)
    assert not found.even_gap.told
    assert found.even_classes == LABELS
    assert [g.quantised_even for g in found.groups] == [pytest.approx(0.7)] * 2
    words = " ".join(section(found).findings)
    assert "a gap of 32.0 points" in words
    assert "which chance explains" in words


def test_a_class_that_a_group_lacks_is_not_in_the_common_mix() -> None:
    found = compared(
        groups(100, 100), (0, 96, 96, 96), (1, 4, 0, 0), (0, 50, 25, 25), (1, 50, 0, 0)
    )
    assert found.even_classes == ("anger",)
    assert [g.quantised_even for g in found.groups] == [1.0, 0.5]


def test_the_gap_is_between_best_and_worst_and_says_what_float_has() -> None:
    found = compared(groups(100, 100, 100), (0, 100, 95, 90), (0, 100, 80, 60), (0, 100, 90, 80))
    gap = found.gap
    assert gap is not None
    assert (gap.best, gap.worst) == ("a", "b")
    assert gap.points == pytest.approx(30)
    assert gap.reference_points == pytest.approx(15)
    assert gap.ci95_points[0] + gap.ci95_points[1] == pytest.approx(60)


def test_the_interval_of_two_groups_is_the_usual_one() -> None:
    gap = compared(groups(400, 400), (0, 400, 360, 360), (0, 400, 320, 320)).gap
    assert gap is not None
    # 1.96 * sqrt(0.9 * 0.1 / 400 + 0.8 * 0.2 / 400)
    half = (gap.ci95_points[1] - gap.ci95_points[0]) / 2
    assert half == pytest.approx(4.90, abs=0.15)


def test_chance_among_many_groups_is_no_gap() -> None:
    """Ten groups that are alike: an interval that knows of the picking rarely leaves out 0."""
    rng = np.random.default_rng(5)
    told = naive = 0
    for _ in range(20):
        hits = rng.binomial(100, 0.8, 10)
        gap = compared(
            groups(*[100] * 10, names="abcdefghij"), *((0, 100, int(h), int(h)) for h in hits)
        ).gap
        assert gap is not None
        told += gap.told
        shares = np.array([hits.min(), hits.max()]) / 100
        naive += gap.points / 100 > 1.96 * np.sqrt((shares * (1 - shares) / 100).sum())
    assert naive > 5
    assert told <= 3


def test_few_rows_are_shown_and_never_judged() -> None:
    found = compared(groups(49, 50), (0, 49, 49, 0), (0, 50, 50, 50))
    small, large = found.groups
    assert (small.few, large.few) == (True, False)
    assert small.drop_points == pytest.approx(100)
    assert found.gap is None
    assert found.even_gap is None
    part = section(found)
    assert part.findings == []
    cells = [row.cells for grid in part.grids for row in grid.rows]
    assert cells[0][:2] == ("age", "too few")
    assert cells[1][0] == "a, too few"


def test_a_group_beyond_the_limit_is_a_finding() -> None:
    found = compared(groups(200, 200), (0, 200, 200, 190), (0, 200, 190, 190))
    (drop, *_) = section(found, max_drop=0.5).findings
    assert drop.startswith("By age, int8 costs 5.00 points in the group a (n 200), 95 % interval")
    assert "beyond the limit of 0.5 points" in drop
    assert not any("costs" in words for words in section(found, max_drop=6).findings)
    # 1 of 200 is a drop of 0.5 points whose interval reaches 0.
    mild = compared(groups(200, 200), (0, 200, 200, 199), (0, 200, 200, 200))
    assert section(mild, max_drop=0.3).findings == []


def test_rows_without_a_group_are_counted_and_in_none() -> None:
    truth, before, after = rows((0, 100, 90, 90))
    member = np.repeat([0, 1, -1], [60, 30, 10])
    given = Grouping(name="age", groups=("a", "b", "never"), member=member)
    found = compare(given, before, after, truth, LABELS)
    assert found.without == 10
    assert [g.name for g in found.groups] == ["a", "b"]
    nobody = Grouping(name="age", groups=(), member=np.full(100, -1))
    assert compare(nobody, before, after, truth, LABELS).groups == ()


def section(*groupings: Compared, max_drop: float = 0.5, proxies: bool = False) -> GroupsSection:
    return GroupsSection(
        key="groups", title="Groups", lead="", groupings=groupings, max_drop=max_drop,
        proxies=proxies,
    )  # fmt: skip


def test_proxies_come_in_one_sentence_and_are_called_so() -> None:
    found = compared(groups(200, 200), (0, 200, 190, 190), (0, 200, 150, 150))
    (words,) = section(found, replace(found, name="roll"), proxies=True).findings
    assert "proxies from the pixels, no groups of people" in words
    assert "age 20.0 points" in words
    assert "roll 20.0 points" in words
    assert "float 20.0; worst: b" in words


def test_the_section_is_finite_json_and_tables_of_whole_rows() -> None:
    empty = compare(
        Grouping(name="glasses", groups=(), member=np.full(2, -1)),
        *_pair(),
        np.zeros(2, int),
        LABELS,
    )
    part = section(compared(groups(100, 20), (0, 120, 100, 90)), empty)
    document = json.loads(json.dumps(part.to_json(), allow_nan=False))
    assert document["by"]["age"]["groups"]["b"]["too_few"] is True
    assert document["by"]["age"]["gap"] is None
    assert document["by"]["glasses"] == {
        "unit": None, "groups": {}, "without_group": 2, "gap": None, "gap_same_classes": None,
        "same_classes": [],
    }  # fmt: skip
    assert len({grid.key for grid in part.grids}) == 4
    for grid in part.grids:
        assert all(len(row.cells) == len(grid.columns) for row in grid.rows)
        assert len({column.name for column in grid.columns}) == len(grid.columns)
    assert len(part.figures) == 1  # nothing to draw of a grouping without groups


def _pair() -> tuple[Any, Any]:
    return np.eye(2), np.eye(2)


def test_the_chart_escapes_names_and_marks_few_rows() -> None:
    found = compared(groups(100, 20), (0, 120, 100, 90))
    evil = replace(found.groups[1], name="<script>")
    drawn = group_chart(replace(found, groups=(found.groups[0], evil)))
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "n 20, too few" in drawn
    assert drawn.count('class="few"') == 1


def numbered(n: int = 6, *, total: int = 100) -> LabelledFaces:
    """Rows 10, 11, ... of an npz."""
    truth = np.arange(n) % 2
    return LabelledFaces(
        path="some/faces.npz",
        sha256="00",
        split="PublicTest",
        images=[np.zeros((4, 4), np.uint8)] * n,
        labels=LABELS,
        truth=truth,
        target=np.eye(2, dtype=np.float32)[truth],
        copy_of_training=None,
        rows=np.arange(10, 10 + n),
        data_rows=total,
    )


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_row_numbers_and_blank_cells(tmp_path: Path) -> None:
    text = "\ufeffage , Image,glasses\nold,10,yes\nyoung, 011,\n\n,12,no\nold,13\nold,99,no\n"
    file = read_groups(written(tmp_path, text))
    assert file.columns == ("age", "glasses")
    age, glasses = groupings_of(file, numbered())
    assert (age.name, age.groups) == ("age", ("old", "young"))
    assert age.member.tolist() == [0, 1, -1, 0, -1, -1]
    assert glasses.groups == ("no", "yes")
    assert glasses.member.tolist() == [1, -1, 0, -1, -1, -1]


def test_what_is_not_measured_is_said(tmp_path: Path) -> None:
    text = "image,age\n10,old\n11,young\n50,old\n51,old\n"
    file = read_groups(written(tmp_path, text))
    p = np.eye(2)[numbered().truth]
    part = measure_groups(file, numbered(), p, p, max_drop=0.5)
    assert part.key == "groups"
    assert part.notes == (
        "4 of 6 rows have no group by age.",
        "2 images of the file are not among the rows measured here.",
    )
    assert all(note in part.lead for note in part.notes)
    assert part.to_json()["source"].endswith("groups.csv")


def folder(root: Path) -> Path:
    for i, name in enumerate(("test/happy/a.png", "test/angry/b.png", "train/happy/c.png")):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((4, 4), 40 * i, np.uint8))
    (root / "test" / "happy" / "cut.png").write_bytes(b"\x89PNG")
    return root


def test_paths_in_the_data_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    faces = load(root, FER2013_7, split="test")
    assert faces.names == ("test/angry/b.png", "test/happy/a.png")
    assert faces.data_rows == 3
    assert faces.take(np.array([1])).names == ("test/happy/a.png",)
    text = (
        "image,skin\n./test/happy/a.png,dark\ntest\\angry\\b.png,light\n"
        "train/happy/c.png,light\ntest/happy/cut.png,dark\n"
    )
    file = read_groups(written(tmp_path, text))
    (skin,) = groupings_of(file, faces)
    assert skin.member.tolist() == [1, 0]
    p = np.eye(7)[faces.truth]
    part = measure_groups(file, faces, p, p, max_drop=0.5)
    assert part.notes == (
        "1 images of the file are not among the rows measured here.",
        "1 images of the file could not be read.",
    )


def test_rows_of_a_file_have_numbers_and_no_names(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        images=np.zeros((3, 4, 4), np.uint8),
        emotion=np.array([3, 0, 3]),
        usage=np.array(["Training", "PublicTest", "PublicTest"]),
    )
    faces = load(tmp_path / "a.npz", FER2013_7, split="PublicTest")
    assert faces.names is None
    assert faces.data_names is None
    assert faces.data_rows == 3
    file = read_groups(written(tmp_path, "image,age\n0,old\n2,young\n"))
    assert groupings_of(file, faces)[0].member.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,age\n10,old\n100,old\n-1,old\nx.png,old\n9.0,old\n", r"100, -1, x\.png and 1 more"),
        ("image,age\n50,old\n", "none of the 6 pictures of the split PublicTest"),
    ],
)
def test_images_that_the_data_does_not_have(tmp_path: Path, text: str, says: str) -> None:
    file = read_groups(written(tmp_path, text))
    with pytest.raises(DataError, match=says) as caught:
        groupings_of(file, numbered())
    assert caught.value.remedy
    if "100" in text:
        assert "row numbers, 0 to 99" in caught.value.remedy


def test_unknown_paths_are_told_what_paths_look_like(tmp_path: Path) -> None:
    faces = load(folder(tmp_path / "data"), FER2013_7, split="test")
    file = read_groups(written(tmp_path, "image,age\na.png,old\n"))
    with pytest.raises(DataError, match=r"does not have: a\.png\.") as caught:
        groupings_of(file, faces)
    assert "test/angry/b.png" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("picture,age\n1,old\n", "no column image; it has picture, age"),
        ("image\n1\n", "a column image and no groups"),
        ("", "no column image; it has none"),
        ("image,age\n", "has no rows"),
        ("image,age\n,\n\n", "has no rows"),
        ("image,age\n1,old\n01,young\n", "line 3 names the image 1 a second time"),
        ("image,age\na/b.png,old\n./a/b.png,old\n", "line 3 names the image a/b.png a second"),
        ("image,Image,age\n1,2,old\n", "more than one column image"),
        ("image,age,age\n1,2,old\n", "a name of its own"),
        ("image,age,\n1,2,old\n", "a name of its own"),
        ("image,age\n1,old,3\n", "line 2 has 3 cells for 2 columns"),
        ("image,age\n,old\n", "line 2 names no image"),
        (b"image,age\n1,\xe4lter\n", "not a readable csv .not UTF-8."),
        (b"image,age\n1,\"old\n" + b"x" * 200_000, "not a readable csv"),
        ("image,age\n" + "".join(f"{i},{i}\n" for i in range(21)), "age has 21 values"),
    ],
)  # fmt: skip
def test_bad_files_are_named(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read_groups(written(tmp_path, text))
    assert caught.value.remedy
    assert "groups.csv" in caught.value.message


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="not a readable csv") as caught:
            read_groups(path)
        assert caught.value.remedy


def test_a_gap_is_told_when_its_interval_leaves_out_0() -> None:
    gap = Gap(best="a", worst="b", points=5, reference_points=4, ci95_points=(0.1, 9.9))
    assert gap.told
    assert not replace(gap, ci95_points=(0.0, 10.0)).told
