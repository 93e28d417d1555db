"""``edge-fer train`` on real rows: both forms of the data, stopped, resumed, taught by another."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.evaluation.labels import FERPLUS8

COMMAND = "from edge_fer.cli import main; main()"
SMALL = ("--arch", "resnet4", "--batch", "64")


@pytest.fixture(scope="module")
def desk(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred rows, as an npz and as the two csv files that it could have come from."""
    folder = tmp_path_factory.mktemp("train")
    with np.load(fer2013) as data:
        rng = np.random.default_rng(0)
        kept = np.sort(rng.choice(np.flatnonzero(data["usage"] == 0), 700, replace=False))
        rows = {k: data[k][kept] for k in ("images", "emotion", "usage", "ferplus")}
    np.savez(folder / "rows.npz", **rows)
    with (folder / "fer2013.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["emotion", "pixels", "Usage"])
        for image, emotion in zip(rows["images"], rows["emotion"], strict=True):
            table.writerow([int(emotion), " ".join(map(str, image.ravel())), "Training"])
    with (folder / "fer2013new.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Usage", "Image name", *FERPLUS8, "unknown", "NF"])
        for i, votes in enumerate(rows["ferplus"].tolist()):
            table.writerow(["Training", f"fer{i:07}.png", *votes])
    return folder


def start(desk: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", *map(str, words)],
        cwd=desk,
        env=os.environ | {"XDG_CONFIG_HOME": str(desk)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(desk: Path, *words: object) -> dict[str, Any]:
    process = start(desk, *words, "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def losses(document: dict[str, Any]) -> list[float]:
    return [epoch["loss"] for epoch in document["curve"]]


@pytest.fixture(scope="module")
def whole(desk: Path) -> dict[str, Any]:
    return train(desk, "--data", "rows.npz", *SMALL, "--epochs", 2, "-o", "whole.keras")


@pytest.mark.slow
def test_the_csv_files_teach_what_the_npz_does(desk: Path, whole: dict[str, Any]) -> None:
    words = ("--data", "fer2013.csv", "--ferplus", "fer2013new.csv")
    other = train(desk, *words, *SMALL, "--epochs", 2, "-o", "csv.keras")
    assert other["trained_on"]["n"] == whole["trained_on"]["n"] > 400
    assert losses(other) == pytest.approx(losses(whole), rel=1e-3)


@pytest.mark.slow
def test_ctrl_c_keeps_the_epochs_and_the_same_command_goes_on(
    desk: Path, whole: dict[str, Any]
) -> None:
    words = ("--data", "rows.npz", *SMALL, "--epochs", 2, "-o", "again.keras")
    process = start(desk, *words)
    checkpoint = desk / "runs" / "again" / "checkpoint.npz"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 7, err
    assert "Traceback" not in err
    assert not (desk / "again.keras").exists()
    assert [p.name for p in checkpoint.parent.iterdir()] == ["checkpoint.npz"]
    resumed = train(desk, *words)
    assert len(resumed["curve"]) == 2
    assert losses(resumed) == pytest.approx(losses(whole), rel=1e-3)


@pytest.mark.slow
def test_a_model_learns_from_folds_and_from_an_earlier_one(
    desk: Path, whole: dict[str, Any]
) -> None:
    taught = train(
        desk, "--data", "rows.npz", *SMALL, "--epochs", 1, "--teacher", "whole.keras",
        "--folds", 2, "--initial", "whole.keras", "-o", "taught.keras",
    )  # fmt: skip
    assert taught["teachers"][0]["file"] == "whole.keras"
    crossed = taught["cross_fit"]
    assert crossed["folds"] == 2
    # Rows on which the crowd was divided teach, but score nothing.
    assert 400 < sum(c["n"] for c in crossed["per_class"].values()) < taught["trained_on"]["n"]
    assert losses(taught) != losses(whole)[:1]


def test_the_page_of_a_run_stands_alone(desk: Path, whole: dict[str, Any]) -> None:
    page = (desk / "whole.run.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/", "")
    assert f"{whole['parameters']:,}".replace(",", "") in page.replace(",", "").replace(" ", "")


def test_architectures_are_listed_with_their_cost(desk: Path) -> None:
    process = start(desk, "--architectures")
    out, err = process.communicate()
    assert process.returncode == 0, err
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "36.6 MMAC" in lines["resnet10"]
    assert "338792 parameters" in lines["resnet10"]
    assert set(lines) >= {"resnet10-wide", "resnet7-nano", "article-cnn"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--arch", "resnet99"), 2, "resnet7-nano"),
        (("--folds", 1), 2, "--folds 2"),
        (("--teacher", "rows.npz"), 5, "edge-fer train wrote"),
        (("--outliers", "nowhere.zip"), 2, "Give a zip file"),
    ],
)
def test_mistakes_are_said_with_what_mends_them(
    desk: Path, words: tuple[object, ...], code: int, says: str
) -> None:
    base = ("--data", "rows.npz", "--epochs", 1, *SMALL, "-o", "wrong.keras")
    process = start(desk, *base, *words)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert says in err
    assert not (desk / "wrong.keras").exists()
