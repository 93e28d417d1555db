"""Parts of ``edge-fer convert --detector``: contracts, scenes, agreement, heads, golden vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_detector import (
    SIDE,
    tiny_detector,
    tiny_detector_contract,
    write_scenes,
)
from tiny_tflite import tiny_contract, tiny_float

from edge_fer.contract import Golden
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import ConfigError, DataError, ModelError
from edge_fer.evaluation.boxes import SceneSet
from edge_fer.modelfile import embed
from edge_fer.models.catalogue import CATALOGUE
from edge_fer.types import Box, Face, Frame
from edge_fer_convert.calibration.letterboxed import (
    LetterboxedSet,
    letterboxed_set,
    part_scenes,
    read_scenes,
)
from edge_fer_convert.detection.accuracy import PrecisionDrop
from edge_fer_convert.detection.agreement import Agreement, compare_detectors
from edge_fer_convert.detection.budget import judge_detector
from edge_fer_convert.detection.command import read_size
from edge_fer_convert.detection.heads import heads_of, too_coarse
from edge_fer_convert.detection.source import read_detector
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.heads import import_heads
from edge_fer_convert.int8.candidate import Candidate, open_detector
from edge_fer_convert.measuring.ranges import input_range
from edge_fer_convert.measuring.statistics import measure_statistics

SPEC = tiny_detector_contract().input


def int8(score_gain: float = 20.0) -> Candidate:
    contract = tiny_detector_contract()
    heads = import_heads(tiny_detector(score_gain), "tiny", contract.detection)
    rng = np.random.default_rng(0)
    inputs: list[np.ndarray] = [
        rng.random((1, SIDE, SIDE, 1), np.float32) * np.float32(bright)
        for bright in (0.0, 0.4, 0.7, 1.0)
    ]
    statistics = measure_statistics(heads.flatbuffer, inputs)
    ranges = statistics.ranges(pinned={"picture": input_range(SPEC)})
    return Candidate.quantised(heads.flatbuffer, contract, ranges)


def floating() -> Candidate:
    contract = tiny_detector_contract()
    heads = import_heads(tiny_detector(), "tiny", contract.detection)
    return Candidate(flatbuffer=heads.flatbuffer, contract=contract)


# Contracts


def placed(folder: Path, data: bytes, contract: bytes | None = None) -> Path:
    path = folder / "tiny.tflite"
    path.write_bytes(data)
    if contract is not None:
        (folder / "tiny.tflite.contract.json").write_bytes(contract)
    return path


def test_a_contract_is_found_beside_the_file(tmp_path: Path) -> None:
    contract = tiny_detector_contract()
    source = read_detector(placed(tmp_path, tiny_detector(), contract.to_json()))
    assert source.form == "tflite"
    assert source.contract == contract


def test_a_contract_that_is_named_goes_before_the_one_beside(tmp_path: Path) -> None:
    path = placed(tmp_path, tiny_detector(), b"not even JSON")
    named = tmp_path / "named.json"
    named.write_bytes(tiny_detector_contract().to_json())
    assert read_detector(path, named).contract == tiny_detector_contract()


def test_a_contract_inside_counts_without_what_was_measured(tmp_path: Path) -> None:
    golden = Golden.of(np.zeros((1, SIDE, SIDE, 1), np.uint8), np.zeros((1, 4), np.float32))
    inside = embed(tiny_detector(), tiny_detector_contract(golden=golden))
    assert read_detector(placed(tmp_path, inside)).contract == tiny_detector_contract()


def test_an_unknown_file_without_a_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say how its heads are read") as caught:
        read_detector(placed(tmp_path, tiny_detector()))
    assert "tiny.tflite.contract.json" in caught.value.remedy


def test_the_contract_of_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expression-frame"):
        read_detector(placed(tmp_path, tiny_detector(), tiny_contract().to_json()))


def test_a_contract_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no contract at .*nowhere\.json"):
        read_detector(placed(tmp_path, tiny_detector()), tmp_path / "nowhere.json")


@pytest.mark.parametrize("data", [b"", b"ONNX-or-whatever", b"\x08\x07onnx"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "detector.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"neither a float \.tflite nor a \.keras"):
        read_detector(path)


def test_the_official_files_are_known_by_their_hash(shared: Path) -> None:
    source = read_detector(shared / "models" / "blazeface_full_range.tflite")
    assert source.contract == CATALOGUE["blazeface-full"].contract


# Scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes.zip", range(24))


def chosen(scenes: Path, count: int) -> LetterboxedSet:
    _, calibrating = part_scenes(read_scenes(scenes), scenes)
    return letterboxed_set(calibrating, SPEC, count, source="scenes.zip")


def test_the_same_scenes_give_the_same_pictures(scenes: Path) -> None:
    first, second = chosen(scenes, 20), chosen(scenes, 20)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.manifest() == second.manifest()
    assert first.pixels.shape == (20, SIDE, SIDE, 1)
    json.dumps(first.manifest())


def test_every_scene_is_seen_once_before_any_is_seen_again(scenes: Path) -> None:
    found = chosen(scenes, 100)
    assert len(set(found.scenes)) == 16  # a third of 24 chooses
    assert len(set(found.scenes[:16])) == 16
    assert found.views[:6] == (1.0, 1.0, 0.6, 1.0, 1.0, 0.6)
    assert len(found.pixels) == 32  # whole, and a part, of each
    assert len({(s, v) for s, v in zip(found.scenes, found.views, strict=True)}) == 32
    assert found.manifest()["wanted"] == 100


def test_a_part_of_a_scene_is_larger_than_the_whole(scenes: Path) -> None:
    """The bright square takes up more of the picture where less of the scene is shown."""
    found = chosen(scenes, 32)
    bright = dict.fromkeys(found.views, 0.0)
    for pixels, view in zip(found.pixels, found.views, strict=True):
        bright[view] = max(bright[view], float((pixels > 200).mean()))
    assert bright[1.0] < bright[0.6]


def test_what_calibrates_neither_chooses_nor_is_evaluated(scenes: Path) -> None:
    everything = read_scenes(scenes)
    evaluated = {everything[3].sha256, everything[20].sha256}
    choosing, calibrating = part_scenes(everything, scenes, kept_out=evaluated)
    parts = [{scene.sha256 for scene in part} for part in (choosing, calibrating)]
    assert len(parts[0]) + len(parts[1]) == 22
    assert not parts[0] & parts[1]
    assert not evaluated & (parts[0] | parts[1])


def test_copies_of_a_scene_count_once(tmp_path: Path, scenes: Path) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    for scene in read_scenes(scenes)[:5]:
        (folder / f"a_{Path(scene.name).name}").write_bytes(scene.data)
        (folder / f"b_{Path(scene.name).name}").write_bytes(scene.data)
    assert len(read_scenes(folder)) == 5


def test_too_few_scenes_are_refused(tmp_path: Path, scenes: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for scene in read_scenes(scenes)[:7]:
        (folder / Path(scene.name).name).write_bytes(scene.data)
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DataError, match="has 7 scenes that can be read"):
        part_scenes(read_scenes(folder), folder)


# Agreement


def frame(number: int = 0) -> Frame:
    return Frame(
        luma=np.zeros((100, 100), np.uint8), colour=None, t_ns=0, sequence=number, source="test"
    )


def face(x: float, y: float, w: float, score: float = 0.9, shift: float = 0.0) -> Face:
    points = ((x + 0.3 * w + shift, y + 0.4 * w), (x + 0.7 * w + shift, y + 0.4 * w))
    return Face(box=Box(x=x, y=y, w=w, h=w), score=score, keypoints=points)


def agreement(ours: tuple[Face, ...], theirs: tuple[Face, ...], frames: int = 1) -> Agreement:
    return compare_detectors(
        FakeDetector(lambda frame: ours),
        FakeDetector(lambda frame: theirs),
        [frame(n) for n in range(frames)],
    )


def test_equal_detectors_agree_altogether() -> None:
    found = agreement((face(0, 0, 20), face(50, 50, 30)), (face(0, 0, 20), face(50, 50, 30)), 3)
    assert (found.pictures, len(found.pairs), found.only_float, found.only_int8) == (3, 6, 0, 0)
    assert found.median_overlap == found.quality == 1


def test_a_face_lost_a_face_too_many_and_a_box_moved_all_cost() -> None:
    # Half of a 20 px box beside itself: 10 shared of 30.
    found = agreement(
        (face(0, 0, 20), face(50, 50, 20)), (face(10, 0, 20, 0.8, shift=2.0), face(80, 0, 20))
    )
    assert (found.only_float, found.only_int8) == (1, 1)
    assert found.median_overlap == pytest.approx(1 / 3)
    assert found.quality == pytest.approx((1 / 3) / (1 + 0.5 + 0.5))
    said = found.to_json()
    assert said["keypoints_percent_of_width"]["median"] == pytest.approx(100 * 12 / 20)
    assert said["score_difference"]["median"] == pytest.approx(0.1)


def test_one_box_matches_one_face_the_nearest() -> None:
    found = agreement((face(0, 0, 20), face(4, 0, 20)), (face(3, 0, 20),))
    assert (len(found.pairs), found.only_float) == (1, 1)
    assert found.pairs[0].overlap == pytest.approx(19 / 21)


def test_nothing_found_by_both() -> None:
    empty = agreement((), ())
    assert empty.median_overlap is None
    assert empty.quality == 1
    assert agreement((face(0, 0, 20),), ()).quality == 0
    assert empty.to_json()["box_iou"] is None


# Heads


def test_heads_are_named_by_what_they_hold() -> None:
    candidate = int8()
    heads = heads_of(Graph.read(candidate.flatbuffer), candidate.contract)
    kinds = ["centre", "size", "keypoints"] * 2 + ["score"] * 2
    assert [head.kind for head in heads] == kinds
    for head in heads:
        assert head.highest - head.lowest == pytest.approx(255 * head.scale)
        assert (head.steps_between is None) == (head.kind != "score")
    assert too_coarse(heads) == ""


def test_logits_that_reach_too_far_are_told() -> None:
    candidate = int8(score_gain=2000.0)
    words = too_coarse(heads_of(Graph.read(candidate.flatbuffer), candidate.contract))
    assert "score head of the" in words
    assert "logits" in words


def test_a_sigmoid_in_the_graph_is_never_too_coarse() -> None:
    candidate = int8(score_gain=2000.0)
    output = candidate.contract.output.model_copy(update={"kind": "sigmoid"})
    graph = Graph.read(candidate.flatbuffer)
    assert too_coarse(heads_of(graph, candidate.contract.with_(output=output))) == ""


# Golden vectors


def test_golden_vectors_of_a_detector_are_small_and_hold(tmp_path: Path) -> None:
    for candidate in (int8(), floating()):
        finished = candidate.finish(tmp_path / "tiny.tflite")
        golden = finished.model.contract.golden
        assert golden is not None
        assert len(golden.input) < 4 * 128  # blocks of 8x8, base64
        pixels = golden.pixels(SPEC)
        assert pixels.shape == (golden.n, SIDE, SIDE, 1)
        assert (pixels[:, ::8, ::8].repeat(8, 1).repeat(8, 2) == pixels).all()
        with open_detector(finished.model) as detector:
            assert detector.check_golden() == (golden.n, 0.0)


def test_a_classifier_says_nothing_of_steps(tmp_path: Path) -> None:
    finished = Candidate(flatbuffer=tiny_float(), contract=tiny_contract()).finish(tmp_path / "x")
    assert finished.model.contract.golden is not None
    assert b"max_steps" not in finished.model.contract.to_json()


def test_steps_are_allowed_as_the_contract_says(tmp_path: Path) -> None:
    model = int8().finish(tmp_path / "tiny.tflite").model
    golden = model.contract.golden
    assert golden is not None
    with open_detector(model) as detector:
        values = sum(int(np.prod(head.shape)) for head in detector.backend.outputs)
    off = golden.expected("int8", values).copy()
    off[0, 0] += 3 if off[0, 0] < 100 else -3
    for steps, good in ((2, False), (3, True)):
        told = Golden.of(golden.pixels(SPEC)[:, ::8, ::8], off).model_copy(
            update={"max_steps": steps}
        )
        other = Candidate(flatbuffer=model.flatbuffer, contract=model.contract.with_(golden=told))
        with open_detector(other.bare(tmp_path / "other.tflite")) as detector:
            if good:
                assert detector.check_golden() == (golden.n, 3.0)
            else:
                with pytest.raises(ModelError, match="off by 3 steps"):
                    detector.check_golden()


def test_int8_and_float_see_the_same_faces(scenes: Path) -> None:
    frames = [f for s in read_scenes(scenes) if (f := s.frame()) is not None]
    with (
        open_detector(floating().bare(Path("float"))) as reference,
        open_detector(int8().bare(Path("int8"))) as other,
    ):
        found = compare_detectors(reference, other, frames)
    assert len(found.pairs) >= len(frames)
    assert found.quality > 0.97


# Options


def test_a_size_is_width_by_height() -> None:
    assert read_size("256x192") == (256, 192)


@pytest.mark.parametrize("text", ["256", "256x", "x192", "0x192", "256x192x3", "-1x5", "9999x9"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="input-size"):
        read_size(text)


# Budget


def judged(
    max_drop: float | None, drop: float, low: float, high: float, moved: float = 0.0
) -> tuple[str | None, str]:
    found = agreement((face(0, 0, 20),), (face(moved, 0, 20),))
    scenes = SceneSet(path="boxes.zip", sha256="0", labelled=True, scenes=())
    figures = {"ap50": 0.5, "ap30": 0.6, "faces": 300}
    accuracy = PrecisionDrop(
        scenes=scenes,
        float32=figures,
        int8={**figures, "ap50": 0.5 - drop / 100},
        drop_points=drop,
        ci95_points=(low, high),
    )
    return judge_detector(max_drop, found, accuracy, "")


def test_the_interval_says_whether_the_budget_is_kept() -> None:
    assert judged(1.0, 0.2, -0.5, 0.9)[0] == "pass"
    assert judged(None, 5.0, 4.0, 6.0)[0] == "pass"
    verdict, words = judged(1.0, 0.9, -0.5, 2.0)
    assert verdict == "not_distinguishable"
    assert "cannot be told from 300 faces" in words
    verdict, words = judged(1.0, 2.0, 1.1, 3.0)
    assert verdict == "fail"
    assert "beyond the 1 allowed" in words


def test_boxes_that_moved_too_far_fail_whatever_the_precision() -> None:
    verdict, words = judged(None, 0.0, -1.0, 1.0, moved=1.0)  # 19 / 21
    assert verdict == "fail"
    assert "overlap by 0.905" in words
    assert judged(None, 0.0, -1.0, 1.0, moved=0.5)[0] == "pass"


def test_no_face_in_common_and_coarse_scores_fail() -> None:
    assert judge_detector(1.0, agreement((), ()), None, "")[0] == "fail"
    same = agreement((face(0, 0, 20),), (face(0, 0, 20),))
    assert judge_detector(1.0, same, None, "")[0] == "pass"
    assert judge_detector(1.0, same, None, "Too coarse.") == ("fail", "Too coarse.")
