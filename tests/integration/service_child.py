"""A service on a fake pipeline, as a process of its own, for signals to be sent to.

``python -m service_child FOLDER [step|close] [GRACE]``: what hangs, and how long it may.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from fake_service import Clock, FakeParts

from edge_fer.errors import ConfigError
from edge_fer.notify import Notify
from edge_fer.pacing import Pacing
from edge_fer.service import Ended, Service
from edge_fer.signals import Signals
from edge_fer.state import State
from edge_fer.status import Status


class SlowParts(FakeParts):
    """Takes real time for each frame."""

    def __init__(self, hangs: str) -> None:
        super().__init__(Clock(), iter(lambda: 1, 0))
        self.hangs = hangs

    def step(self) -> Any:
        if self.hangs == "step" and self.steps:
            hang()
        time.sleep(0.004)
        return super().step()

    def close(self) -> None:
        if self.hangs == "close":
            hang()
        time.sleep(0.02)
        super().close()


def hang() -> None:
    say("hangs")
    time.sleep(1000)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    folder, hangs = Path(sys.argv[1]), "".join(sys.argv[2:3])
    grace_s = float(sys.argv[3]) if len(sys.argv) > 3 else 5.0
    reloads = records = 0

    def reload(parts: Any) -> Any:
        nonlocal reloads
        reloads += 1
        time.sleep(0.01)
        if reloads % 2:
            raise ConfigError("Every other reload fails.", "Do it again.")
        parts.close()
        return SlowParts(hangs)

    def record(parts: Any, seen: Any) -> None:
        nonlocal records
        records += 1

    with Signals(grace_s=grace_s) as signals:
        notify, state = Notify.from_environment(), State(folder / "state.json", every_s=0.05)
        service = Service(
            SlowParts(hangs),
            signals=signals,
            notify=notify,
            status=Status(folder / "status.json", every_s=0.05),
            state=state,
            pacing=Pacing(max_fps=150),
            reload=reload,
            on_observation=record,
            next_seq=lambda: state.first_seq + records,
        )
        say(str(state.first_seq))
        ended: Ended = service.run()
        service.parts.close()  # type: ignore[attr-defined]
        notify.close()
    say(f"{ended.by} {ended.frames} {reloads}")
    return ended.error.exit_code if ended.error else 0


if __name__ == "__main__":
    sys.exit(main())
