"""A preferred backend that may fail, and one that does not: fall back, and return.

Meant for an Edge TPU that is unplugged, overheats or is reset, with the plain int8 model on the
CPU behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from edge_fer.backends.base import Array, Backend, TensorSpec
from edge_fer.backends.probe import Probe
from edge_fer.errors import DeviceError, EdgeFerError, ModelError

__all__ = ["FallbackBackend"]

Answered = tuple[Array, tuple[Array, ...]]
_CANDIDATES, _BLOTCHES = 10, 6
_RECENT = 4


class FallbackBackend:
    """Runs on the preferred backend; answers from the other one whenever that fails.

    ``run`` does not wait for the preferred one to come back. That is tried on a thread, after
    pauses that double while it fails, or while it is lost again soon after. Before it is trusted it
    must answer as the other one did: at first on made-up inputs, later on the last real ones too.
    One that hangs in the middle of a run hangs this one with it: a watchdog's matter.

    Args:
        preferred: opens the preferred backend; raises an EdgeFerError when it cannot.
        fallback: the same model on the CPU; owned and closed by this one.
        probe: whether the preferred one can be opened, tried without risk to this process; called
            before each opening.
        on_change: told once, in words, of each fall and return.
        why: begin on the fallback, for this reason, and try the preferred one later.
        required: that the preferred one cannot be opened, or answers wrongly, is an error at first;
            False: begin on the fallback then.
        first_pause: seconds before the first try to return.
        longest_pause: seconds to which the pauses grow.
        steady: seconds on the preferred backend after which the pause is ``first_pause`` again.
        max_steps: how far an integer output may be from the fallback's: an Edge TPU rounds
            otherwise than a CPU (by how much is not measured).
        clock: seconds that only grow.
        wait: waits so many seconds, or until the event is set, and says whether it is.

    Raises:
        EdgeFerError: it is required, and cannot be opened or answers wrongly.
    """

    def __init__(
        self,
        preferred: Callable[[], Backend],
        fallback: Backend,
        *,
        probe: Callable[[], Probe] = lambda: Probe(ok=True),
        on_change: Callable[[str], None] = lambda text: None,
        why: str = "",
        required: bool = True,
        first_pause: float = 2.0,
        longest_pause: float = 300.0,
        steady: float = 60.0,
        max_steps: int = 8,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = lambda event, s: event.wait(s),
    ) -> None:
        self._open, self._probe, self._on_change = preferred, probe, on_change
        self._fallback = fallback
        self._first, self._longest, self._steady = first_pause, longest_pause, steady
        self._max_steps = max_steps
        self._clock, self._wait = clock, wait
        self._pause, self._falls, self._returns = first_pause, 0, 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: deque[Answered] = deque(maxlen=_RECENT)
        self._preferred: Backend | None = None
        self._arrived: Backend | None = None
        self._why, self._since = why, clock()
        self._closed = False
        try:
            # Now, while nobody else uses the fallback: later it is busy on another thread.
            self._expected = _made_up(fallback)
            if not why:
                self._begin(required)
        except EdgeFerError:
            fallback.close()
            raise
        if self._preferred is None:
            self._retry(None)

    @property
    def name(self) -> str:
        """Of the one that runs now."""
        preferred = self._preferred
        if preferred is not None:
            return preferred.name
        return f"{self._fallback.name} (fallback: {self._why})"

    @property
    def input(self) -> TensorSpec:
        return self._fallback.input

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(self._fallback.outputs)

    def run(self, array: Array) -> tuple[Array, ...]:
        if self._closed:
            raise ModelError("The backend is closed.")
        if self._arrived is not None:
            self._take_over()
        if self._preferred is not None:
            try:
                return self._preferred.run(array)
            except DeviceError as err:
                self._fall(err)
        answer = self._fallback.run(array)
        # Real pictures are the better questions to ask of one that comes back.
        self._recent.append((array.copy(), answer))
        return answer

    def status(self) -> dict[str, Any]:
        """What runs, for how long and why: ready for JSON.

        ``state`` is ``preferred`` or ``fallback``, ``since`` seconds in that state, ``why`` the
        last failure (empty if there was none), ``falls`` and ``returns`` counts.
        """
        return {
            "name": self.name,
            "state": "fallback" if self._preferred is None else "preferred",
            "why": self._why,
            "since": round(self._clock() - self._since, 3),
            "falls": self._falls,
            "returns": self._returns,
        }

    def close(self) -> None:
        self._stop.set()
        with self._lock:
            self._closed = True
            backends = (self._preferred, self._arrived, self._fallback)
            self._preferred = self._arrived = None
        for backend in backends:
            if backend is not None:
                backend.close()
        if self._thread is not None:
            # A probe may still be running; what it finds is closed there.
            self._thread.join(timeout=1.0)

    def _begin(self, required: bool) -> None:
        try:
            self._preferred = self._opened()
        except EdgeFerError as err:
            if required:
                raise
            self._why = err.message
            self._on_change(f"{err.message} Beginning with {self._fallback.name}.")

    def _take_over(self) -> None:
        with self._lock:
            self._preferred, self._arrived = self._arrived, None
        self._returns += 1
        self._since = self._clock()
        self._on_change(f"Back on {self.name}.")

    def _fall(self, err: DeviceError) -> None:
        lost, self._preferred = self._preferred, None
        now = self._clock()
        steady = now - self._since >= self._steady
        self._pause = self._first if steady or not self._returns else self._longer()
        self._falls += 1
        self._why, self._since = err.message, now
        self._on_change(f"{err.message} Going on with {self._fallback.name}.")
        self._retry(lost)

    def _longer(self) -> float:
        return min(self._longest, 2 * self._pause)

    def _retry(self, lost: Backend | None) -> None:
        self._thread = threading.Thread(
            target=self._regain, args=(lost,), name="edge-fer-backend", daemon=True
        )
        self._thread.start()

    def _regain(self, lost: Backend | None) -> None:
        if lost is not None:
            lost.close()  # here: letting go of a device that is gone may take its time
            lost = None
        while not self._wait(self._stop, self._pause):
            backend = self._tried()
            if backend is None:
                self._pause = self._longer()
                continue
            with self._lock:
                if not self._closed:
                    self._arrived = backend
                    return
            backend.close()
            return

    def _tried(self) -> Backend | None:
        found = self._probe()
        if not found.ok:
            self._why = found.reason
            return None
        try:
            return self._opened()
        except EdgeFerError as err:
            self._why = err.message
            return None

    def _opened(self) -> Backend:
        """The preferred backend, once it has answered rightly."""
        backend = self._open()
        try:
            self._check(backend)
        except EdgeFerError:
            backend.close()
            raise
        return backend

    def _check(self, backend: Backend) -> None:
        if _form(backend) != _form(self._fallback):
            raise ModelError(
                f"The model on {backend.name} is another than on {self._fallback.name}.",
                "Compile it again from the plain one: edge-fer convert --target coral",
            )
        for given, expected in (*self._expected, *tuple(self._recent)):
            off = _distance(backend.run(given), expected)
            if not off <= self._max_steps:
                raise DeviceError(
                    f"{backend.name} answers wrongly: off by {off:g} steps "
                    f"from {self._fallback.name}.",
                    "See: edge-fer models verify MODEL",
                )


def _form(backend: Backend) -> list[tuple[Any, ...]]:
    """What a model takes and gives; names differ between a plain and a compiled file."""
    return [(t.shape, t.dtype, t.quantisation) for t in (backend.input, *backend.outputs)]


def _made_up(backend: Backend) -> list[Answered]:
    """Two inputs whose outputs differ most, of a few black, white and blotchy pictures.

    A classifier that was taught doubt says the same of any noise: by that, a backend that answers
    always alike could not be told from a right one.
    """
    spec, random = backend.input, np.random.default_rng(0)
    real = spec.dtype.kind == "f"
    low, high = (0, 1) if real else (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)
    tried: list[Answered] = []
    for n in range(_CANDIDATES):
        blotches = np.asarray(random.random([min(side, _BLOTCHES) for side in spec.shape]))
        for axis, side in enumerate(spec.shape):
            blotches = np.repeat(blotches, -(-side // blotches.shape[axis]), axis)
            blotches = blotches.take(range(side), axis)
        picture = low + (high - low) * (blotches if n > 1 else np.full(spec.shape, float(n)))
        array = picture.astype(spec.dtype)
        tried.append((array, backend.run(array)))
    return [*max(combinations(tried, 2), key=lambda two: _distance(two[0][1], two[1][1]))]


def _distance(one: tuple[Array, ...], other: tuple[Array, ...]) -> float:
    """The largest difference between two answers."""
    return max(
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
        for a, b in zip(one, other, strict=True)
    )
