"""The journal: in memory and with a cap, because cards wear and disks fill (journald.conf(5))."""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import Plan

__all__ = ["files"]

_TEXT = """\
# Cards wear: nothing of the journal is written to one, and it is gone after a restart.
[Journal]
Storage=volatile
RuntimeMaxUse=16M
RuntimeMaxFileSize=4M
ForwardToSyslog=no
"""


def files(plan: Plan) -> tuple[CardFile, ...]:  # noqa: ARG001 (every card has the same)
    """The configuration of journald."""
    return (root_file("/etc/systemd/journald.conf.d/60-edge-fer.conf", _TEXT),)
