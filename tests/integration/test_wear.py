"""What the sinks say they write in a day, against what the kernel says they do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# A process of its own: nothing else is written by it.
WRITING = """
import json, sys
from pathlib import Path
from edge_fer.records import Record
from edge_fer.sinks import open_writer

def disk():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])

writer = open_writer(sys.argv[1])
document = {"schema": "edge-fer/observation/1", "boot_id": None, "run": "r", "clock_ok": None,
            "wall_time": "2026-05-01T12:00:00.000Z", "source": "s", "model": "m", "frame": 1,
            "t_ns": 1, "timings_ms": {}, "faces": []}
before = disk()
for sync in range(int(sys.argv[2])):
    writer.write([Record.of({**document, "seq": 5 * sync + n}) for n in range(5)])
    writer.sync()
writer.close()
print(json.dumps({"counted": writer.bytes_written, "disk": disk() - before}))
"""


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_no_more_goes_to_the_disk_than_is_counted(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITING, f"{kind}:{tmp_path}/out", "100"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    if not found["disk"]:
        pytest.skip(f"{tmp_path} is on no disk that the kernel counts for (tmpfs?)")
    assert found["disk"] <= found["counted"]
    # Nor is so much counted that a day's bound would mean little.
    assert found["counted"] <= 4 * found["disk"]
