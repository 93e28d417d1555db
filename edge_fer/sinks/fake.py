"""A sink that writes nothing: keeps what it was given."""

from __future__ import annotations

from edge_fer.errors import EdgeFerError
from edge_fer.types import Observation

__all__ = ["FakeSink"]


class FakeSink:
    """For tests, and for programs that want the observations themselves.

    Attributes:
        observations: everything emitted so far, oldest first.
        closed: whether ``close`` was called.
    """

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.closed = False

    def emit(self, observation: Observation) -> None:
        """Keep one observation."""
        if self.closed:
            raise EdgeFerError("The fake sink was closed.")
        self.observations.append(observation)

    def close(self) -> None:
        """``emit`` fails from now on."""
        self.closed = True
