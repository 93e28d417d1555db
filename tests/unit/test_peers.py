"""The comparison with peers: figures on tiny arrays, what is left out, and the README's table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from edge_fer.errors import DataError, DeviceError, MissingExtra, ModelError
from edge_fer.evaluation.data import LabelledFaces, labelled, read
from edge_fer.evaluation.drop import wilson
from edge_fer.evaluation.labels import FER2013_7, FERPLUS8, SCHEMES
from edge_fer.models import find
from peers import vicksam
from peers.compare import main
from peers.comparison import Request, compare, splits, table
from peers.entrant import PARTS, Card, Part
from peers.ours import open_ours, shipped_classifiers
from peers.pypi_fer import FerEntrant, find_python
from peers.scoring import columns, score
from peers.tables import BEGIN, END, inserted, markdown, render
from peers.timing import core, interleaved

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "peers" / "results.json"
ABC = ("a", "b", "c")


def faces(
    truth: Sequence[int], labels: tuple[str, ...] = ABC, copies: Sequence[int] | None = ()
) -> LabelledFaces:
    n = len(truth)
    return LabelledFaces(
        path="x.npz",
        sha256="00",
        split="PublicTest",
        images=[np.full((4, 4), i, np.uint8) for i in range(n)],
        labels=labels,
        truth=np.array(truth),
        target=np.eye(len(labels), dtype=np.float32)[list(truth)],
        copy_of_training=None if copies is None else np.isin(np.arange(n), list(copies)),
    )


def says(*classes: int, of: int = 3) -> np.ndarray:
    return np.eye(of)[list(classes)]


def card(name: str, labels: tuple[str, ...] = ABC, *, ours: bool = False) -> Card:
    return Card(
        name=name,
        ours=ours,
        numbers="int8",
        labels=labels,
        size_bytes=12_345,
        sha256="00",
        runtime="none",
        terms="none",
    )


def test_columns_go_by_name_and_what_is_not_known_is_never_said() -> None:
    p = np.array([[0.7, 0.1, 0.2]])
    assert columns(p, ("c", "a", "b"), ("a", "x", "b", "c")).tolist() == [[0.1, 0.0, 0.2, 0.7]]


def test_figures_full_and_clean() -> None:
    # Rows 0 to 3; row 3 is a copy. This one is right in rows 0 and 3, the reference in 0, 1, 2.
    rows = faces([0, 0, 1, 1], copies=[3])
    found = score(says(0, 1, 2, 1), rows, says(0, 0, 1, 2))
    assert (found["n"], found["accuracy"]) == (4, 0.5)
    assert found["ci95"] == list(wilson(2, 4))
    assert found["clean"] == {"n": 3, "accuracy": 1 / 3, "ci95": list(wilson(1, 3))}
    assert found["macro_recall"] == 0.5  # a and b; c has no rows
    assert found["per_class"]["c"] == {"n": 0, "recall": None}
    # Of the three clean rows the reference alone has two.
    assert found["difference"]["n"] == 3
    assert found["difference"]["points"] == pytest.approx(200 / 3)
    low, high = found["difference"]["ci95_points"]
    assert low <= 200 / 3 <= high


def test_without_known_copies_there_is_no_clean_figure() -> None:
    found = score(says(0, 1), faces([0, 1], copies=None), says(0, 1))
    assert found["clean"] is None
    assert found["difference"] is None


def test_the_mean_recall_is_over_classes_with_fifty_rows() -> None:
    truth = [0] * 50 + [1] * 49
    said = says(*([0] * 25 + [1] * 25 + [1] * 49))
    found = score(said, faces(truth), None)
    assert found["mean_recall"] == 0.5  # b, with 49 rows all right, does not count
    assert found["macro_recall"] == 0.75
    assert score(says(0), faces([0]), None)["mean_recall"] is None


def test_a_model_that_lacks_a_class_is_scored_both_ways() -> None:
    rows = faces([0, 1, 2, 2])
    full = says(0, 1, 2, 0)
    lacks = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = table(
        "ferplus8", rows, [(card("ours", ours=True), full), (card("peer", ("b", "a")), lacks)]
    )
    assert found["reference"] == "ours"
    ours, missed, left_out = found["scores"]
    assert (ours["accuracy"], ours["difference"], ours["rows_of_lacking"]) == (0.75, None, None)
    # The peer says b, b, b, a: right in row 1 only.
    assert (missed["rows_of_lacking"], missed["n"], missed["accuracy"]) == ("missed", 4, 0.25)
    assert missed["macro_recall"] == pytest.approx(1 / 3)
    assert missed["difference"]["points"] == 50
    assert (left_out["rows_of_lacking"], left_out["n"], left_out["accuracy"]) == (
        "left_out",
        2,
        0.5,
    )
    assert left_out["macro_recall"] == 0.5
    assert left_out["difference"]["points"] == 50
    assert left_out["difference"]["n"] == 2
    assert missed["lacks"] == left_out["lacks"] == ["c"]


def test_without_a_whole_model_of_ours_nobody_is_compared() -> None:
    given = [(card("small", ("a", "b"), ours=True), says(0, 1, of=2)), (card("peer"), says(0, 1))]
    found = table("fer2013-7", faces([0, 1]), given)
    assert found["reference"] is None
    assert all(one["difference"] is None for one in found["scores"])


class Clockwork:
    """An entrant that takes as long as it is told to; every third turn ten times as long."""

    def __init__(self, name: str, ns: int) -> None:
        self.card = card(name)
        self.ns = ns
        self.turns = 0
        self.cores: set[frozenset[int]] = set()

    def time(self, part: Part, calls: int) -> list[int]:
        self.turns += 1
        self.cores.add(frozenset(os.sched_getaffinity(0)))
        spent = self.ns * (10 if self.turns % 3 == 0 else 1) * (2 if part == "network" else 1)
        return [spent] * (calls - 1) + [1_000_000]  # one hiccup, which the median leaves out


def test_times_are_ratios_of_interleaved_turns_on_one_core() -> None:
    before = os.sched_getaffinity(0)
    first, second = Clockwork("first", 100), Clockwork("second", 150)
    told: list[tuple[int, int]] = []
    found = interleaved([first, second], rounds=5, calls=4, on_round=lambda *at: told.append(at))  # type: ignore[list-item]
    assert {part: ratio.median for part, ratio in found[0].items()} == dict.fromkeys(PARTS, 1.0)
    assert {part: ratio.median for part, ratio in found[1].items()} == dict.fromkeys(PARTS, 1.5)
    assert first.cores == second.cores == {frozenset({core()})}
    assert os.sched_getaffinity(0) == before
    assert told[-1] == (10, 10)


def test_the_core_is_given_back_after_an_error() -> None:
    before = os.sched_getaffinity(0)

    class Stopping(Clockwork):
        def time(self, part: Part, calls: int) -> list[int]:
            assert len(os.sched_getaffinity(0)) == 1
            raise DeviceError("stopped")

    with pytest.raises(DeviceError, match="stopped"):
        interleaved([Stopping("one", 1)], rounds=1, calls=1)  # type: ignore[list-item]
    assert os.sched_getaffinity(0) == before


# --- data and skipping


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FER2013 in small: noise, sure votes, and two test pictures that are Training pictures."""
    rng = np.random.default_rng(0)
    n = 90
    images = rng.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    images[88:] = images[:2]
    winner = np.arange(n) % 8
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(
        path,
        images=images,
        emotion=(np.arange(n) % 7).astype(np.uint8),
        usage=np.repeat(np.array([0, 1], np.uint8), [50, 40]),
        ferplus=10 * np.eye(10, dtype=np.int8)[winner],
    )
    return path


@pytest.fixture(scope="module")
def document(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    nowhere = tmp_path_factory.mktemp("nowhere")
    told: list[str] = []
    found = compare(
        Request(
            data=data,
            peer=nowhere / "none.tflite",
            fer_python=nowhere / "python",
            rounds=2,
            calls=2,
        ),
        on_skip=lambda one: told.append(one.name),
    )
    assert told == [one["name"] for one in found["skipped"]]
    return found


def test_peers_that_are_not_there_are_left_out_with_a_reason(document: dict[str, Any]) -> None:
    reasons = {one["name"]: one["reason"] for one in document["skipped"]}
    assert set(reasons) == {vicksam.NAME, vicksam.INT8_NAME, "fer"}
    assert "--peer" in reasons[vicksam.NAME]
    assert "--make-venv" in reasons["fer"]
    text = markdown(document)
    for name, reason in reasons.items():
        assert f"Not measured: {name}. {reason}" in text
    json.dumps(document, allow_nan=False)


def test_ours_are_all_that_is_shipped_and_their_figures_are_those_of_evaluate(
    document: dict[str, Any], data: Path
) -> None:
    from edge_fer.assemble import open_classifier
    from edge_fer.evaluation.evaluate import evaluate

    names = [model.name for model in shipped_classifiers()]
    assert [one["name"] for one in document["entrants"]] == names
    assert "expression" in names
    assert not [name for name in names if name.endswith(".float")]
    by_scheme = {one["scheme"]: one for one in document["tables"]}
    assert {scheme: (t["n"], t["n_clean"]) for scheme, t in by_scheme.items()} == {
        "ferplus8": (40, 38),
        "fer2013-7": (40, 38),
    }
    assert by_scheme["ferplus8"]["reference"] == "expression"
    ours = by_scheme["ferplus8"]["scores"][0]
    found = evaluate(open_classifier("expression"), labelled(read(data), FERPLUS8, split=None))
    expected = found.to_json("", "")
    assert ours["accuracy"] == expected["accuracy"]
    assert ours["macro_recall"] == pytest.approx(expected["macro_recall"])
    assert ours["clean"]["accuracy"] == expected["clean"]["accuracy"]
    assert document["entrants"][0]["time"]["answer"]["median"] == 1.0


def test_data_without_votes_are_not_passed_off_as_ferplus(data: Path) -> None:
    rows = replace(read(data), votes=None)
    told: list[tuple[str, str]] = []
    found = splits(rows, None, lambda *what: told.append(what))
    assert list(found) == ["fer2013-7"]
    ((name, reason),) = told
    assert "ferplus8" in name
    assert "--ferplus" in reason
    with pytest.raises(DataError, match="neither FER\\+ votes nor"):
        splits(replace(rows, classes=tuple("abcdefg")), None, lambda name, why: None)


def test_no_or_a_wrong_peer_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No --peer"):
        vicksam.read(None)
    text = tmp_path / "peer.tflite"
    text.write_text("not a model")
    with pytest.raises(ModelError, match=r"not a \.tflite"):
        vicksam.read(text)
    # A model whose graph is not the peer's.
    with pytest.raises(ModelError, match="int8, stated float32"):
        vicksam.open_float(vicksam.read(find("expression")))


def test_an_entrant_of_ours_answers_as_its_classifier_does() -> None:
    entrant = open_ours(shipped_classifiers()[0])
    assert entrant.card.size_bytes == find("expression").stat().st_size
    entrant.prepare([np.zeros((48, 48), np.uint8)])
    for part in PARTS:
        spent = entrant.time(part, 3)
        assert len(spent) == 3
        assert min(spent) > 0
    entrant.close()
    entrant.close()


# --- the process that runs fer

WORKER = """
import json, sys
import numpy as np
print(json.dumps({"labels": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    "size_bytes": 5, "sha256": "ab", "fer": "1", "tensorflow": "2", "opencv": "4", "numpy": "2",
    "python": "3"}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "classify":
        n = len(np.load(asked["rows"])["images"])
        np.savez(asked["out"], probabilities=np.eye(7, dtype=np.float32)[np.arange(n) % 7])
        print(json.dumps({"n": n}), flush=True)
    else:
        print(json.dumps({"ns": [7] * asked["calls"]}), flush=True)
"""


def worker(folder: Path, text: str) -> Path:
    path = folder / "worker.py"
    path.write_text(text)
    return path


def test_fer_is_asked_through_its_process(tmp_path: Path) -> None:
    entrant = FerEntrant(Path(sys.executable), worker=worker(tmp_path, WORKER))
    assert entrant.card.name == "fer 1"
    assert entrant.card.labels == FER2013_7  # angry is anger, happy is happiness, ...
    rows = faces([0] * 8, FER2013_7)
    found = entrant.probabilities(rows)
    assert found.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    entrant.prepare(rows.images)
    assert entrant.time("answer", 3) == [7, 7, 7]
    uneven = replace(rows, images=[*rows.images[1:], np.zeros((5, 4), np.uint8)])
    with pytest.raises(DataError, match="one size"):
        entrant.probabilities(uneven)
    entrant.close()
    entrant.close()
    with pytest.raises(DeviceError, match="ended"):
        entrant.time("answer", 1)


@pytest.mark.parametrize(
    ("text", "patience_s", "error", "words"),
    [
        ("import nosuchpackage", 60.0, MissingExtra, "No module named 'nosuchpackage'"),
        ("raise SystemExit('out of order')", 60.0, DeviceError, "out of order"),
        ("import time; time.sleep(60)", 0.5, DeviceError, "it said nothing"),
    ],
)
def test_a_process_that_fails_is_an_error_with_a_remedy(
    tmp_path: Path, text: str, patience_s: float, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        FerEntrant(Path(sys.executable), worker=worker(tmp_path, text), patience_s=patience_s)
    assert "--make-venv" in str(caught.value)


def test_no_environment_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="--make-venv"):
        find_python(None, tmp_path / "none")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").touch()
    assert find_python(None, tmp_path) == folder / "python"
    with pytest.raises(MissingExtra, match="cannot be run"):
        FerEntrant(folder / "python")


# --- tables


def full_document() -> dict[str, Any]:
    """Two schemes, one model of ours in the first, a peer that lacks c."""
    rows = faces([0, 1, 2, 2])
    given = [
        (card("ours", ours=True), says(0, 1, 2, 0)),
        (card("peer", ("a", "b")), says(0, 1, 0, 1, of=2)),
    ]
    time = {part: {"median": 1.25, "low": 1.0, "high": 1.5} for part in PARTS}
    return {
        "schema": "edge-fer/peers/1",
        "data": {"name": "x.npz", "sha256": "00"},
        "sample": None,
        "device": "Measured on a virtual machine (CPU), not on a Raspberry Pi.",
        "timing": {"reference": "ours", "rounds": 3, "calls": 2},
        "entrants": [
            {"name": one.name, "ours": one.ours, "numbers": "int8", "size_bytes": 12_345}
            | {"time": time}
            for one, _ in given
        ],
        "tables": [
            table("ferplus8", rows, given),
            table("fer2013-7", faces([0, 1], ("a", "b")), [(given[1][0], given[1][1][:2])]),
        ],
        "skipped": [{"name": "third", "reason": "Not here. Get it."}],
    }


def test_markdown_has_a_row_per_score_and_says_which_rows_they_are() -> None:
    text = markdown(full_document())
    assert "FER+ majority labels, 8 classes: 4 rows of PublicTest, 4 of them clean" in text
    assert "FER2013's original labels, 7 classes: 2 rows of PublicTest" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {10}
    low, high = (100 * edge for edge in wilson(3, 4))
    interval = f"75.00 ({low:.1f} to {high:.1f})"
    nothing = "\u2013"
    cells = ["**`ours`**", interval, interval, "83.3", nothing, nothing, "1.25", "1.25"]
    assert f"| {' | '.join(cells)} | int8, 12 kB |" in lines
    assert [line.split(" | ")[0] for line in lines[3:5]] == [
        "| peer; c missed",
        "| peer; c left out (n 2)",
    ]
    assert "| +25.00 (" in lines[3]
    assert "not on a Raspberry Pi" in text
    assert "Not measured: third. Not here. Get it." in text
    assert "no result" not in text
    assert "no result" in markdown(full_document() | {"sample": 2})


@pytest.mark.parametrize("width", [60, 200])
def test_the_terminal_shows_the_same_figures(width: int) -> None:
    out = StringIO()
    render(full_document(), Console(file=out, width=width, highlight=False))
    shown = out.getvalue()
    for words in ("ours", "peer; c", "75.00", "83.3", "+25.00", "1.25", "12 kB", "third"):
        assert words in shown
    assert "`" not in shown


def test_the_table_goes_between_its_markers() -> None:
    assert inserted(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    for wrong in ("", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"):
        with pytest.raises(DataError, match="no place for the table"):
            inserted(wrong, "new\n")


def test_the_readme_shows_the_committed_results() -> None:
    if not RESULTS.exists():
        pytest.skip("benchmarks/peers/results.json is not committed yet")
    stored = json.loads(RESULTS.read_text())
    assert stored["sample"] is None
    assert stored["skipped"] == []
    assert {t["scheme"] for t in stored["tables"]} == set(SCHEMES)
    readme = (ROOT / "README.md").read_text()
    assert inserted(readme, markdown(stored)) == readme
    shipped = {model.name: model.sha256 for model in shipped_classifiers()}
    assert {e["name"]: e["sha256"] for e in stored["entrants"] if e["ours"]} == shipped


# --- the command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either --data or --from"),
        (["--data", "none.npz"], "There is no data at none.npz"),
        (["--data", "none.npz", "--from", "x.json"], "either --data or --from"),
        (["--from", "none.json"], "cannot be read"),
        (["--rows", "0"], "--rows"),
    ],
)
def test_wrong_use_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_earlier_results_are_printed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(full_document()))
    readme.write_text(f"Title\n{BEGIN}\n{END}\nEnd\n")
    assert main(["--from", str(results), "--markdown", str(readme)]) == 0
    assert "FER+ majority labels" in capsys.readouterr().out
    assert readme.read_text() == f"Title\n{BEGIN}\n{markdown(full_document())}{END}\nEnd\n"
    (tmp_path / "other.md").write_text("A README without a place for it.\n")
    assert main(["--from", str(results), "--markdown", str(tmp_path / "other.md")]) == 2
    assert "has no place for the table" in capsys.readouterr().err
    assert (tmp_path / "other.md").read_text() == "A README without a place for it.\n"
    results.write_text("{}")
    assert main(["--from", str(results)]) == 2
