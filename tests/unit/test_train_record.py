"""What a training run leaves behind; a stand-in for the Keras model, nothing is trained."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edge_fer.contract import ModelContract, QualityRange, QualityRanges
from edge_fer.errors import ConfigError, DeviceError
from edge_fer.evaluation.corruptions import CORRUPTIONS
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.evaluation.robustness import Kept, Robustness
from edge_fer_train.checkpoint import Epoch
from edge_fer_train.record import CONTRACT_MEMBER, check_output, output_files, save
from edge_fer_train.rejection import Rejection
from edge_fer_train.training import Recipe, TrainedModel

SIDE_FILES = ("m.keras", "m.run.json", "m.run.html")


class StandIn:
    """Saves itself as Keras does: a zip."""

    def save(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")


def faces(split: str) -> LabelledFaces:
    return LabelledFaces(
        path="somewhere/faces.npz",
        sha256="ab",
        split=split,
        images=[np.zeros((48, 48), np.uint8)] * 3,
        labels=FERPLUS8,
        truth=np.arange(3),
        target=np.eye(8, dtype=np.float32)[:3],
        copy_of_training=None,
    )


def trained(nll: float = 0.4) -> TrainedModel:
    epoch = Epoch(
        epoch=1,
        loss=0.5,
        learning_rate=1e-3,
        validation_accuracy=0.8,
        validation_macro_recall=0.7,
        validation_nll=nll,
        seconds=1.0,
    )
    return TrainedModel(
        model=StandIn(), temperature=0.8, curve=(epoch,), best=epoch, parameters=10, macs=100
    )


def rejection() -> Rejection:
    kept = Kept(n=3, coverage=1.0, accuracy=None)
    return Rejection(
        met="aim",
        robustness=Robustness(
            min_probability=0.435,
            clean=Kept(n=3, coverage=0.96, accuracy=0.9),
            corrupted=dict.fromkeys(CORRUPTIONS, (kept, kept, kept)),
            pooled=dict.fromkeys(CORRUPTIONS, kept),
            accepted_noise=0.01,
            accepted_non_faces=None,
            jitter_loss_points=0.5,
        ),
        curve=((0.0, kept), (0.5, Kept(n=3, coverage=0.9, accuracy=0.95))),
    )


def quality() -> QualityRanges:
    measure = QualityRange(p1=1.0, p50=2.0, p99=3.0)
    return QualityRanges(
        n=3, brightness=measure, contrast=measure, sharpness=measure, noise=measure
    )


def write(output: Path, model: TrainedModel, **more: object) -> dict[str, object]:
    return save(
        output,
        Recipe(),
        "ferplus8",
        faces("Training"),
        faces("validation"),
        model,
        **more,  # type: ignore[arg-type]
    )


def contract_in(path: Path) -> ModelContract:
    with zipfile.ZipFile(path) as archive:
        return ModelContract.parse(archive.read(CONTRACT_MEMBER), str(path))


def test_everything_that_was_measured_is_written(tmp_path: Path) -> None:
    output = tmp_path / "m.keras"
    matrix = np.diag(np.arange(8))
    record = write(
        output,
        trained(),
        rejection=rejection(),
        quality=quality(),
        confusion=matrix,
        more={"teachers": ["a.keras"]},
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(SIDE_FILES)
    contract = contract_in(output)
    assert contract.output.unknown == {"min_probability": 0.435}
    assert contract.output.temperature == 0.8
    assert contract.quality == quality()
    stored = json.loads((tmp_path / "m.run.json").read_text())
    assert stored == record
    assert stored["schema"] == "edge-fer/train/1"
    assert stored["labels"] == list(FERPLUS8)
    assert stored["confusion"][7][7] == 7
    assert stored["rejection"] == json.loads(json.dumps(rejection().to_json()))
    assert stored["quality"]["noise"] == {"p1": 1.0, "p50": 2.0, "p99": 3.0}
    assert stored["teachers"] == ["a.keras"]
    assert stored["recipe"] == json.loads(json.dumps(asdict(Recipe())))
    html = (tmp_path / "m.run.html").read_text()
    assert "0.435" in html
    assert "Confusion</h2>" in html


def test_nothing_of_it_is_needed(tmp_path: Path) -> None:
    output = tmp_path / "m.keras"
    record = write(output, trained())
    assert record["rejection"] is record["confusion"] is record["quality"] is None
    contract = contract_in(output)
    assert (contract.output.unknown, contract.quality) == (None, None)


def test_more_does_not_replace_what_the_record_says_itself(tmp_path: Path) -> None:
    record = write(tmp_path / "m.keras", trained(), more={"temperature": 9.0, "schema": "x"})
    assert (record["temperature"], record["schema"]) == (0.8, "edge-fer/train/1")


def test_a_number_that_is_none_does_not_cost_the_run(tmp_path: Path) -> None:
    write(tmp_path / "m.keras", trained(nll=float("nan")), more={"odd": [np.float32(2), Path("p")]})
    stored = json.loads((tmp_path / "m.run.json").read_text())
    assert stored["curve"][0]["validation_nll"] is None
    assert stored["odd"] == [2.0, "p"]


def test_all_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.run.html").mkdir()
    with pytest.raises(DeviceError, match=r"m\.run\.html"):
        write(tmp_path / "m.keras", trained())
    assert [p.name for p in tmp_path.iterdir()] == ["m.run.html"]


def test_names(tmp_path: Path) -> None:
    assert [p.name for p in output_files(tmp_path / "m.keras")] == list(SIDE_FILES)
    with pytest.raises(ConfigError, match="no name for a Keras model"):
        check_output(tmp_path / "m.h5", force=True)
    with pytest.raises(DeviceError, match="missing or not writable"):
        check_output(tmp_path / "none" / "m.keras", force=False)


@pytest.mark.parametrize("name", SIDE_FILES)
def test_what_is_there_is_not_replaced_unasked(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / "m.keras", force=False)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"{name} exists") as caught:
        check_output(tmp_path / "m.keras", force=False)
    assert "--force" in caught.value.remedy
    check_output(tmp_path / "m.keras", force=True)


@pytest.mark.parametrize("name", SIDE_FILES)
def test_a_folder_in_the_way_is_noticed_before_training(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="is not a file"):
        check_output(tmp_path / "m.keras", force=True)
