"""How fast memory is: a buffer copied that no cache holds.

Bytes are counted as STREAM counts its copy, read and written, and the best of all copies stands
(McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers", IEEE TCCA
Newsletter, 1995): memory is shared with whatever else runs, and a roof is what it gives at best.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from edge_fer_bench.machine.sysfs import text
from edge_fer_bench.roofline.turns import in_turns

__all__ = ["buffer_bytes", "copy_rate"]

_MIB = 1 << 20
_LEAST, _MOST = 16 * _MIB, 128 * _MIB


def buffer_bytes(root: Path = Path("/")) -> int:
    """Twice the last-level cache, so that source and copy together are four times as large.

    At least 16 MiB where the kernel does not tell the cache, at most 128 MiB, and no more than an
    eighth of the memory that is free.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    caches = (root / "sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [re.fullmatch(r"(\d+)([KM])", text(cache) or "") for cache in caches]
    units = {"K": 1 << 10, "M": _MIB}
    largest = max((int(size[1]) * units[size[2]] for size in sizes if size), default=0)
    wanted = min(max(2 * largest, _LEAST), _MOST)
    free = re.search(r"^MemAvailable:\s+(\d+) kB", text(root / "proc/meminfo") or "", re.M)
    return min(wanted, int(free[1]) * 1024 // 8) if free else wanted


def copy_rate(
    *,
    threads: int,
    size: int,
    seconds: float = 0.4,
    clock: Callable[[], int] = perf_counter_ns,
) -> float:
    """Bytes per nanosecond, which is GB/s, of the best plain copy.

    Args:
        threads: each copies its part.
        size: of the buffer, bytes.
        seconds: for all of it.
        clock: nanoseconds, monotonic.

    Raises:
        MemoryError: there is not as much memory.
    """
    # Ones, not zeros: those would be one page of the kernel's that is read again and again.
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    halves = (np.array_split(target, threads), np.array_split(source, threads))
    parts = list(zip(*halves, strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            for copied in [pool.submit(np.copyto, to, of) for to, of in parts]:
                copied.result()

        (timed,) = in_turns([copy], seconds=seconds, clock=clock)
    return 2 * size / max(1.0, timed.min_ns)
