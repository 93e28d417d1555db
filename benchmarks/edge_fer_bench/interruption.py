"""Ctrl-C where it may come, and not where it would lose what was measured."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, Self

__all__ = ["Interruption"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# timeout(1) and process groups deliver one wish twice; a person needs longer for the second.
_SAME_WISH_S = 0.5


class Interruption:
    """Within the block, SIGINT and SIGTERM raise ``KeyboardInterrupt`` in :meth:`allowed` only.

    Elsewhere they are remembered, for :attr:`asked` and for the next :meth:`allowed`; a second one
    raises all the same, because somebody means it. Outside of the main thread, which alone gets
    signals, it does nothing.

    Args:
        clock: monotonic seconds.

    Attributes:
        asked: whether a signal came.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.asked = False
        self._clock, self._at_s = clock, 0.0
        self._allowed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._came) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Here it ends things at once; also when it came before.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        try:
            self._allowed = True
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._allowed = False

    def _came(self, _number: int, _frame: FrameType | None) -> None:
        again = self.asked and self._clock() - self._at_s > _SAME_WISH_S
        if not self.asked:
            self.asked, self._at_s = True, self._clock()
        if self._allowed or again:
            raise KeyboardInterrupt
