"""What the user asked for, and who is told what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge_fer_convert.climbing.budget import Budget

__all__ = ["Listener", "Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for; the fields are the command's options."""

    model: Path
    output: Path
    data: Path
    ferplus: Path | None = None
    labels: str | None = None
    split: str | None = None
    input_range: tuple[float, float] | None = None
    target: str = "pi"
    recipe: str | None = None
    calibration: int = 512
    sweep: bool = False
    scenes: Path | None = None
    detector: str = "face"
    formats: tuple[str, ...] = ()
    require_full_mapping: bool = False
    budget: Budget = field(default_factory=Budget)
    against: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told what happens.

    Attributes:
        progress: called with what is done, how much of it, and of how much (0: nobody knows).
        warn: a sentence that the user should read.
        log: a line of somebody else's output.
    """

    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    warn: Callable[[str], None] = lambda sentence: None
    log: Callable[[str], None] = lambda line: None

    def counter(self, what: str, total: int) -> Callable[[int], None]:
        """Progress of one step, as a function of how much is done."""
        return lambda done: self.progress(what, done, total)
