"""The comparison with peers: figures on tiny arrays, what is left out, and the README's table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
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
from peers import frames, vicksam
from peers.asked import AskedEntrant
from peers.compare import main
from peers.comparison import SCHEMA, Request, compare, splits, table
from peers.entrant import PARTS, Card, Part
from peers.frames import Clip, Contestant, contest, contestants, read_clip
from peers.ours import open_ours, shipped_classifiers
from peers.process import Process, command
from peers.scoring import columns, score
from peers.summary import as_ratio, summary
from peers.tables import MARKERS, check_places, filled_in, markdown, places, render
from peers.timing import core, in_turns, interleaved, ratio
from peers.venvs import VENVS, Venv, find_python, installed, make

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "peers" / "results.json"
PEERS_README = RESULTS.with_name("README.md")
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
    first, second = Clockwork("first", 100), Clockwork("second", 200)
    told: list[tuple[int, int]] = []
    found = interleaved([first, second], rounds=5, calls=4, on_round=lambda *at: told.append(at))  # type: ignore[list-item]
    assert {part: one.median for part, one in found[0].items()} == dict.fromkeys(PARTS, 1.0)
    assert {part: one.median for part, one in found[1].items()} == dict.fromkeys(PARTS, 0.5)
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


def test_another_one_begins_each_round_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    turns: dict[str, int] = {"a": 0, "b": 0, "c": 0}

    def block(name: str) -> Callable[[], list[int]]:
        def once() -> list[int]:
            order.append(name)
            turns[name] += 1
            return [turns[name] * 1_000_000] * 3

        return once

    found = in_turns([block(name) for name in turns], rounds=3)
    assert "".join(order) == "bca" + "abc" + "cab" + "bca"
    assert found.tolist() == [[2, 2, 2], [3, 3, 3], [4, 4, 4]]


def test_one_that_fails_has_no_further_turn_and_no_figure() -> None:
    calls: list[str] = []
    lost: list[tuple[int, str]] = []

    def fine() -> list[int]:
        calls.append("fine")
        return [2_000_000]

    def failing() -> list[int]:
        calls.append("failing")
        if calls.count("failing") == 3:
            raise DeviceError("it broke")
        return [1_000_000]

    found = in_turns(
        [fine, failing], rounds=4, on_lost=lambda place, err: lost.append((place, str(err)))
    )
    assert lost == [(1, "it broke")]
    assert (calls.count("fine"), calls.count("failing")) == (5, 3)
    assert ratio(found[:, 0], found[:, 1]) is None
    assert found[:, 0].tolist() == [2.0] * 4
    calls.clear()
    with pytest.raises(DeviceError, match="it broke"):  # without the first there is no ratio
        in_turns([failing, fine], rounds=4)


def test_an_entrant_that_fails_is_lost_once() -> None:
    class Failing(Clockwork):
        def time(self, part: Part, calls: int) -> list[int]:
            raise DeviceError("no answer")

    lost: list[int] = []
    found = interleaved(
        [Clockwork("first", 100), Failing("second", 1), Clockwork("third", 100)],  # type: ignore[list-item]
        rounds=2,
        calls=3,
        on_lost=lambda place, err: lost.append(place),
    )
    assert lost == [1]
    assert found[1] == {}
    assert found[2]["network"].median == 1.0


def test_quartiles_are_of_the_rounds_ratios() -> None:
    found = ratio(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.full(5, 2.0))
    assert found is not None
    assert (found.low, found.median, found.high) == (1.0, 1.5, 2.0)
    assert found.ci95 is None  # five rounds are too few for one
    # Six are enough, and the first and the last are its ends.
    six = ratio(np.array([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]), np.full(6, 2.0))
    assert six is not None
    assert six.ci95 == (0.5, 3.0)


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
            venvs=nowhere,
            rounds=2,
            calls=2,
        ),
        on_skip=lambda one: told.append(one.name),
    )
    assert told == [one["name"] for one in found["skipped"]]
    return found


def test_peers_that_are_not_there_are_left_out_with_a_reason(document: dict[str, Any]) -> None:
    reasons = {one["name"]: one["reason"] for one in document["skipped"]}
    assert set(reasons) == {
        vicksam.NAME,
        vicksam.INT8_NAME,
        "fer",
        "Haar and Keras",
        "whole frames",
    }
    assert "--peer" in reasons[vicksam.NAME]
    assert "--make-venvs" in reasons["fer"]
    assert "--make-venvs" in reasons["Haar and Keras"]
    assert "--video" in reasons["whole frames"]
    assert document["frames"] is None
    text = markdown(document, "summary")
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


# --- workers

WORKER = """
import json, sys
import numpy as np
print(json.dumps({"name": "fer 1", "numbers": "int8 weights", "runtime": "none", "terms": "MIT",
    "labels": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    "model": __file__, "files": [__file__], "peak_mb": 3.0}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "classify":
        n = len(np.load(asked["rows"])["images"])
        np.savez(asked["out"], probabilities=np.eye(7, dtype=np.float32)[np.arange(n) % 7])
        print(json.dumps({"n": n}), flush=True)
    else:
        print(json.dumps({"ns": [7] * asked["calls"]}), flush=True)
"""


def worker(folder: Path, text: str, name: str = "worker.py") -> list[str]:
    path = folder / name
    path.write_text(text)
    return [sys.executable, str(path)]


def test_a_peer_is_asked_through_its_process(tmp_path: Path) -> None:
    entrant = AskedEntrant(Process("fer", worker(tmp_path, WORKER)))
    assert entrant.card.name == "fer 1"
    assert entrant.card.size_bytes == len(WORKER)
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
        Process("peer", worker(tmp_path, text), patience_s=patience_s)
    assert "--make-venvs" in str(caught.value)


def test_no_environment_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    venv = Venv(folder="some", installs=())
    with pytest.raises(MissingExtra, match="--make-venvs"):
        find_python(venv, tmp_path)
    folder = tmp_path / "some" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").touch()
    assert find_python(venv, tmp_path) == folder / "python"
    with pytest.raises(MissingExtra, match="cannot be run"):
        Process("peer", command(folder / "python", "fer_worker"))


def test_pip_that_fails_is_said(tmp_path: Path) -> None:
    venv = Venv(folder="some", installs=(("--no-index", "nosuchpackage-anywhere"),))
    said: list[str] = []
    with pytest.raises(MissingExtra, match="some could not be made") as caught:
        make(venv, tmp_path, on_step=said.append)
    assert "nosuchpackage-anywhere" in str(caught.value)
    assert len(said) == 2


def test_installed_is_what_was_asked_for(tmp_path: Path) -> None:
    site = tmp_path / "some" / "lib" / "python3.11" / "site-packages"
    for name, size in {
        "numpy/core.so": 1000,
        "numpy/__pycache__/core.pyc": 7,
        "numpy-2.4.dist-info/RECORD": 100,
        "six.py": 10,
        "pip/main.py": 7,
        "pip-23.2.dist-info/RECORD": 7,
        "setuptools/x.py": 7,
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(bytes(size))
    (site / "link.so").symlink_to(site / "six.py")
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.py").write_bytes(bytes(5))
    assert installed(Venv(folder="some", installs=()), tmp_path) == 1110
    assert installed(Venv(folder="some", installs=(), packages=(own,)), tmp_path) == 1115


def test_ours_follows_the_clip_in_a_process_of_its_own(tmp_path: Path) -> None:
    # Nothing of the repository is on the path but what the worker puts there.
    process = Process("ours", command(Path(sys.executable), "ours_worker", track=True))
    assert process.about["name"] == "expression"
    assert {Path(file).suffix for file in process.about["files"]} == {".tflite"}
    pixels = np.zeros((3, 48, 64, 3), np.uint8)
    pixels.tofile(tmp_path / "frames.raw")
    request = {"file": str(tmp_path / "frames.raw"), "count": 3, "shape": [48, 64, 3]}
    for _ in range(2):
        found = process.ask("frames", **request)
        assert found["faces"] == [0, 0, 0]
        assert min(found["ns"]) > 0
    peak = process.ask("memory")["peak_mb"]
    assert 20 < process.about["peak_mb"] <= peak < 2000
    process.close()


# --- whole frames

LOOKER = """
import json, sys
name, ns, dies_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print(json.dumps({"name": name, "files": [__file__], "runtime": "none", "peak_mb": 10.0}),
    flush=True)
turn = 0
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "memory" and turn < dies_at:
        raise SystemExit("gone at the end")
    if asked["do"] == "memory":
        print(json.dumps({"peak_mb": ns / 1e6}), flush=True)
        continue
    if turn == dies_at:
        raise SystemExit("a warning\\nout of order")
    turn += 1
    n = asked["count"]
    print(json.dumps({"ns": [ns] * n, "faces": [1] * (n - 1) + [0]}), flush=True)
"""
CLIP = Clip(name="clip.mp4", sha256="00", pictures=(np.zeros((4, 6, 3), np.uint8),) * 4)
NEVER = -1


def looker(folder: Path, name: str, ms: int, dies_at: int = NEVER) -> Contestant:
    words = [*worker(folder, LOOKER, "looker.py"), name, str(ms * 1_000_000), str(dies_at)]
    venv = Venv(folder=f".venv-{name}", installs=())
    return Contestant(name=name, venv=venv, start=lambda: Process(name, words))


def absent() -> Process:
    raise MissingExtra("There is no .venv-x.", "Make it with --make-venvs.")


def test_a_contest_gives_ratios_memory_and_sizes(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = contest(
        [looker(tmp_path, "ours", 2), looker(tmp_path, "theirs", 8)],
        CLIP,
        root=tmp_path,
        rounds=3,
        on_progress=lambda *at: told.append(at),
    )
    assert (found["frames"], found["rounds"]) == (4, 3)
    ours, theirs = found["entrants"]
    assert ours["ours_over_theirs"]["median"] == 1.0
    quarter = dict.fromkeys(("median", "low", "high"), 0.25)
    assert theirs["ours_over_theirs"] == {**quarter, "ci95": None}  # of three rounds
    assert (theirs["ms"], theirs["frames_with_faces"]) == (8.0, 0.75)
    assert (theirs["start_mb"], theirs["peak_mb"]) == (10.0, 8.0)
    assert theirs["model_bytes"] == len(LOOKER)
    assert told[-1] == ("the clip, in turns", 3, 3)


def test_who_is_absent_or_dies_is_left_out_with_the_last_line_and_the_others_finish(
    tmp_path: Path,
) -> None:
    skipped: dict[str, str] = {}
    found = contest(
        [
            looker(tmp_path, "ours", 2),
            Contestant(name="absent", venv=VENVS[0], start=absent),
            looker(tmp_path, "dying", 1, dies_at=2),
            looker(tmp_path, "gone", 1, dies_at=99),
            looker(tmp_path, "theirs", 4),
        ],
        CLIP,
        root=tmp_path,
        rounds=3,
        on_skip=lambda name, reason: skipped.update({name: reason}),
    )
    assert [one["name"] for one in found["entrants"]] == ["ours", "theirs"]
    assert found["entrants"][1]["ours_over_theirs"]["median"] == 0.5
    assert set(skipped) == {"absent", "dying", "gone"}
    assert "gone at the end" in skipped["gone"]
    assert "--make-venvs" in skipped["absent"]
    assert "out of order" in skipped["dying"]
    assert "a warning" not in skipped["dying"]


def test_without_ours_there_is_no_contest(tmp_path: Path) -> None:
    for dies_at, said in ((1, "out of order"), (99, "gone at the end")):
        with pytest.raises(DeviceError, match=said):
            contest([looker(tmp_path, "ours", 1, dies_at)], CLIP, root=tmp_path, rounds=2)
    gone = Contestant(name="ours", venv=VENVS[0], start=absent)
    with pytest.raises(MissingExtra, match="--make-venvs"):
        contest([gone, looker(tmp_path, "theirs", 1)], CLIP, root=tmp_path, rounds=1)


def test_the_stack_needs_both_files(tmp_path: Path) -> None:
    (stack,) = (one for one in contestants(None, None, tmp_path) if one.name == frames.STACK_NAME)
    with pytest.raises(ModelError, match="No --peer"):
        stack.start()
    peer = tmp_path / "peer.tflite"
    peer.write_bytes(b"....TFL3")
    for yunet, words in ((tmp_path / "none.onnx", "no YuNet at"), (None, "models pull yunet")):
        stack = contestants(peer, yunet, tmp_path)[-1]
        with pytest.raises(ModelError, match=words):
            stack.start()


def test_what_is_no_video_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(DataError, match="not a video"):
            read_clip(path)


# --- tables


def full_document() -> dict[str, Any]:
    """Two schemes, one model of ours in the first, a peer that lacks c."""
    rows = faces([0, 1, 2, 2])
    given = [
        (card("ours", ours=True), says(0, 1, 2, 0)),
        (card("peer", ("a", "b")), says(0, 1, 0, 1, of=2)),
    ]
    times = {
        "ours": {part: {"median": 1.0, "low": 1.0, "high": 1.0} for part in PARTS},
        "peer": {part: {"median": 0.25, "low": 0.2, "high": 0.5} for part in PARTS},
    }
    spread = {"median": 0.1, "low": 0.08, "high": 0.125}
    program = {"frames_with_faces": 1.0, "installed_bytes": 300e6, "start_mb": 50.0}
    return {
        "schema": SCHEMA,
        "data": {"name": "x.npz", "sha256": "00"},
        "sample": None,
        "device": "Measured on a virtual machine (CPU), not on a Raspberry Pi.",
        "timing": {"reference": "ours", "rounds": 3, "calls": 2},
        "entrants": [
            {"name": one.name, "ours": one.ours, "numbers": "int8", "size_bytes": 12_345}
            | {"time": times[one.name]}
            for one, _ in given
        ],
        "frames": {
            "frames": 4,
            "size": [640, 480],
            "rounds": 3,
            "entrants": [
                program
                | {"name": "edge-fer run", "classifier": "ours", "ms": 1.5, "peak_mb": 90.0}
                | {"ours_over_theirs": dict.fromkeys(spread, 1.0), "model_bytes": 800_000},
                program
                | {"name": "edge-fer run --no-track", "classifier": "ours", "ms": 1.0}
                | {"ours_over_theirs": dict.fromkeys(spread, 1.5), "model_bytes": 400_000}
                | {"peak_mb": 45.0},
                program
                | {"name": "a loop", "classifier": "peer", "ms": 15.0, "peak_mb": 60.0}
                | {"ours_over_theirs": spread, "model_bytes": 1_600_000},
            ],
        },
        "tables": [
            table("ferplus8", rows, given),
            table("fer2013-7", faces([0, 1], ("a", "b")), [(given[1][0], given[1][1][:2])]),
        ],
        "skipped": [{"name": "third", "reason": "Not here. Get it."}],
    }


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_rows_have_a_line_per_score_and_say_which_rows_they_are() -> None:
    text = markdown(full_document(), "rows")
    assert "FER+ majority labels, 8 classes: 4 rows of PublicTest, 4 of them clean" in text
    assert "FER2013's original labels, 7 classes: 2 rows of PublicTest" in text
    lines = lines_of(text)
    assert {line.count("|") for line in lines} == {10}
    low, high = (100 * edge for edge in wilson(3, 4))
    interval = f"75.00 ({low:.1f} to {high:.1f})"
    nothing = "\u2013"
    cells = ["**`ours`**", interval, interval, "83.3", nothing, nothing, "1", "1"]
    assert f"| {' | '.join(cells)} | int8, 12 kB |" in lines
    assert [line.split(" | ")[0] for line in lines[3:5]] == [
        "| peer; c missed",
        "| peer; c left out (n 2)",
    ]
    assert "| +25.00 (" in lines[3]
    assert "| 1/4 | 1/4 |" in lines[3]
    assert "not on a Raspberry Pi" in text
    assert "no result" not in text
    assert "no result" in markdown(full_document() | {"sample": 2}, "rows")


def test_the_summary_shows_ratios_and_marks_where_theirs_is_ahead() -> None:
    text = markdown(full_document(), "summary")
    lines = lines_of(text)
    assert {line.count("|") for line in lines} == {10}
    own, untracked, loop = lines[2:]
    assert own.startswith("| **`edge-fer run`** | 1.50 ms | 100 | \u2013 | 90 MB | 800 kB | 300 MB")
    assert "| 75.00 % | \u2013 |" in own  # nobody of ours knows the second scheme
    # Our other way is no rival: nothing of it is marked.
    assert "**" not in untracked
    assert (
        "| 1.5 (1.5 to 1.5) | 100 | \u2013 | 2 of 45 MB | 2 of 400 kB | 1 of 300 MB |" in untracked
    )
    assert loop.startswith(
        "| a loop | 1/10 (1/12.5 to 1/8) | 100 | 1/4 | **1.5** of 60 MB | 1/2 of 1,600 kB "
        "| 1 of 300 MB |"
    )
    assert "Not measured: third. Not here. Get it." in text
    assert "median and quartiles of 3 rounds" in text
    assert "no result" not in text
    assert "no result" in markdown(full_document() | {"sample": 2}, "summary")


@pytest.mark.parametrize(
    ("points", "interval", "shown_as"),
    [
        (-1.5, [-3.0, -0.5], "**-1.50 (-3.00 to -0.50)**"),
        (-1.5, [-3.0, 0.5], "-1.50 (-3.00 to +0.50)"),  # it holds 0: nobody is ahead
        (-1.5, [-3.0, 0.0], "-1.50 (-3.00 to +0.00)"),
        (1.5, [0.5, 3.0], "+1.50 (+0.50 to +3.00)"),
    ],
)
def test_a_lead_of_theirs_is_marked_where_the_interval_leaves_out_0(
    points: float, interval: list[float], shown_as: str
) -> None:
    document = full_document()
    for score_ in document["tables"][0]["scores"]:
        if score_["entrant"] == "peer":
            score_["difference"] |= {"points": points, "ci95_points": interval}
    assert f"| {shown_as} |" in lines_of(markdown(document, "summary"))[-1]
    assert "by the whole interval where there is one" in markdown(document, "summary")


@pytest.mark.parametrize(("spread", "marked"), [((1.1, 1.05, 1.2), True), ((1.1, 0.9, 1.2), False)])
def test_a_faster_frame_of_theirs_is_marked_by_its_quartiles(
    spread: tuple[float, float, float], marked: bool
) -> None:
    document = full_document()
    document["frames"]["entrants"][2]["ours_over_theirs"] = dict(
        zip(("median", "low", "high"), spread, strict=True)
    )
    assert ("**1.1** (" in lines_of(markdown(document, "summary"))[-1]) is marked


def test_columns_of_accuracy_are_called_what_they_hold() -> None:
    (head, own, *rest) = summary(full_document())
    assert head[-2:] == ["FER+, % / our lead", "FER2013, % / our lead"]
    assert own[-2] == "75.00 %"
    assert rest[-1][-2].startswith("+0.00 (")
    notes = markdown(full_document(), "summary")
    assert "in our row the share of the clean rows that `ours` on FER+ names rightly" in notes


def test_without_frames_the_summary_is_of_classifiers() -> None:
    document = full_document() | {"frames": None}
    (head, *rows) = summary(document)
    assert [row[0] for row in rows] == ["peer, the classifier alone"]
    assert rows[0][head.index("a face")] == "1/4"
    document["entrants"][1]["time"] = {}  # its process ended while it was timed
    (head, *rows) = summary(document)
    assert rows[0][head.index("a face")] == "\u2013"
    assert "| \u2013 | \u2013 | int8, 12 kB |" in markdown(document, "rows")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "1/4"), (0.0234, "1/42.7"), (1.0, "1"), (0.999, "0.999"), (1.409, "1.41")],
)
def test_ratios_below_one_are_fractions(value: float, text: str) -> None:
    assert as_ratio(value) == text


@pytest.mark.parametrize("width", [60, 200])
def test_the_terminal_shows_the_same_figures(width: int) -> None:
    out = StringIO()
    render(full_document(), Console(file=out, width=width, highlight=False))
    shown = out.getvalue()
    for words in ("ours", "peer; c", "75.00", "83.3", "+25.00", "1/4", "1/12.5", "12 kB", "third"):
        assert words in shown
    assert "`" not in shown
    assert "**" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_tables_go_between_their_markers() -> None:
    document = full_document()
    begin, end = MARKERS["rows"]
    text = f"a\n{begin}\nold\n{end}\nb\n"
    assert filled_in(text, document) == f"a\n{begin}\n{markdown(document, 'rows')}{end}\nb\n"
    whole = filled_in(places(), document)
    assert filled_in(whole, document) == whole
    for which in MARKERS:
        assert markdown(document, which) in whole
    for wrong in ("", begin, end + begin, f"{begin}{begin}{end}", f"{begin}{end}{end}"):
        with pytest.raises(DataError, match="no place for the tables"):
            check_places(wrong)


def test_the_readmes_show_the_committed_results() -> None:
    stored = json.loads(RESULTS.read_text())
    assert stored["schema"] == SCHEMA
    assert stored["sample"] is None
    assert stored["skipped"] == []
    assert {t["scheme"] for t in stored["tables"]} == set(SCHEMES)
    for path in (ROOT / "README.md", PEERS_README):
        readme = path.read_text()
        assert filled_in(readme, stored) == readme
    shipped = {model.name: model.sha256 for model in shipped_classifiers()}
    assert {e["name"]: e["sha256"] for e in stored["entrants"] if e["ours"]} == shipped


def test_the_committed_results_keep_what_is_promised() -> None:
    entrants = {e["name"]: e for e in json.loads(RESULTS.read_text())["frames"]["entrants"]}
    assert set(entrants) == {
        frames.OURS_NAME,
        frames.UNTRACKED_NAME,
        frames.FER_NAME,
        frames.KERAS_NAME,
        frames.STACK_NAME,
    }
    took = {name: e["ours_over_theirs"]["median"] for name, e in entrants.items()}
    assert took[frames.FER_NAME] <= 1 / 20
    assert took[frames.STACK_NAME] <= 0.8
    assert all(e["frames_with_faces"] >= 0.9 for e in entrants.values())


# --- the command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either --data or --from"),
        (["--data", "none.npz"], "There is no data at none.npz"),
        (["--data", "none.npz", "--from", "x.json"], "either --data or --from"),
        (["--from", "none.json"], "cannot be read"),
        (["--rows", "0"], "--rows"),
        (["--data", "none.npz", "--frame-rounds", "0"], "--frame-rounds"),
    ],
)
def test_wrong_use_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_a_bad_clip_is_said_before_anything_is_measured(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(data), "--video", str(data)]) == 2
    assert "not a video" in capsys.readouterr().err


def test_earlier_results_are_printed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    new, other = tmp_path / "new.md", tmp_path / "other.md"
    document = full_document()
    results.write_text(json.dumps(document))
    begin, end = MARKERS["summary"]
    readme.write_text(f"Title\n{begin}\n{end}\nEnd\n")
    words = ["--from", str(results), "--markdown", str(readme), "--markdown", str(new)]
    assert main(words) == 0
    assert "FER+ majority labels" in capsys.readouterr().out
    assert readme.read_text() == f"Title\n{begin}\n{markdown(document, 'summary')}{end}\nEnd\n"
    assert new.read_text() == filled_in(places(), document)
    other.write_text("A README without a place for it.\n")
    assert main(["--from", str(results), "--markdown", str(other)]) == 2
    assert "no place for the tables" in capsys.readouterr().err
    assert other.read_text() == "A README without a place for it.\n"
    results.write_text("{}")
    assert main(["--from", str(results)]) == 2
