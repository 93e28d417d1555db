"""The Edge TPU's compiler, as stand-ins that are found, missing, failing, hanging, half mapping.

The real one was never run here: its words are those that people posted of release 16.0.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_fer.errors import MissingExtra, ModelError
from edge_fer_convert.targets.edgetpu import COMPILER, INSTALL, compile_for_edgetpu

HEAD = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 255 ms.

Input model: model.tflite
Input size: 3.52MiB
Output model: model_edgetpu.tflite
Output size: 3.88MiB
On-chip memory used for caching model parameters: 3.75MiB
On-chip memory remaining for caching model parameters: 4.00MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 31
Operation log: model_edgetpu.log
"""
TABLE_ALL = """
Operator                       Count      Status

CONV_2D                        14         Mapped to Edge TPU
DEPTHWISE_CONV_2D              13         Mapped to Edge TPU
ADD                            4          Mapped to Edge TPU
"""
TAIL = "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
PARTLY = """
Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 29
Number of operations that will run on CPU: 2
"""
TABLE_PART = """
Operator                       Count      Status

CONV_2D                        28         Mapped to Edge TPU
LEAKY_RELU                     1          Operation not supported
CONV_2D                        1          More than one subgraph is not supported
MEAN                           1          Mapped to Edge TPU
"""
REFUSED = """Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'.

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""
# Writes "compiled " and what it was given into the folder behind -o.
COMPILES = """
import pathlib, sys
words = sys.argv[1:]
assert words[0] == "-s" and words[1] == "-o", words
given = pathlib.Path(words[3])
out = pathlib.Path(words[2]) / (given.stem + "_edgetpu.tflite")
out.write_bytes(b"compiled " + given.read_bytes())
print(SAID, end="")
"""
HANGS = """
import os, pathlib, subprocess, sys, time
print("Edge TPU Compiler version 16.0.384591198", flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
note = pathlib.Path(NOTE + ".new")
note.write_text(f"{os.getpid()} {child.pid}")
note.rename(NOTE)
time.sleep(600)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in is to be written; nothing else is on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder / COMPILER


def python(path: Path, text: str, **values: str) -> None:
    stated = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    path.write_text(f"#!{sys.executable}\n{stated}{text}")
    path.chmod(0o755)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that its new parent has not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_soon(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_found_and_everything_is_mapped(stand_in: Path) -> None:
    python(stand_in, COMPILES, SAID=HEAD + TABLE_ALL + TAIL)
    heard: list[str] = []
    report = compile_for_edgetpu(b"a model", require_full_mapping=True, on_log=heard.append)
    assert report.compiled == b"compiled a model"
    assert "\n".join(heard).strip() == (HEAD + TABLE_ALL + TAIL).strip()
    assert report.on_cpu == ()
    assert report.to_json() == {
        "compiled": True,
        "words": "edgetpu_compiler maps 31 of 31 operators to the Edge TPU; not run on one.",
        "install": [],
        "version": "16.0.384591198",
        "operators": [
            {"operator": "CONV_2D", "count": 14, "status": "Mapped to Edge TPU"},
            {"operator": "DEPTHWISE_CONV_2D", "count": 13, "status": "Mapped to Edge TPU"},
            {"operator": "ADD", "count": 4, "status": "Mapped to Edge TPU"},
        ],
        "mapped": 31,
        "on_cpu": 0,
        "subgraphs": 1,
        "operations": 31,
        "input_size": "3.52MiB",
        "output_size": "3.88MiB",
        "on_chip_used": "3.75MiB",
        "on_chip_remaining": "4.00MiB",
        "off_chip_used": "0.00B",
    }


def test_the_duration_does_not_reach_the_report(stand_in: Path) -> None:
    reports = []
    for said in (HEAD, HEAD.replace("255 ms", "31415 ms")):
        python(stand_in, COMPILES, SAID=said + TABLE_ALL)
        reports.append(compile_for_edgetpu(b"a model"))
    assert reports[0] == reports[1]


def test_partly_mapped_names_what_stays(stand_in: Path) -> None:
    python(stand_in, COMPILES, SAID=HEAD + PARTLY + TABLE_PART + TAIL)
    report = compile_for_edgetpu(b"a model")
    assert report.compiled is not None
    assert "maps 29 of 31" in report.words
    assert [(row.operator, row.count) for row in report.on_cpu] == [
        ("LEAKY_RELU", 1),
        ("CONV_2D", 1),
    ]
    assert report.to_json()["on_cpu"] == 2
    with pytest.raises(ModelError) as caught:
        compile_for_edgetpu(b"a model", require_full_mapping=True)
    assert caught.value.exit_code == 5
    assert "1 LEAKY_RELU (Operation not supported)" in caught.value.message
    assert "1 CONV_2D (More than one subgraph is not supported)" in caught.value.message


def test_the_table_may_stand_in_the_log_file_only(stand_in: Path) -> None:
    script = COMPILES + "(out.parent / 'model_edgetpu.log').write_text(TABLE)\n"
    python(stand_in, script, SAID=HEAD, TABLE=TABLE_PART)
    assert compile_for_edgetpu(b"a model").to_json()["on_cpu"] == 2


def test_without_a_table_full_mapping_is_not_taken_for_granted(stand_in: Path) -> None:
    python(stand_in, COMPILES, SAID=HEAD)
    assert "did not say" in compile_for_edgetpu(b"a model").words
    with pytest.raises(ModelError, match="printed no table"):
        compile_for_edgetpu(b"a model", require_full_mapping=True)


def test_missing_gives_the_lines_to_get_it_and_no_failure(stand_in: Path) -> None:
    assert not stand_in.exists()
    report = compile_for_edgetpu(b"a model")
    assert report.compiled is None
    assert report.install == INSTALL
    assert INSTALL[-1] == "sudo apt-get install edgetpu-compiler"
    assert "nothing was compiled" in report.words
    assert report.to_json()["mapped"] == 0


def test_missing_cannot_answer_for_full_mapping(stand_in: Path) -> None:
    with pytest.raises(MissingExtra, match="apt-get install edgetpu-compiler") as caught:
        compile_for_edgetpu(b"a model", require_full_mapping=True)
    assert caught.value.exit_code == 3


def test_failing_shows_its_last_lines(stand_in: Path) -> None:
    python(stand_in, "import sys\nprint(SAID)\nsys.exit(1)\n", SAID=REFUSED)
    heard: list[str] = []
    with pytest.raises(ModelError) as caught:
        compile_for_edgetpu(b"a model", on_log=heard.append)
    assert caught.value.exit_code == 5
    assert "exit 1" in caught.value.message
    assert "'CONV_2D' version '6'" in caught.value.message
    assert "Model could not be parsed" in caught.value.message
    assert len(heard) > 5


def test_succeeding_without_a_file_is_a_failure(stand_in: Path) -> None:
    python(stand_in, "print('Compilation succeeded!')\n")
    with pytest.raises(ModelError, match=r"exit 0.*Compilation succeeded"):
        compile_for_edgetpu(b"a model")


def test_what_cannot_be_started_names_the_machine_that_can(stand_in: Path) -> None:
    stand_in.write_bytes(b"\x7fELF of another machine")
    stand_in.chmod(0o755)
    with pytest.raises(MissingExtra, match="x86-64"):
        compile_for_edgetpu(b"a model")


def test_hanging_is_stopped_with_everything_that_it_started(stand_in: Path, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    python(stand_in, HANGS, NOTE=str(note))
    with pytest.raises(ModelError) as caught:
        compile_for_edgetpu(b"a model", timeout_s=5)
    assert "did not finish in 5 seconds" in caught.value.message
    assert "Edge TPU Compiler version" in caught.value.message
    assert gone_soon([int(pid) for pid in note.read_text().split()])


def test_ctrl_c_stops_it_too(stand_in: Path, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    python(stand_in, HANGS, NOTE=str(note))
    code = "from edge_fer_convert.targets.edgetpu import compile_for_edgetpu as c; c(b'a model')"
    ours = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    ours.send_signal(signal.SIGINT)
    _, said = ours.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said
    assert gone_soon([int(pid) for pid in note.read_text().split()])
    assert not list(tmp_path.glob("edge-fer-*"))
