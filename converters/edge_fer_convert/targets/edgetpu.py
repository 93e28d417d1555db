"""Compiling for the Edge TPU: Coral's ``edgetpu_compiler``, run where it is installed.

The compiler is closed, exists for x86-64 Linux only, and its last release is 16.0 of 2021
(https://coral.ai/docs/edgetpu/compiler/). What it prints is read here; the log's form is that of
16.0, as people posted it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_fer.errors import MissingExtra, ModelError
from edge_fer_convert.child import scratch_folder

__all__ = ["COMPILER", "INSTALL", "EdgeTpuReport", "MappedOperator", "compile_for_edgetpu"]

COMPILER = "edgetpu_compiler"
INSTALL = (
    "curl https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo apt-key add -",
    'echo "deb https://packages.cloud.google.com/apt coral-edgetpu-stable main" | '
    "sudo tee /etc/apt/sources.list.d/coral-edgetpu.list",
    "sudo apt-get update",
    "sudo apt-get install edgetpu-compiler",
)
"""The lines of coral.ai's page, for x86-64 Debian and its like; there is no other machine."""

# The compiler gives up by itself after 180 seconds and says so: its own words come first.
_TIMEOUT_S = 240.0
_LAST_LINES = 5
_MAPPED = "Mapped to Edge TPU"
_ROW = re.compile(r"(?P<operator>\S+)\s+(?P<count>\d+)\s+(?P<status>\S.*)")
_SIZES = {
    "Input size": "input_size",
    "Output size": "output_size",
    "On-chip memory used for caching model parameters": "on_chip_used",
    "On-chip memory remaining for caching model parameters": "on_chip_remaining",
    "Off-chip memory used for streaming uncached model parameters": "off_chip_used",
}
_COUNTS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedOperator:
    """One row of the compiler's table: an operator, how many of it, and where they run."""

    operator: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether they run on the Edge TPU."""
        return self.status == _MAPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTpuReport:
    """What the compiler made and said; everything but ``words`` is empty where it did not run.

    Attributes:
        compiled: the flatbuffer that it wrote, or None. It is another file: the contract has to be
            put in again, and its golden vectors can only be checked on an Edge TPU.
        words: one sentence for people.
        install: the lines that install the compiler, where it is missing.
        version: of the compiler.
        rows: its table of operators.
        subgraphs: how many parts run on the Edge TPU; more than one, or none, costs time.
        operations: of the whole model.
        input_size, output_size, on_chip_used, on_chip_remaining, off_chip_used: as printed,
            ``3.75MiB``.
    """

    compiled: bytes | None = field(default=None, repr=False)
    words: str
    install: tuple[str, ...] = ()
    version: str | None = None
    rows: tuple[MappedOperator, ...] = ()
    subgraphs: int | None = None
    operations: int | None = None
    input_size: str | None = None
    output_size: str | None = None
    on_chip_used: str | None = None
    on_chip_remaining: str | None = None
    off_chip_used: str | None = None

    @property
    def on_cpu(self) -> tuple[MappedOperator, ...]:
        """The rows that did not go to the Edge TPU."""
        return tuple(row for row in self.rows if not row.mapped)

    def to_json(self) -> dict[str, Any]:
        """The fields without the bytes, as the report holds them."""
        return {
            "compiled": self.compiled is not None,
            "words": self.words,
            "install": list(self.install),
            "version": self.version,
            "operators": [
                {"operator": row.operator, "count": row.count, "status": row.status}
                for row in self.rows
            ],
            "mapped": sum(row.count for row in self.rows if row.mapped),
            "on_cpu": sum(row.count for row in self.on_cpu),
            **{name: getattr(self, name) for name in (*_COUNTS.values(), *_SIZES.values())},
        }


def compile_for_edgetpu(
    flatbuffer: bytes,
    *,
    require_full_mapping: bool = False,
    timeout_s: float = _TIMEOUT_S,
    on_log: Callable[[str], None] = lambda line: None,
) -> EdgeTpuReport:
    """Compile a full-int8 model with the ``edgetpu_compiler`` that is on PATH.

    Args:
        flatbuffer: the int8 model, without a contract.
        require_full_mapping: take nothing less than every operator on the Edge TPU.
        timeout_s: when to stop waiting.
        on_log: told of each line that the compiler printed.

    Returns:
        What it made; without the compiler, a report that says how to get it.

    Raises:
        ModelError: the compiler refused the model, failed, or took too long; with
            ``require_full_mapping``, an operator stays on the CPU.
        MissingExtra: the compiler cannot be started; or it is missing and
            ``require_full_mapping`` cannot be answered without it.
    """
    program = shutil.which(COMPILER)
    if program is None:
        words = f"{COMPILER} is not installed, so nothing was compiled for the Edge TPU."
        if require_full_mapping:
            raise MissingExtra(
                f"Only {COMPILER} can say what the Edge TPU maps, and it is not installed.",
                f"On x86-64 Linux: {' && '.join(INSTALL)}",
            )
        return EdgeTpuReport(words=words, install=INSTALL)
    with scratch_folder() as folder:
        (folder / "model.tflite").write_bytes(flatbuffer)
        code = _run(
            [program, "-s", "-o", str(folder), str(folder / "model.tflite")], folder, timeout_s
        )
        lines = (folder / "said.txt").read_text(errors="replace").splitlines()
        for line in lines:
            on_log(line)
        if code is None:
            raise ModelError(
                f"{COMPILER} did not finish in {timeout_s:g} seconds and was stopped. "
                f"It last said: {_last(lines)}",
                "Large activations are the usual cause: give the model smaller pictures.",
            )
        written = folder / "model_edgetpu.tflite"
        if code != 0 or not written.is_file():
            raise ModelError(
                f"{COMPILER} failed (exit {code}). It last said: {_last(lines)}",
                "Run it again with -v to see everything that it said; the findings for the "
                "target coral name what it is known to refuse.",
            )
        log = folder / "model_edgetpu.log"
        more = log.read_text(errors="replace").splitlines() if log.is_file() else []
        report = _read(lines, more, written.read_bytes())
    if require_full_mapping:
        _require_all(report)
    return report


def _run(command: list[str], folder: Path, timeout_s: float) -> int | None:
    """The exit code, or None where it was stopped; what it said is in ``said.txt``.

    A file and not a pipe: what the compiler starts may outlive it and hold a pipe open.
    """
    with (folder / "said.txt").open("wb") as said:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, to be stopped as a whole
            )
        except OSError as err:
            raise MissingExtra(
                f"{command[0]} cannot be started ({err.strerror}).",
                "Coral's compiler runs on x86-64 Linux only: compile there.",
            ) from err
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # Still running: too late, or Ctrl-C. It works in children of its own.
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _read(lines: list[str], log: list[str], compiled: bytes) -> EdgeTpuReport:
    found: dict[str, Any] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and key.strip() in _SIZES:
            found[_SIZES[key.strip()]] = value.strip()
        elif colon and key.strip() in _COUNTS and value.strip().isdigit():
            found[_COUNTS[key.strip()]] = int(value)
        elif line.startswith("Edge TPU Compiler version "):
            found["version"] = line.split()[-1]
    # -s prints the table; the log file holds the same one.
    rows = _table(lines) or _table(log)
    mapped = sum(row.count for row in rows if row.mapped)
    total = sum(row.count for row in rows)
    words = (
        f"{COMPILER} maps {mapped} of {total} operators to the Edge TPU; not run on one."
        if rows
        else f"{COMPILER} did not say which operators it maps."
    )
    return EdgeTpuReport(compiled=compiled, words=words, rows=rows, **found)


def _table(lines: list[str]) -> tuple[MappedOperator, ...]:
    heads = [i for i, line in enumerate(lines) if line.split() == ["Operator", "Count", "Status"]]
    if not heads:
        return ()
    rows = []
    for line in lines[heads[0] + 1 :]:
        row = _ROW.fullmatch(line.strip())
        if row is None and line.strip():
            break
        if row is not None:
            rows.append(
                MappedOperator(
                    operator=row["operator"], count=int(row["count"]), status=row["status"]
                )
            )
    return tuple(rows)


def _require_all(report: EdgeTpuReport) -> None:
    if not report.rows:
        raise ModelError(
            f"{COMPILER} {report.version or ''} printed no table of operators, so nobody knows "
            "whether all of them are mapped.",
            "Use its release 16.0, or leave --require-full-mapping out.",
        )
    if report.on_cpu:
        left = "; ".join(f"{row.count} {row.operator} ({row.status})" for row in report.on_cpu)
        raise ModelError(
            f"Not every operator runs on the Edge TPU: {left}.",
            "Replace those layers, or leave --require-full-mapping out.",
        )


def _last(lines: list[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    return " | ".join(said[-_LAST_LINES:]) or "nothing"
