"""Whether labelled pictures can be used, found out before minutes of timing.

Run as a program (``python -m edge_fer_bench.accuracy.precheck``) this module is the process that
reads them: what the device never holds must not count as the benchmark's memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_fer import errors
from edge_fer.errors import EdgeFerError
from edge_fer.evaluation.data import load
from edge_fer_bench.accuracy.group_file import groupings_of, read_groups

__all__ = ["main", "require_usable"]

PROGRAM = (sys.executable, "-P", "-m", "edge_fer_bench.accuracy.precheck")


def require_usable(
    data: Path,
    labels: Sequence[str],
    *,
    split: str | None = None,
    ferplus: Path | None = None,
    groups: Path | None = None,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Read the pictures in a process of their own.

    Args:
        data: labelled pictures.
        labels: the model's.
        split: None for the usual one.
        ferplus: votes for a FER2013 csv.
        groups: of the pictures.
        program: what reads; the rest goes to it as one JSON argument.

    Returns:
        The rows.

    Raises:
        DataError: no such split, no class of the model, a group of an unknown picture.
        EdgeFerError: whatever else reading raises.
    """
    asked = {
        "data": str(data),
        "labels": list(labels),
        "split": split,
        "ferplus": ferplus and str(ferplus),
        "groups": groups and str(groups),
    }
    done = subprocess.run(
        [*program, json.dumps(asked)], capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise EdgeFerError(f"The pictures in {data} could not be read: {last[0]}.") from None
    if "rows" in answer:
        return int(answer["rows"])
    raise getattr(errors, answer["error"])(answer["message"], answer["remedy"])


def main(argument: str) -> int:
    """Print ``{"rows": n}``, or the error by its class, as one line of JSON."""
    asked = json.loads(argument)
    ferplus, groups = asked["ferplus"], asked["groups"]
    answer: dict[str, Any]
    try:
        faces = load(
            Path(asked["data"]),
            asked["labels"],
            split=asked["split"],
            ferplus=None if ferplus is None else Path(ferplus),
        )
        if groups is not None:
            groupings_of(read_groups(Path(groups)), faces)
    except EdgeFerError as err:
        answer = {"error": type(err).__name__, "message": err.message, "remedy": err.remedy}
    else:
        answer = {"rows": len(faces)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
