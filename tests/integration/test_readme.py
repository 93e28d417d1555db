"""Every command of the READMEs runs; their tables agree with the code."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import cv2
import numpy as np
import pytest
from shipped_models import CLASSIFIERS
from tiny_wheels import make_wheel

from edge_fer import errors
from edge_fer.modelfile import read_model
from edge_fer.models import find

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BENCHMARK = (ROOT / "benchmarks" / "README.md").read_text()
BASELINES = (ROOT / "benchmarks" / "baselines" / "README.md").read_text()
BUILD_HOST = (ROOT / "converters" / "README.md").read_text()
CARDS = (ROOT / "firmware_configs" / "README.md").read_text()
# Installing is what `make demo` and `make test` do before this runs.
INSTALLING = ("pip ", "make ", "python3 -m venv")
FACE = "converters/models/face.keras"
# What `provision wheels` ends with where no package index answers.
NO_INDEX = 4


def commands(text: str) -> list[str]:
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def test_the_two_commands_are_the_first() -> None:
    assert commands(README)[:2] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile


def small_fer2013(whole: Path, target: Path) -> None:
    """Enough rows of each split that every command has something to chew on."""
    with np.load(whole) as data:
        rng = np.random.default_rng(0)
        kept = np.sort(
            np.concatenate(
                [
                    rng.choice(np.flatnonzero(data["usage"] == usage), n, replace=False)
                    for usage, n in ((0, 1500), (1, 300))
                ]
            )
        )
        rows = {k: data[k][kept] for k in ("images", "emotion", "usage", "ferplus")}
        np.savez(target, **rows)


def few_scenes(whole: Path, target: Path, count: int = 120) -> None:
    """The first pictures of a zip with a boxes.csv."""
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(target, "w") as new:
        head, *rows = old.read("boxes.csv").decode().splitlines()
        # Evenly: the kinds of pictures lie one after the other.
        named = sorted({row.split(",")[0] for row in rows})
        named = named[:: -(-len(named) // count)]
        kept = [row for row in rows if row.split(",")[0] in named]
        new.writestr("boxes.csv", "\n".join([head, *kept]))
        for name in named:
            new.writestr(f"images/{name}", old.read(f"images/{name}"))


@pytest.fixture(scope="module")
def desk(shared: Path, fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the READMEs name."""
    from skimage.data import astronaut

    folder = tmp_path_factory.mktemp("desk")
    cv2.imwrite(str(folder / "photo.jpg"), astronaut()[:, :, ::-1])
    shutil.copy(shared / "data" / "clips" / "single_face.mp4", folder / "visitors.mp4")
    shutil.copy(shared / "models" / "peer_vicksam_ferplus.tflite", folder / "theirs.tflite")
    small_fer2013(fer2013, folder / "fer2013.npz")
    shutil.copy(folder / "fer2013.npz", folder / "fer2013_train_public.npz")
    (folder / "scenes.zip").symlink_to(shared / "data" / "nonface_scenes.zip")
    (folder / "nonface_scenes.zip").symlink_to(shared / "data" / "nonface_scenes.zip")
    (folder / "boxes.zip").symlink_to(shared / "data" / "group_photos.zip")
    (folder / "official").symlink_to(shared / "models")
    few_scenes(shared / "data" / "faceboxes_train.zip", folder / "faceboxes_train.zip")
    with np.load(shared / "data" / "frontal_crops36.npz") as crops:
        np.savez(folder / "frontal_crops36.npz", images=crops["images"][:200])
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "examples" / "kiosk.toml", folder)
    (folder / "bootfs").mkdir()
    (folder / "bootfs" / "config.txt").write_text("dtparam=audio=on\n")
    (folder / "bootfs" / "cmdline.txt").write_text("root=PARTUUID=1-02 rootwait resize\n")
    # As an image of trixie has them.
    (folder / "bootfs" / "user-data").write_text("#cloud-config\n")
    (folder / "bootfs" / "meta-data").write_text("dsmode: local\ninstance_id: rpios-image\n")
    for name in ("converters/models", "edge_fer/models", "edge_fer/cameras", "runs"):
        (folder / name).mkdir(parents=True)
    return folder


def run(line: str, folder: Path) -> None:
    words = shlex.split(line)
    if words[0] == "edge-fer":
        words[:1] = [sys.executable, "-c", "from edge_fer.cli import main; main()"]
    elif words[0] == "python":
        words[0] = sys.executable
    target = None
    if ">" in words:
        *words, _, target = words
    if "benchmark" in words:
        # The same, shorter; a published result takes the frames of a p99.
        seconds = "3" if "--publish" in words else "0.5"
        words += ["--seconds", seconds]
    if "train" in words:
        # The same command on fewer rows, once through them, with a small net.
        words += ["--epochs", "1", "--arch", "resnet4"]
    if "pull" in words:
        words += ["--mirror", "official"]  # tests have no network
    if "train-detector" in words:
        words += ["--epochs", "1", "--steps", "2"]
    if "convert" in words and FACE in words:
        # Two steps teach nothing; what is not found cannot be compared.
        shutil.copy(ROOT / FACE, folder / FACE)
    if "convert" in words and "--detector" in words:
        words += ["--max-drop", "inf", "--calibration", "32"]
    elif "convert" in words:
        # Such a net loses more in int8 than a trained one.
        words += ["--max-drop", "inf", "--max-class-drop", "inf", "--recipe", "plain"]
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"XDG_CONFIG_HOME": str(folder), "EDGE_FER_MODELS": str(folder / "pulled")},
    )
    if "wheels" in words and done.returncode == NO_INDEX:
        no_wheels(folder / "wheels")
        return
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    if target is not None:
        (folder / target).write_text(done.stdout)


def no_wheels(folder: Path) -> None:
    """Enough for what comes after the download, where no package index answers."""
    names = {re.split("[^A-Za-z0-9-]", text)[0] for text in requires("edge-fer") or ()}
    make_wheel(folder, "edge-fer", version("edge-fer"), requires=sorted(names))
    for name in names:
        make_wheel(folder, name)


def in_order(text: str) -> list[str]:
    """What trains comes before what needs its file."""
    lines = [line for line in commands(text) if not line.startswith(INSTALLING)]
    order = (" train ", " pull ", " train-detector ")
    first = {word: rank for rank, word in enumerate(order)}
    return sorted(
        lines, key=lambda line: min((r for w, r in first.items() if w in line), default=9)
    )


def test_every_command_of_the_readme_runs(desk: Path) -> None:
    lines = in_order(README)
    assert len(lines) > 10
    for line in lines:
        run(line, desk)
    for made in ("out/photo.png", "out.jsonl", "seen.mp4", "out/report.html", "mine.report.html"):
        assert (desk / made).stat().st_size > 0, made


@pytest.mark.slow
def test_every_command_of_the_benchmark_runs(desk: Path) -> None:
    for line in commands(BENCHMARK):
        run(line, desk)
    assert (desk / "before.json").stat().st_size > 0


def test_a_result_is_published_as_its_readme_says(desk: Path) -> None:
    publish, check = commands(BASELINES)
    run(publish, desk)
    module = shlex.split(check)[1:3]
    told = subprocess.run(
        [sys.executable, *module, "check", "baseline.json"],
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.endswith("check baseline.json")
    (name,) = re.findall(r"[a-z0-9-]+--expression\.json", told.stdout + told.stderr)
    (desk / "baseline.json").rename(desk / name)
    subprocess.run([sys.executable, *module, "check", name], cwd=desk, check=True)


def test_every_command_of_the_cards_runs(desk: Path) -> None:
    lines = commands(CARDS)
    assert len(lines) > 2
    for line in lines:
        run(line, desk)
    assert (desk / "kiosk-pi5" / "bootfs" / "firstrun.sh").stat().st_size > 0


@pytest.mark.slow
def test_every_command_of_the_build_host_runs(desk: Path) -> None:
    for line in in_order(BUILD_HOST):
        run(line, desk)
    assert (desk / "edge_fer/models/expression.float.tflite").exists()


def test_the_python_example_runs(desk: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "happiness" in done.stdout


def test_the_table_of_exit_codes_is_the_error_tree() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.M)}
    classes = [getattr(errors, name) for name in errors.__all__]
    assert stated == {0} | {cls.exit_code for cls in classes}


def test_links_and_pictures_are_there() -> None:
    for name, text in (
        ("README.md", README),
        ("converters/README.md", BUILD_HOST),
        ("firmware_configs/README.md", CARDS),
    ):
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert ((ROOT / name).parent / link).exists(), f"{name}: {link}"


def test_the_figures_are_those_of_the_shipped_contracts() -> None:
    names = sorted(CLASSIFIERS)
    assert names == ["expression", "expression-fer2013", "expression-nano"]
    head = re.search(r"^\| \| (`expression`.*) \|$", README, re.M)
    assert head
    columns = re.findall(r"`([^`]+)`", head[1])
    assert sorted(columns) == names
    metrics = [read_model(find(name)).contract.metrics[0] for name in columns]
    for title, key in (("float", "float_accuracy"), ("int8", "int8_accuracy")):
        cells = " | ".join(f"{100 * getattr(m, key):.2f}" for m in metrics)
        assert f"| accuracy {title}, % | {cells} |" in README
    for label, row in metrics[columns.index("expression")].per_class.items():
        recalls = (100 * float(row[k] or 0) for k in ("float_recall", "int8_recall"))
        cells = " | ".join([label, str(row["n"]), *(f"{r:.1f}" for r in recalls)])
        assert f"| {cells} |" in README
