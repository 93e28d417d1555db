"""``edge-fer benchmark`` as a user runs it: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARK = [sys.executable, "-c", "from edge_fer.cli import main; main()", "benchmark"]


def benchmark(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it for a moment; it ends with this exit code and without a traceback."""
    done = subprocess.run(
        [*BENCHMARK, "--seconds", "0.2", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done
