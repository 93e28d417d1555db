"""The model and its labels, read without Keras."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_tflite import pictures, tiny_contract, tiny_float

from edge_fer.contract import Calibration, Golden, Metric, Quantisation
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.labels import FER2013_7, FERPLUS8
from edge_fer.modelfile import embed
from edge_fer.models import shipped
from edge_fer_convert.inputs.source import (
    Labels,
    Source,
    choose_labels,
    first_contract,
    read_source,
)
from edge_fer_train.record import CONTRACT_MEMBER


def keras_file(path: Path, contract: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(range(256)) * 40)
        if contract is not None:
            archive.writestr(CONTRACT_MEMBER, contract)
    return path


def foreign() -> Source:
    return Source(path=Path("m.keras"), sha256="0", draft=None)


def own() -> Source:
    return Source(path=Path("m.keras"), sha256="0", draft=tiny_contract())


def test_a_whole_file_with_and_without_contract(tmp_path: Path) -> None:
    assert read_source(keras_file(tmp_path / "a.keras")).draft is None
    contract = tiny_contract()
    found = read_source(keras_file(tmp_path / "b.keras", contract.to_json()))
    assert found.draft == contract
    assert len(found.sha256) == 64


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model at"):
        read_source(tmp_path / "none.keras")


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.99])
def test_truncated(tmp_path: Path, kept: float) -> None:
    whole = keras_file(tmp_path / "m.keras").read_bytes()
    cut = tmp_path / "cut.keras"
    cut.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ModelError, match=r"cut off|not a \.keras") as caught:
        read_source(cut)
    assert caught.value.exit_code == 5
    assert caught.value.remedy


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "m.keras")
    data = bytearray(path.read_bytes())
    data[5000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.weights\.h5 in it is not whole"):
        read_source(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n\x1a\n rest", "cut off: it holds 13 bytes of an HDF5 file"),
        (tiny_float()[:900], "cut off or damaged"),
        (b"hello, I am text", r"not a \.keras file"),
    ],
)
def test_other_kinds_of_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_source(path)


def test_a_zip_that_keras_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="not one that Keras 3 wrote"):
        read_source(path)


def hdf5_file(path: Path, version: int) -> Path:
    """An HDF5 file as far as its superblock tells (HDF5 File Format 3.0, II.A)."""
    heads = {
        0: bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8),
        1: bytes([1, 0, 0, 0, 0, 8, 8, 0]) + bytes(12),
        2: bytes([2, 8, 8, 0]),
        3: bytes([3, 8, 8, 0]),
    }
    end, free = 300, 2**64 - 1
    addresses = b"".join(n.to_bytes(8, "little") for n in (0, free, end, 96))
    path.write_bytes((b"\x89HDF\r\n\x1a\n" + heads[version] + addresses).ljust(end, b"\0"))
    return path


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_hdf5(tmp_path: Path, version: int) -> None:
    path = hdf5_file(tmp_path / "m.h5", version)
    found = read_source(path)
    assert (found.form, found.draft) == ("h5", None)
    whole = path.read_bytes()
    for kept in (9, 14, 40, 299):
        path.write_bytes(whole[:kept])
        with pytest.raises(ModelError, match=f"cut off: it holds {kept} bytes"):
            read_source(path)


def test_hdf5_as_its_own_library_writes_it(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for version in ("earliest", "latest"):
        path = tmp_path / f"{version}.h5"
        with h5py.File(path, "w", libver=version) as file:
            file["weights"] = list(range(1000))
        assert read_source(path).form == "h5"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ModelError, match="cut off"):
            read_source(path)


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_a_saved_model_is_hashed_by_content_and_names(tmp_path: Path) -> None:
    first, second = saved_model(tmp_path / "a"), saved_model(tmp_path / "b")
    found = read_source(first)
    assert (found.form, found.draft) == ("savedmodel", None)
    assert read_source(second).sha256 == found.sha256
    (second / "variables" / "variables.index").rename(second / "variables.index")
    assert read_source(second).sha256 != found.sha256
    (first / "saved_model.pb").write_bytes(b"grapH")
    assert read_source(first).sha256 != found.sha256


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"without saved_model\.pb, so no SavedModel") as caught:
        read_source(tmp_path)
    assert "SavedModel folder" in caught.value.remedy


class TestFloatTflite:
    def test_somebody_elses(self, tmp_path: Path) -> None:
        path = tmp_path / "m.tflite"
        path.write_bytes(tiny_float())
        found = read_source(path)
        assert (found.form, found.draft) == ("tflite", None)

    def test_ours_gives_its_contract_without_what_was_measured(self, tmp_path: Path) -> None:
        metric = Metric(
            data="d",
            data_sha256="0",
            split="s",
            n=9,
            float_accuracy=0.5,
            int8_accuracy=0.5,
            drop_points=0,
            ci95_points=(0, 0),
            agreement=1,
        )
        golden = Golden.of(pictures(2), np.zeros((2, 3), np.float32))
        full = tiny_contract(
            metrics=(metric,), golden=golden, calibration=Calibration(sha256="0", n=9)
        )
        path = tmp_path / "m.tflite"
        path.write_bytes(embed(tiny_float(), full))
        found = read_source(path)
        assert found.form == "tflite"
        assert found.draft == tiny_contract(quantisation=Quantisation(scheme="float32"))
        assert found.draft.provenance == full.provenance

    def test_a_damaged_one_of_ours(self, tmp_path: Path) -> None:
        path = tmp_path / "m.tflite"
        whole = bytearray(embed(tiny_float(), tiny_contract()))
        where = whole.index(b"tiny")  # in the description, which no reader of graphs misses
        whole[where] ^= 1
        path.write_bytes(whole)
        with pytest.raises(ModelError, match="its hash is wrong"):
            read_source(path)

    def test_the_shipped_pair(self) -> None:
        found = read_source(shipped()["expression.float"])
        assert found.draft is not None
        assert found.draft.labels == FERPLUS8
        assert found.draft.metrics == ()
        assert found.draft.golden is None
        with pytest.raises(ModelError, match="quantised already") as caught:
            read_source(shipped()["expression"])
        assert "float file" in caught.value.remedy


class TestLabels:
    def test_schemes_and_lists(self) -> None:
        assert choose_labels(foreign(), "ferplus8") == Labels(names=FERPLUS8, scheme="ferplus8")
        alphabetical = choose_labels(foreign(), "angry,disgust,fear,happy,neutral,sad,surprise")
        assert alphabetical.scheme == "custom"
        assert alphabetical.names[0] == "anger"
        spelled_out = choose_labels(foreign(), ", ".join(FER2013_7))
        assert spelled_out == Labels(names=FER2013_7, scheme="fer2013-7")

    def test_from_the_contract(self) -> None:
        assert choose_labels(own(), None).names == ("anger", "happiness", "neutral")
        assert choose_labels(own(), "angry,happy,neutral").names[1] == "happiness"

    @pytest.mark.parametrize("stated", ["ferplus", "happy", "a,a", "a,,b", "happy,unknown"])
    def test_nonsense(self, stated: str) -> None:
        with pytest.raises(ConfigError):
            choose_labels(foreign(), stated)

    def test_nobody_says_them(self) -> None:
        with pytest.raises(ConfigError, match="does not say what its outputs mean") as caught:
            choose_labels(foreign(), None)
        assert "--labels" in caught.value.remedy

    def test_contradiction(self) -> None:
        with pytest.raises(ConfigError, match="contradicts"):
            choose_labels(own(), "happy,angry,neutral")


class TestFirstContract:
    labels = Labels(names=("anger", "happiness", "neutral"), scheme="custom")

    def test_a_foreign_model_is_assumed_and_said(self) -> None:
        contract, assumed = first_contract(
            foreign(), self.labels, (48, 40, 3), "probabilities", None
        )
        assert (contract.input.height, contract.input.width, contract.input.colour) == (
            48,
            40,
            "rgb",
        )
        assert contract.input.offset == (0.0, 0.0, 0.0)
        assert contract.output.kind == "probabilities"
        assert len(assumed) == 2
        assert "--input-range" in assumed[0]

    def test_a_stated_range_is_not_assumed(self) -> None:
        contract, assumed = first_contract(foreign(), self.labels, (48, 48, 1), "logits", (-1, 1))
        assert contract.input.scale == (2 / 255,)
        assert contract.input.offset == (-1,)
        assert assumed == ()

    def test_the_draft_is_kept(self) -> None:
        contract, assumed = first_contract(own(), self.labels, (8, 8, 1), "logits", (0.0, 1.0))
        assert contract == own().draft
        assert assumed == ()

    def test_a_draft_that_contradicts(self) -> None:
        with pytest.raises(ModelError, match="takes pictures of"):
            first_contract(own(), self.labels, (48, 48, 1), "logits", None)
        with pytest.raises(ModelError, match="ends in softmax"):
            first_contract(own(), self.labels, (8, 8, 1), "probabilities", None)
        with pytest.raises(ConfigError, match="--input-range -1,1 contradicts"):
            first_contract(own(), self.labels, (8, 8, 1), "logits", (-1.0, 1.0))
