"""The hardware's watchdog: when systemd itself hangs, the board starts anew.

The service has a watchdog of its own, systemd; this one is for what stands below
(systemd-system.conf(5)). The device needs ``dtparam=watchdog=on`` in config.txt.
"""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import Plan

__all__ = ["files"]

_TEXT = """\
# The board's counter holds 15 seconds at most (linux, drivers/watchdog/bcm2835_wdt.c); kernels from
# 6.8 on stretch a longer time themselves. Nobody has tried it on each board.
[Manager]
RuntimeWatchdogSec=15
RebootWatchdogSec=2min
"""


def files(plan: Plan) -> tuple[CardFile, ...]:  # noqa: ARG001 (every card has the same)
    """The configuration of systemd."""
    return (root_file("/etc/systemd/system.conf.d/60-edge-fer-watchdog.conf", _TEXT),)
