"""What test_boot.py compares after a kill: records that were accepted, and records on the disk."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from boot_machine import Machine

__all__ = ["DURABLE", "checked", "complete", "on_disk"]

#: The sinks that keep records, by the first word of their address.
DURABLE = ("jsonl", "sqlite")
# What is on the data partition: of each run its boot, the first and the last number, how many
# records and how many different numbers.
ON_DISK = """
import json, sqlite3
runs, torn = {}, 0
with open("/var/lib/edge-fer/seen.jsonl", "rb") as file:
    for line in file:
        try:
            record = json.loads(line)
            runs.setdefault((record["run"], record["boot_id"]), []).append(record["seq"])
        except (ValueError, KeyError):
            torn += line.strip() != b""
data = sqlite3.connect("file:/var/lib/edge-fer/seen.db?mode=ro", uri=True)
rows = data.execute(
    "SELECT r.run, r.boot_id, min(o.seq), max(o.seq), count(*), count(DISTINCT o.seq)"
    " FROM observations o JOIN runs r ON r.id = o.run GROUP BY r.id"
)
print(json.dumps({
    "jsonl": [[*run, min(n), max(n), len(n), len(set(n))] for run, n in runs.items()],
    "sqlite": list(rows),
    "torn": torn,
    "integrity": data.execute("PRAGMA integrity_check").fetchone()[0],
}))
"""


def on_disk(machine: Machine) -> dict[str, Any]:
    """Read it in the guest, while its service goes on writing."""
    ran = machine.ask(f"python3 - <<'ASKED'\n{ON_DISK}\nASKED")
    assert ran.rc == 0, ran.out
    return dict(json.loads(ran.out))


def complete(told: dict[str, Any]) -> bool:
    """Whether both durable sinks have accepted something."""
    return all(told["sinks"].get(kind, [0])[0] > 0 for kind in DURABLE)


def checked(
    found: dict[str, Any], accepted: list[dict[str, Any]], before: dict[str, int], *, torn: int
) -> dict[str, int]:
    """What is on the disk after a kill: everything that was accepted, whole, and once.

    Args:
        found: what :func:`on_disk` has read.
        accepted: what the guest had told before it was killed, over all kills.
        before: what this returned after the kill before.
        torn: lines of the JSON lines that may be cut off: one a kill.

    Returns:
        Records of each run in each sink, to be found again after the next kill.
    """
    assert found["integrity"] == "ok"
    # A line that was cut off stands alone: it was never accepted, and costs no other.
    assert found["torn"] <= torn
    counts = {}
    for kind in DURABLE:
        spans = sorted(
            (first, last, boot, count, run) for run, boot, first, last, count, _ in found[kind]
        )
        for *_, count, different in found[kind]:
            assert count == different, f"{kind}: a number came twice in one run"
        for first, last, _, count, run in spans:
            assert last - first + 1 == count, f"{kind}: run {run} has gaps from {first} to {last}"
            counts[f"{kind} {run}"] = count
        for (_, last, *_), (first, *_) in pairwise(spans):
            assert last < first, f"{kind}: the number {first} came twice"
        for told in accepted:
            number, last = told["sinks"][kind]
            there = [
                span for span in spans if span[2] == told["boot"] and span[0] <= last <= span[1]
            ]
            assert there, f"{kind}: {told} is not on the disk, which has {spans}"
            # Without gaps, and from the first of the run: all that were accepted before it, too.
            assert last - there[0][0] + 1 >= number, f"{kind}: {told}, but {spans}"
    for run, count in before.items():
        assert counts.get(run, 0) >= count, f"{run} had {count} records, now {counts.get(run)}"
    return counts
