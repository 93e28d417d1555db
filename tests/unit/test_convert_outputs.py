"""The four output files: when they may be written, and all or none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_convert_candidate import finished

from edge_fer.errors import ConfigError, DeviceError
from edge_fer_convert.outputs import OutputFiles
from edge_fer_convert.reporting.report import GENERATOR, SCHEMA

MODEL = Path("somewhere/else.keras")


def write(files: OutputFiles, tmp_path: Path) -> bytes:
    data = finished(tmp_path).data
    files.write(data, data, f'{{"schema": "{SCHEMA}"}}', f"<html>{GENERATOR}</html>")
    return data


def test_names() -> None:
    files = OutputFiles.beside(Path("out/mine.v2.tflite"))
    assert [p.name for p in files.paths] == [
        "mine.v2.tflite",
        "mine.v2.float.tflite",
        "mine.v2.report.json",
        "mine.v2.report.html",
        "mine.v2.edgetpu.tflite",
    ]
    assert files.rejected().int8 == Path("out/mine.v2.rejected.tflite")
    assert files.rejected().report_html == Path("out/mine.v2.rejected.report.html")


@pytest.mark.parametrize("name", ["mine.keras", "mine", ".tflite"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"does not end in \.tflite"):
        OutputFiles.beside(Path(name))


def test_earlier_results_need_force(tmp_path: Path) -> None:
    files = OutputFiles.beside(tmp_path / "mine.tflite")
    files.check(MODEL, force=False)
    data = write(files, tmp_path)
    assert files.int8.read_bytes() == data
    with pytest.raises(ConfigError, match="exists already") as caught:
        files.check(MODEL, force=False)
    assert "--force" in caught.value.remedy
    files.check(MODEL, force=True)


@pytest.mark.parametrize(
    "name", ["mine.tflite", "mine.float.tflite", "mine.report.json", "mine.report.html"]
)
@pytest.mark.parametrize("content", [b"my diary", b'["json", "of", "mine"]', b"\xff\xfe"])
def test_force_does_not_replace_what_is_not_ours(tmp_path: Path, name: str, content: bytes) -> None:
    files = OutputFiles.beside(tmp_path / "mine.tflite")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="not the result of an earlier conversion"):
        files.check(MODEL, force=True)
    assert (tmp_path / name).read_bytes() == content


def test_the_model_itself_is_never_the_output(tmp_path: Path) -> None:
    model = tmp_path / "mine.keras"
    model.write_bytes(b"model")
    (tmp_path / "mine.tflite").hardlink_to(model)
    with pytest.raises(ConfigError, match="is the model itself"):
        OutputFiles.beside(tmp_path / "mine.tflite").check(model, force=True)


def test_a_missing_folder_is_noticed_first(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="does not exist") as caught:
        OutputFiles.beside(tmp_path / "no" / "mine.tflite").check(MODEL, force=False)
    assert caught.value.exit_code == 4


def test_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    files = OutputFiles.beside(folder / "mine.tflite")
    broken = OutputFiles(
        int8=files.int8,
        float32=files.float32,
        report_json=files.report_json,
        report_html=folder / "missing" / "mine.report.html",
        edgetpu=files.edgetpu,
    )
    with pytest.raises(DeviceError, match="could not be written"):
        broken.write(b"a", b"b", "c", "d")
    assert list(folder.iterdir()) == []
