"""What is in the wheel, and what is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "edge_fer": "edge_fer",
    "edge_fer_convert": "converters/edge_fer_convert",
    "edge_fer_train": "converters/edge_fer_train",
    "edge_fer_bench": "benchmarks/edge_fer_bench",
    "edge_fer_firmware": "firmware_configs/edge_fer_firmware",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in the wheel, built from a copy, so that nothing is left in the tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("edge_fer", "converters", "benchmarks", "firmware_configs"):
        shutil.copytree(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, source],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    # Of this the models, with their float twins, are 4.1 MB.
    assert path.stat().st_size < 6_000_000
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_every_source_file_and_every_data_file_is_in_it(wheel: list[str]) -> None:
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{package}/{path.relative_to(ROOT / folder)}" in wheel


@pytest.mark.parametrize(
    "name",
    [
        "edge_fer/models/expression.tflite",
        "edge_fer/models/expression.float.tflite",
        "edge_fer/models/expression-nano.tflite",
        "edge_fer/models/expression-fer2013.tflite",
        "edge_fer/models/face.tflite",
        "edge_fer/models/face-region.tflite",
        "edge_fer/cameras/mean_faces.npz",
        "edge_fer/defaults.toml",
        "edge_fer/py.typed",
    ],
)
def test_what_the_device_needs_is_in_it(wheel: list[str], name: str) -> None:
    assert name in wheel


def test_sources_of_the_conversion_tests_and_pictures_are_not(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {t for t in tops if not t.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in wheel if name.endswith((".keras", ".png", ".jpg"))]
