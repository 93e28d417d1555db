"""`edge-fer run` on a live camera as a service, from the outside: lost, reloaded, asked, ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from motion_jpeg import MotionJpeg
from stub_delegate import build_stub, compiled_stand_in

from edge_fer.modelfile import embed
from edge_fer.models import find, load

GENEROUS_S = 60.0
MOUNT: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]


@pytest.fixture(scope="module")
def portrait() -> bytes:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    picture = cv2.resize(data.astronaut()[:, :, ::-1], (480, 480))
    return bytes(cv2.imencode(".jpg", picture)[1].tobytes())


class Running:
    """The command, its settings file, what it wrote and what it says of itself."""

    def __init__(
        self, folder: Path, source: str, *more: str, environ: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.out = folder, folder / "seen.jsonl"
        self.model = Path(shutil.copy(find("expression"), folder / "mine.tflite"))
        self.settings = folder / "settings.toml"
        self.configure(source, *more)
        self.errors = (folder / "stderr.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_fer", "run", "--config", str(self.settings)],
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            env=os.environ | {"XDG_CONFIG_HOME": str(folder)} | dict(environ or {}),
        )

    def configure(self, source: str, *more: str) -> None:
        stated = {line.partition(" =")[0] for line in more}
        lines = [
            f'source = "{source}"',
            f'model = "{self.model}"',
            *([] if "sinks" in stated else [f'sinks = ["jsonl:{self.out}"]']),
            f'status_file = "{self.folder}/status.json"',
            f'state_file = "{self.folder}/state.json"',
            *more,
        ]
        self.settings.write_text("\n".join(lines) + "\n")

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def failing(self) -> bool:
        return any(sink["last_error"] for sink in self.status().get("sinks") or ())

    def lines(self) -> list[dict[str, Any]]:
        if not self.out.exists():
            return []
        text = self.out.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def until(self, true: Callable[[], Any], what: str) -> None:
        by = time.monotonic() + GENEROUS_S
        while not true():
            assert self.process.poll() is None, (self.folder / "stderr.txt").read_text()
            assert time.monotonic() < by, f"never {what}: {self.status()}"
            time.sleep(0.05)

    def grown(self, by: int) -> None:
        have = len(self.lines())
        self.until(lambda: len(self.lines()) >= have + by, f"{by} more lines")

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=GENEROUS_S) == 0
        self.errors.close()
        return (self.folder / "stderr.txt").read_text()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(source: str, *more: str, environ: Mapping[str, str] | None = None) -> Running:
        made.append(Running(tmp_path, source, *more, environ=environ))
        return made[-1]

    yield start
    for running in made:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        running.errors.close()


def test_a_camera_is_lost_and_found_and_nothing_that_was_written_is_lost(
    run: Callable[..., Running], portrait: bytes
) -> None:
    def playing() -> Iterator[bytes]:
        while True:
            yield portrait

    with MotionJpeg(playing) as camera:
        port = camera.port
        running = run(f"http://user:s3cret@127.0.0.1:{port}/live?mirror=1")
        running.until(lambda: any(line["faces"] for line in running.lines()), "a face")
        running.grown(10)
        running.until(lambda: running.status().get("state") == "running", "running")
    running.until(lambda: running.status()["state"] == "camera_away", "away")
    assert running.status()["camera"]["state"] in ("away", "stalled")
    assert running.status()["last_error"]["message"]
    before = len(running.lines())
    with MotionJpeg(playing, port=port):
        running.grown(10)
        running.until(lambda: running.status()["state"] == "running", "running again")
        assert running.status()["camera"]["reopened"] >= 1
        said = running.end()
    lines = running.lines()
    assert len(lines) > before
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    frames = [line["frame"] for line in lines]
    assert frames == sorted(set(frames))
    assert lines[-1]["faces"][0]["expression"] == "happiness"
    everything = said + running.out.read_text() + json.dumps(running.status())
    assert "s3cret" not in everything
    asked = subprocess.run(
        [sys.executable, "-m", "edge_fer", "status", "--file", running.folder / "status.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 4
    assert "ended" in asked.stderr


def test_broken_settings_or_models_are_told_and_the_old_ones_go_on(
    run: Callable[..., Running],
) -> None:
    running = run("synthetic?fps=20")
    running.grown(5)
    running.until(lambda: running.status().get("state") == "running", "running")
    first = running.lines()[-1]["model"]

    def complains(word: str) -> None:
        running.process.send_signal(signal.SIGHUP)
        running.until(
            lambda: word in ((running.status()["last_error"] or {}).get("message") or ""), word
        )
        running.grown(5)

    running.settings.write_text("source = \n")
    complains("TOML")
    running.configure("synthetic?fps=20", 'smothing = "hmm"')
    complains("smothing")
    running.configure("no/such.mp4")
    complains("no/such.mp4")
    running.configure("synthetic?fps=20")
    whole = running.model.read_bytes()
    running.model.write_bytes(whole[: len(whole) // 2])
    complains("mine.tflite")
    assert {line["model"] for line in running.lines()} == {first}
    # Mended, and another model.
    shutil.copy(find("expression-nano"), running.model)
    running.configure("synthetic?fps=20", "max_faces = 1")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: running.lines()[-1]["model"] != first, "another model")
    running.grown(5)
    assert max(len(line["faces"]) for line in running.lines()[-3:]) == 1
    said = running.end()
    assert "read again" in said
    numbers = [line["seq"] for line in running.lines()]
    assert numbers == sorted(set(numbers))


def test_a_live_source_may_be_slow_for_us_but_never_late(run: Callable[..., Running]) -> None:
    """Slowed down to five frames a second, it still looks at the newest frame, and counts drops."""
    running = run("synthetic?fps=30", "max_fps = 5.0")
    running.grown(8)
    frames = np.diff([line["frame"] for line in running.lines()[-6:]])
    assert frames.min() >= 3
    running.until(lambda: running.status()["camera"]["dropped"] > 20, "dropped")
    running.end()


def test_the_edge_tpu_is_pulled_out_and_put_back_and_no_frame_is_missed(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    """A stand-in for its library: it proves that the run goes on, not that a Coral works."""
    lost, model = tmp_path / "lost", load("expression")
    build_stub(tmp_path).rename(tmp_path / "libedgetpu.so.1")
    compiled = embed(compiled_stand_in(model.flatbuffer), model.contract)
    (tmp_path / "mine.edgetpu.tflite").write_bytes(compiled)
    running = run(
        "synthetic?fps=15",
        environ={
            "LD_LIBRARY_PATH": str(tmp_path),
            "STUB_DELEGATE": "works",
            "STUB_DELEGATE_LOST": str(lost),
        },
    )

    def on(name: str) -> Callable[[], bool]:
        return lambda: running.status().get("backend", {}).get("name", "").startswith(name)

    running.until(on("edgetpu"), "on the stand-in")
    running.grown(5)
    lost.touch()
    running.until(on("litert"), "on the CPU")
    assert running.status()["backend"]["why"]
    running.grown(5)
    lost.unlink()
    running.until(on("edgetpu"), "back")
    assert running.status()["backend"]["falls"] == running.status()["backend"]["returns"] == 1
    said = running.end()
    assert "Back on edgetpu" in said
    numbers = [line["seq"] for line in running.lines()]
    assert numbers == list(range(len(numbers)))
    assert all(face["expression"] for line in running.lines() for face in line["faces"])


def test_a_full_disk_and_a_reload_at_a_time(run: Callable[..., Running], tmp_path: Path) -> None:
    """A sink that fails is replaced by the reload, and the run goes on."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run([*MOUNT, small], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        running = run("synthetic?fps=30", f'sinks = ["jsonl:{small}/x.jsonl"]')
        running.until(running.failing, "a full disk")
        running.configure("synthetic?fps=30")
        running.process.send_signal(signal.SIGHUP)
        running.grown(10)
        assert "were not accepted" in running.end()
    finally:
        subprocess.run(["umount", small], check=True)


def test_another_source_while_the_camera_is_away(
    run: Callable[..., Running], portrait: bytes
) -> None:
    with MotionJpeg(lambda: iter([portrait] * 100_000)) as camera:
        port = camera.port
        running = run(f"http://127.0.0.1:{port}/live")
        running.grown(5)
    running.until(lambda: running.status()["state"] == "camera_away", "away")
    running.configure("http://127.0.0.1:1/nothing")
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "old ones stay" in (running.folder / "stderr.txt").read_text(), "told")
    with MotionJpeg(lambda: iter([portrait] * 100_000), port=port):
        running.grown(5)
        said = running.end()
    assert "is back after" in said


def test_a_refused_reload_changes_nothing_at_all(run: Callable[..., Running]) -> None:
    running = run("synthetic?fps=20&faces=1")
    running.until(lambda: any(line["faces"] for line in running.lines()), "a face")
    running.configure("synthetic?fps=20&faces=3", 'aggregate = "1min"')
    text = running.settings.read_text().replace("seen.jsonl", "no/such/folder/seen.jsonl")
    running.settings.write_text(text)
    running.process.send_signal(signal.SIGHUP)
    running.until(lambda: "old ones stay" in (running.folder / "stderr.txt").read_text(), "told")
    running.grown(20)
    assert max(len(line["faces"]) for line in running.lines()[-10:]) == 1
    running.end()


def test_a_service_is_up_before_its_camera(run: Callable[..., Running], portrait: bytes) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with listener, tempfile.TemporaryDirectory() as folder:
        listener.bind(f"{folder}/notify")
        running = run(
            f"http://127.0.0.1:{port}/live", environ={"NOTIFY_SOCKET": f"{folder}/notify"}
        )
        running.until(lambda: running.status().get("state") == "camera_away", "away")
        with MotionJpeg(lambda: iter([portrait] * 100_000), port=port):
            running.grown(5)
            running.end()


def test_a_camera_that_is_not_there_is_said_at_once_to_a_person(tmp_path: Path) -> None:
    running = Running(tmp_path, "http://127.0.0.1:1/nothing")
    assert running.process.wait(timeout=GENEROUS_S) == 4
    running.errors.close()


def test_a_blocked_sink_does_not_keep_a_run_from_ending(
    run: Callable[..., Running], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)  # never read from
    try:
        running = run(
            "synthetic?fps=30",
            f'sinks = ["jsonl:{tmp_path}/pipe", "jsonl:{tmp_path}/seen.jsonl"]',
        )
        running.grown(150)  # more than a pipe holds
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=GENEROUS_S) in (0, 4)
        assert "were not accepted" in (tmp_path / "stderr.txt").read_text()
        assert "faces in" in (tmp_path / "stderr.txt").read_text()
    finally:
        os.close(reader)


@pytest.mark.parametrize("after_s", [0.25, 0.4, 0.6, 0.9])
def test_told_to_end_while_it_starts_it_ends_well(
    run: Callable[..., Running], tmp_path: Path, after_s: float
) -> None:
    running = run("synthetic?fps=20")
    time.sleep(after_s)
    running.process.terminate()
    # Before Python has read the first line of ours, the kernel ends it: a clean end to systemd.
    assert running.process.wait(timeout=GENEROUS_S) in (0, -signal.SIGTERM)
    said = (tmp_path / "stderr.txt").read_text()
    assert "Traceback" not in said
    assert "did not end" not in said


@pytest.mark.parametrize("more", [["--annotate", "own.png"], ["--sink", "jsonl:own.png"]])
def test_the_source_is_never_written_over(tmp_path: Path, portrait: bytes, more: list[str]) -> None:
    (tmp_path / "own.png").write_bytes(portrait)
    done = subprocess.run(
        [sys.executable, "-m", "edge_fer", "run", "--source", "own.png", *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, (tmp_path / "own.png").read_bytes()) == (2, portrait)
    assert "is the source" in done.stderr


def test_with_aggregate_no_face_is_printed_or_drawn(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edge_fer", "run", "--source", "synthetic?frames=20"]
    words += ["--aggregate", "1min"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    done = subprocess.run(
        [*words, "--annotate", "out"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()


def test_standard_output_may_be_closed(tmp_path: Path) -> None:
    command = f"{sys.executable} -m edge_fer run --source 'synthetic?frames=3' >&-"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
