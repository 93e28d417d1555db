"""From starting a process to its first result: what a service's restart costs.

Run as a program (``python -m edge_fer_bench.timing.cold_start``) this module is the process that is
timed: it opens model, detector and source, takes one frame through all stages and writes one JSON
line. :func:`measure_cold_start` starts it and takes the time until that line has come.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median_low
from tempfile import TemporaryFile
from threading import Timer
from time import perf_counter
from typing import Any

__all__ = ["ColdStart", "main", "measure_cold_start"]

PROGRAM = (sys.executable, "-P", "-m", "edge_fer_bench.timing.cold_start")
_PARTS = ("imports_ms", "open_ms", "first_frame_ms")
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Starts of fresh processes; their files were in the disk cache already.

    Attributes:
        runs_ms: one per start, process start to first result.
        imports_ms, open_ms, first_frame_ms: parts of the median start, timed inside it; the rest
            is the interpreter's own start.
        why_not: why nothing was measured; None where something was.
    """

    runs_ms: tuple[float, ...] = ()
    imports_ms: float | None = None
    open_ms: float | None = None
    first_frame_ms: float | None = None
    why_not: str | None = None

    @property
    def median_ms(self) -> float | None:
        """The figure, the lower one of two; None where nothing was measured."""
        return median_low(self.runs_ms) if self.runs_ms else None

    def to_json(self) -> dict[str, Any]:
        """The details beside ``cold_start_ms``."""
        return {**asdict(self), "runs_ms": list(self.runs_ms)}


def measure_cold_start(
    settings: Mapping[str, Any],
    *,
    runs: int = 3,
    budget_s: float = 15.0,
    program: Sequence[str] = PROGRAM,
    clock: Callable[[], float] = perf_counter,
) -> ColdStart:
    """Start fresh processes and time them.

    Args:
        settings: of :class:`edge_fer.config.Settings`, those that are not the defaults.
        runs: how many starts, at least one.
        budget_s: no further start once this many seconds are spent.
        program: what is started; the settings go to it as one JSON argument.
        clock: seconds, monotonic.
    """
    command = [*program, json.dumps(dict(settings))]
    times: list[float] = []
    parts: list[dict[str, float]] = []
    began = clock()
    while not times or (len(times) < runs and clock() - began < budget_s):
        started = clock()
        line, came, trouble = _first_line(command, clock)
        answer = _parse(line)
        if answer is None:
            return ColdStart(why_not=trouble or "the process gave no result")
        times.append(1000 * (came - started))
        parts.append(answer)
    middle = parts[times.index(median_low(times))]
    return ColdStart(
        runs_ms=tuple(times),
        imports_ms=middle["imports_ms"],
        open_ms=middle["open_ms"],
        first_frame_ms=middle["first_frame_ms"],
    )


def _first_line(command: Sequence[str], clock: Callable[[], float]) -> tuple[str, float, str]:
    """The first line of its output, when it came, and the last line of its errors."""
    with TemporaryFile("w+") as errors:
        try:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as err:
            return "", clock(), str(err)
        alarm = Timer(_TIMEOUT_S, child.kill)
        alarm.start()
        with child:
            try:
                line = child.stdout.readline() if child.stdout else ""
                came = clock()
            except KeyboardInterrupt:
                child.kill()
                raise
            finally:
                alarm.cancel()
        errors.seek(0)
        said = errors.read().strip().splitlines()
    return line, came, said[-1] if said else ""


def _parse(line: str) -> dict[str, float] | None:
    try:
        answer = json.loads(line)
        return {part: float(answer[part]) for part in _PARTS}
    except (ValueError, KeyError, TypeError):
        return None


def main(argument: str) -> int:
    """The timed process: one frame from nothing, and a JSON line with its parts in ms.

    Args:
        argument: the settings as a JSON object.
    """
    started = perf_counter()
    from edge_fer.assemble import build
    from edge_fer.config import Settings
    from edge_fer.errors import EdgeFerError

    imported = perf_counter()
    given = json.loads(argument)
    try:
        pipeline = build(Settings(**{**given, "sinks": ()}))
        opened = perf_counter()
        observation = pipeline.step()
    except EdgeFerError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    first = perf_counter()
    times = (imported - started, opened - imported, first - opened)
    answer = {part: 1000 * t for part, t in zip(_PARTS, times, strict=True)}
    if observation is not None:
        sys.stdout.write(json.dumps({**answer, "faces": len(observation.faces)}) + "\n")
        sys.stdout.flush()
    pipeline.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
