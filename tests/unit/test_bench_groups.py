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
    assert found.gap.told(2)
    assert found.even_gap is not None
    assert found.even_gap.points == pytest.approx(0, abs=1e-9)
    assert not found.even_gap.told(1)
    assert found.even_classes == LABELS
    assert [g.quantised_even for g in found.groups] == [pytest.approx(0.7)] * 2
    words = " ".join(section(found).findings)
    assert words.startswith("Both models are right less often on b than on a (by age): a gap of ")
    assert "a gap of 32.0 points in int8" in words
    assert "and 32.0 in float" in words
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
        told += gap.told(1)
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
    milder = compared(groups(200, 200), (0, 200, 190, 190), (0, 200, 160, 160))
    (words,) = section(replace(milder, name="roll"), found, proxies=True).findings
    assert words.startswith(
        "Both models are right less often with age b than with age a (proxies from the pixels, no "
        "groups of people): a gap of 20.0 points in int8, 95 % interval "
    )
    assert words.endswith(
        "and 20.0 in float, with the same mix of classes; and 1 more grouping, see the table."
    )


def test_int8_is_named_alone_only_where_it_alone_is_worse() -> None:
    """Float is nearly as bad on b: no fault of int8's. Where int8 loses 30 of 200 there, it is."""
    alike = compared(groups(200, 200), (0, 200, 190, 190), (0, 200, 150, 148))
    assert section(alike).findings[-1].startswith("Both models are right less often on b")
    own = compared(groups(200, 200), (0, 200, 190, 190), (0, 200, 150, 120))
    drop, gap = section(own).findings
    assert drop.startswith("By age, int8 costs 15.00 points in the group b")
    assert gap.startswith("Int8 is right less often on b than on a")
    assert "35.0 points in int8" in gap
    assert "and 20.0 in float" in gap


@pytest.mark.parametrize("proxies", [False, True])
def test_many_bad_groups_are_one_sentence_with_the_worst(proxies: bool) -> None:
    """Three groupings of four groups that all lose: two sentences, not 15."""
    blocks = [(0, 200, 200, right) for right in (180, 150, 120, 60)]
    found = compared(groups(200, 200, 200, 200), *blocks)
    each = [replace(found, name=name) for name in ("age", "glasses", "skin")]
    drop, gap = section(*each, proxies=proxies).findings
    assert drop.startswith("By age, int8 costs 70.00 points in the group d (n 200)")
    assert drop.endswith("beyond the limit of 0.5 points; and 11 more groups, see the table.")
    assert gap.endswith("; and 2 more groupings, see the table.")
    assert [row.tone for row in section(*each).grids[1].rows] == ["bad"] * 4


def test_a_drop_among_many_groups_is_held_against_their_number() -> None:
    """7 of 100, p 0.016: one of two groups is red, one of ten is what chance gives."""
    rest = (0, 100, 90, 90)
    two = section(compared(groups(100, 100), (0, 100, 97, 90), rest))
    ten = section(compared(groups(*[100] * 10, names="abcdefghij"), (0, 100, 97, 90), *[rest] * 9))
    assert [row.tone for row in two.grids[1].rows] == ["bad", "plain"]
    assert {row.tone for row in ten.grids[1].rows} == {"plain"}
    assert len(two.findings) == 1
    assert ten.findings == []


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
        ("image;sex\n1;f\n", "has semicolons between its columns, and commas are wanted"),
        ("\ufeffimage\tsex\n1\tf\n", "has tabs between its columns, and commas are wanted"),
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


def test_a_gap_is_told_when_its_interval_leaves_out_0_and_chance_does_not_explain_it() -> None:
    gap = Gap(best="a", worst="b", points=5, reference_points=4, ci95_points=(0.1, 9.9), p=0.02)
    assert gap.told(2)
    assert not gap.told(3)
    assert not replace(gap, ci95_points=(0.0, 10.0)).told(1)


@pytest.mark.parametrize(
    ("sizes", "right"),
    [
        (((5, 60), (900, 60), (900, 60)), (0.95, 0.8)),  # few rows of a class that is easy
        (((5, 60), (900, 60)), (0.9, 0.8)),
        (((6, 300), (600, 300)), (0.97, 0.6)),
        (((200, 100), (200, 100)), (0.95, 0.7)),
        (((60, 0), (900, 0)), (0.97, 0.5)),
    ],
)
def test_groups_that_are_alike_are_seldom_told_apart(
    sizes: tuple[tuple[int, int], ...], right: tuple[float, float]
) -> None:
    """Nominal 5 %, at most 10 % of 60 draws, also where a few rows of a class are all right."""
    rng = np.random.default_rng(8)
    given = groups(*(sum(each) for each in sizes))
    told = likely = apart = 0
    for _ in range(60):
        blocks = [
            (which, n, hits, hits)
            for each in sizes
            for which, n in enumerate(each)
            for hits in [int(rng.binomial(n, right[which]))]
        ]
        found = compared(given, *blocks)
        assert found.even_gap is not None
        told += found.even_gap.told(1)
        likely += found.even_gap.p < 0.05
        apart += found.even_gap.ci95_points[0] > 0
    assert told <= 6
    # Either alone nearly does.
    assert likely <= 6
    assert apart <= 8


def test_a_gap_among_many_is_held_against_their_number() -> None:
    """98 and 89 of 100, p 0.01: a gap where it is the one grouping, chance where it is of five."""
    found = compared(groups(100, 100), (0, 100, 98, 98), (0, 100, 89, 89))
    (words,) = section(found).findings
    assert words.startswith("Both models are right less often on b")
    names = ("age", "glasses", "skin", "sex", "height")
    many = section(*(replace(found, name=name) for name in names))
    assert many.findings == []
    assert [row.tone for row in section(found).grids[0].rows] == ["strong"]
    assert {row.tone for row in many.grids[0].rows} == {"plain"}


def test_a_gap_that_is_there_is_told_all_the_same() -> None:
    """The plain rule for two groups, 1.96 standard errors, is passed by both."""
    found = compared(groups(400, 400), (0, 400, 360, 360), (0, 400, 320, 320))
    assert found.gap is not None
    assert found.gap.told(5)
    assert found.gap.p < 0.001
