"""Faces that are found first: a scripted detector and scripted models, so that all is known."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripted_models import Said, classifier, faces
from tiny_tflite import LABELS

from edge_fer.classifier import Classifier
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import ConfigError, DataError
from edge_fer.evaluation.boxes import FRAME
from edge_fer.evaluation.composites import generated_scenes, pasted
from edge_fer.evaluation.drop import paired_drop, wilson
from edge_fer.evaluation.robustness import REPORT_SEED
from edge_fer.types import Box, Face, Frame, Image
from edge_fer_bench.accuracy.backdrops import Backdrops, backdrops
from edge_fer_bench.accuracy.end_to_end import FACES, MeasuredEndToEnd, measure_end_to_end
from edge_fer_bench.drawing.section import Section
from edge_fer_bench.statistics.paired import Paired

N = 40
ROWS = faces(N)
BEHIND = Backdrops(path=None, sha256=None, scenes=generated_scenes(2, 7))
ELSEWHERE = Face(box=Box(x=0, y=0, w=8, h=8), score=0.2)


@pytest.fixture(scope="module")
def squares() -> list[Box]:
    return [made.square for made in pasted(ROWS, BEHIND.scenes, REPORT_SEED)]


def finding(squares: list[Box], missed: set[int]) -> FakeDetector:
    """All but some; one more place that is none in the first frame."""

    def answer(frame: Frame) -> tuple[Face, ...]:
        found = () if frame.sequence in missed else (Face(box=squares[frame.sequence], score=1.0),)
        return (*found, ELSEWHERE) if frame.sequence == 0 else found

    return FakeDetector(answer)


def naming(
    wrong_given: set[int], wrong_found: set[int], missed: set[int], *, int8: bool
) -> Classifier:
    """Asked about each face as it was given and then, where it was found, as it was found."""
    asked = [
        (row, wrong)
        for row in range(N)
        for wrong, there in ((wrong_given, True), (wrong_found, row not in missed))
        if there
    ]

    def answer(call: int, pixels: Image) -> Said:
        row, wrong = asked[call]
        return (int(ROWS.truth[row]) + (row in wrong)) % len(LABELS), 0.9

    return classifier(answer, int8=int8)


MISSED = {0, 1, 2, 3}


def measured(
    squares: list[Box],
    *,
    given: tuple[set[int], set[int]] = (set(), set()),
    found: tuple[set[int], set[int]] = (set(), set()),
    missed: set[int] = MISSED,
    max_drop: float = 0.5,
) -> MeasuredEndToEnd:
    """Rows that float and int8 get wrong, of the crops as given and of the found ones."""
    reference, quantised = (naming(given[i], found[i], missed, int8=bool(i)) for i in range(2))
    return measure_end_to_end(
        finding(squares, missed),
        quantised,
        reference,
        ROWS,
        BEHIND,
        detector_name="scripted",
        max_drop=max_drop,
    )


def test_every_stretch_of_the_way_has_its_cost(squares: list[Box]) -> None:
    """Of 40, 36 are found. Given, int8 alone is wrong on 0 and 4; found, on 4 to 12, float on 4."""
    result = measured(squares, given=(set(), {0, 4}), found=({4}, set(range(4, 13))))
    assert result.found == (0.9, wilson(36, 40))
    document = result.to_json()
    assert document["found"] == {"share": 0.9, "ci95": list(wilson(36, 40)), "extra": 1}
    cost = document["int8_cost"]
    assert {name: (c["n"], c["lost_points"]) for name, c in cost.items()} == {
        "given": (40, pytest.approx(100 * 2 / 40)),
        "given_of_found": (36, pytest.approx(100 * 1 / 36)),
        "found": (36, pytest.approx(100 * 8 / 36)),
        "all": (40, pytest.approx(100 * 8 / 40)),
    }
    assert cost["found"]["reference_accuracy"] == pytest.approx(35 / 36)
    assert cost["all"]["quantised_accuracy"] == pytest.approx(27 / 40)
    assert cost["all"]["quantised_ci95"] == list(wilson(27, 40))
    low, high = cost["found"]["ci95_points"]
    assert 0 < low < 100 * 8 / 36 < high
    detection = document["detection_cost"]
    assert detection["reference"]["lost_points"] == pytest.approx(100 * 1 / 36)
    assert detection["quantised"]["lost_points"] == pytest.approx(100 * (35 - 27) / 36)
    assert detection["quantised"]["given_accuracy"] == pytest.approx(35 / 36)
    # The same as edge_fer.evaluation.composites has them.
    assert document["quantised"]["accuracy_misses_wrong"] == cost["all"]["quantised_accuracy"]
    assert document["quantised"]["cost_points"] == detection["quantised"]["lost_points"]


def test_both_models_are_shown_what_was_found_once(squares: list[Box]) -> None:
    looked: list[int] = []

    def answer(frame: Frame) -> tuple[Face, ...]:
        looked.append(frame.sequence)
        return (Face(box=squares[frame.sequence], score=1.0),)

    seen: dict[bool, list[bytes]] = {True: [], False: []}

    def remember(int8: bool) -> Classifier:
        def said(call: int, pixels: Image) -> Said:
            seen[int8].append(pixels.tobytes())
            return 0, 0.9

        return classifier(said, int8=int8)

    measure_end_to_end(
        FakeDetector(answer), remember(True), remember(False), ROWS, BEHIND, detector_name="x"
    )
    assert looked == list(range(N))
    assert seen[True] == seen[False]
    assert len(seen[True]) == 2 * N
    assert seen[True][0::2] != seen[True][1::2]  # a found crop is not quite the given one


def test_what_a_decider_must_know(squares: list[Box]) -> None:
    assert list(measured(squares, missed=set()).findings) == []
    # 34 of 40 may well be nine in ten; 20 of 40 are not.
    assert list(measured(squares, missed=set(range(6))).findings) == []
    (few,) = measured(squares, missed=set(range(20))).findings
    assert few.startswith("scripted finds 50.0 % of the pasted faces (95 % interval 35.2 to 64.8)")
    worse = set(range(4, 16))
    # Float does as badly on found crops: detection is to blame and not int8.
    (detection,) = measured(squares, found=(worse, worse)).findings
    assert detection.startswith("Detection costs int8 33.3 points of accuracy")
    both = measured(squares, found=(set(), worse))
    assert [words.split(" points")[0] for words in both.findings] == [
        "Detection costs int8 33.3",
        "On found faces int8 costs 33.3",
    ]
    assert both.grids[0].rows[2].tone == "bad"
    assert len(measured(squares, found=(set(), worse), max_drop=60.0).findings) == 1


def test_labels_in_another_order_are_the_same_labels(squares: list[Box]) -> None:
    turned = LABELS[::-1]

    def answer(call: int, pixels: Image) -> Said:  # each face as given, then as found
        return turned.index(LABELS[ROWS.truth[call // 2]]), 0.9

    result = measure_end_to_end(
        finding(squares, set()),
        naming(set(), set(), set(), int8=True),
        classifier(answer, int8=False, labels=turned),
        ROWS,
        BEHIND,
        detector_name="scripted",
    )
    cost = result.to_json()["int8_cost"]
    assert {c["reference_accuracy"] for c in cost.values()} == {1.0}
    assert {c["lost_points"] for c in cost.values()} == {0.0}


def test_where_nothing_is_found_there_is_no_cost_of_detection(squares: list[Box]) -> None:
    result = measured(squares, missed=set(range(N)))
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert document["found"]["share"] == 0.0
    assert document["int8_cost"]["found"] == {
        "n": 0,
        "reference_accuracy": None,
        "quantised_accuracy": None,
        "reference_ci95": None,
        "quantised_ci95": None,
        "lost_points": None,
        "ci95_points": None,
        "mcnemar_p": None,
    }
    assert document["int8_cost"]["all"]["quantised_accuracy"] == 0.0
    assert list(result.grids[1].rows[1].cells[2:]) == [None] * 5


def test_it_is_a_section(squares: list[Box]) -> None:
    result: Section = measured(squares)
    assert result.key == "end_to_end"
    assert "all 40 rows" in result.lead
    assert "2 generated backgrounds" in result.lead
    assert "--scenes" in result.lead
    for grid in result.grids:
        assert {len(row.cells) for row in grid.rows} == {len(grid.columns)}
        assert len({row.cells[0] for row in grid.rows}) == len(grid.rows)
    assert "finds 36 of 40 faces" in result.grids[0].note


def test_faces_are_drawn_and_that_is_said(squares: list[Box]) -> None:
    result = measure_end_to_end(
        FakeDetector(),
        classifier(lambda call, pixels: (0, 0.9), int8=True),
        classifier(lambda call, pixels: (0, 0.9), int8=False),
        ROWS,
        BEHIND,
        detector_name="x",
        count=5,
    )
    assert (len(result.faces), result.of) == (5, N)
    assert "5 of 40 rows, drawn by a seed" in result.lead
    assert result.to_json()["of"] == N
    assert FACES == 500


def test_generated_scenes_come_from_their_seed() -> None:
    first, again, other = (generated_scenes(3, seed) for seed in (1, 1, 2))
    pixels = [scene.view().frame.colour for scene in first]
    assert all(picture is not None for picture in pixels)
    assert pixels[0].shape == (FRAME[1], FRAME[0], 3)  # type: ignore[union-attr]
    assert np.array_equal(pixels[1], again[1].view().frame.colour)  # type: ignore[arg-type]
    assert not np.array_equal(pixels[0], pixels[1])  # type: ignore[arg-type]
    assert not np.array_equal(pixels[0], other[0].view().frame.colour)  # type: ignore[arg-type]


def test_scenes_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.full((90, 120, 3), 80, np.uint8))
    found = backdrops(folder)
    assert (found.path, len(found.scenes)) == (str(folder), 1)
    assert found.words == "1 scene of rooms"
    assert found.sha256
    with zipfile.ZipFile(tmp_path / "rooms.zip", "w") as archive:
        archive.write(folder / "a.png", "a.png")
    assert len(backdrops(tmp_path / "rooms.zip").scenes) == 1
    assert backdrops(None).path is None


def test_scenes_that_cannot_be_used(tmp_path: Path) -> None:
    empty, labelled = tmp_path / "empty", tmp_path / "labelled"
    for folder in (empty, labelled):
        folder.mkdir()
    (empty / "notes.txt").write_text("no pictures")
    cv2.imwrite(str(labelled / "a.png"), np.full((90, 120, 3), 80, np.uint8))
    (labelled / "boxes.csv").write_text("image,x1,y1,x2,y2\na.png,1,1,30,30\n")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and no more")
    for path, says in (
        (empty, "no pictures"),
        (labelled, "has faces: it has a boxes.csv"),
        (tmp_path / "gone", "cannot be read"),
        (tmp_path / "cut.zip", "cannot be read"),
    ):
        with pytest.raises(DataError, match=says) as caught:
            backdrops(path)
        assert caught.value.remedy


def test_a_damaged_scene_is_named(squares: list[Box], tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG and no more")
    behind = backdrops(tmp_path)
    with pytest.raises(DataError, match=r"torn\.png is not a readable picture"):
        measure_end_to_end(
            FakeDetector(),
            naming(set(), set(), MISSED, int8=True),
            naming(set(), set(), MISSED, int8=False),
            ROWS,
            behind,
            detector_name="x",
        )


def test_models_and_rows_that_do_not_fit() -> None:
    int8, reference = (naming(set(), set(), MISSED, int8=kind) for kind in (True, False))
    with pytest.raises(DataError, match="no faces"):
        measure_end_to_end(
            FakeDetector(),
            int8,
            reference,
            ROWS.take(np.empty(0, np.int64)),
            BEHIND,
            detector_name="x",
        )
    other = classifier(lambda call, pixels: (0, 0.9), int8=False, labels=("fear", *LABELS[1:]))
    with pytest.raises(ConfigError, match="has the labels fear"):
        measure_end_to_end(FakeDetector(), int8, other, ROWS, BEHIND, detector_name="x")


def test_progress_and_ctrl_c() -> None:
    told: list[tuple[float, float]] = []

    def tell(done: float, total: float) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_end_to_end(
            FakeDetector(),
            naming(set(), set(), set(range(N)), int8=True),
            naming(set(), set(), set(range(N)), int8=False),
            ROWS,
            BEHIND,
            detector_name="x",
            on_progress=tell,
        )
    assert told == [(1, N), (2, N), (3, N)]


def test_paired_rows() -> None:
    before, after = np.array([1, 1, 1, 0], bool), np.array([1, 0, 0, 1], bool)
    pair = Paired.of(before, after)
    assert (pair.n, pair.before, pair.after, pair.lost_points) == (4, 0.75, 0.5, 25.0)
    assert pair.ci95_points == paired_drop(before, after)[1]
    assert pair.mcnemar_p == 1.0  # 2 against 1
    assert not pair.beyond(0.5, 1)
    assert Paired.of(np.ones(50, bool), np.zeros(50, bool)).beyond(80.0, 2)
    assert not Paired.of(before[:0], after[:0]).beyond(0.0, 1)
    # 7 of 100, p 0.016: enough for one comparison of these, and for none of four.
    lost = np.arange(100) >= 7
    assert Paired.of(np.ones(100, bool), lost).beyond(0.5, 1)
    assert not Paired.of(np.ones(100, bool), lost).beyond(0.5, 4)


def test_what_detection_may_cost_is_no_limit_of_a_class(squares: list[Box]) -> None:
    """9 of 40 are beyond it; 6 of 40, p 0.03, are too few for one of two comparisons."""
    (words,) = measured(squares, found=(set(range(9)), set(range(9))), missed=set()).findings
    assert words.startswith("Detection costs int8 22.5 points")
    assert words.endswith("beyond 5.")
    wrong = set(range(6))
    few = measured(squares, found=(set(), wrong), missed=set())
    assert list(few.findings) == []
    assert few.grids[0].rows[2].tone == "plain"
