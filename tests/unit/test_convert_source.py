"""The Keras file and its labels, read without Keras."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from tiny_tflite import tiny_contract, tiny_float

from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.labels import FER2013_7, FERPLUS8
from edge_fer_convert.source import KerasSource, Labels, choose_labels, first_contract, read_source
from edge_fer_train.record import CONTRACT_MEMBER


def keras_file(path: Path, contract: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(range(256)) * 40)
        if contract is not None:
            archive.writestr(CONTRACT_MEMBER, contract)
    return path


def foreign() -> KerasSource:
    return KerasSource(path=Path("m.keras"), sha256="0", draft=None)


def own() -> KerasSource:
    return KerasSource(path=Path("m.keras"), sha256="0", draft=tiny_contract())


def test_a_whole_file_with_and_without_contract(tmp_path: Path) -> None:
    assert read_source(keras_file(tmp_path / "a.keras")).draft is None
    contract = tiny_contract()
    found = read_source(keras_file(tmp_path / "b.keras", contract.to_json()))
    assert found.draft == contract
    assert len(found.sha256) == 64


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no Keras model at"):
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
        (b"\x89HDF\r\n\x1a\n rest", "HDF5"),
        (tiny_float(), r"is a \.tflite already"),
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


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no Keras model"):
        read_source(tmp_path)


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
