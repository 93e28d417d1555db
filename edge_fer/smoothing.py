"""Answers of a followed face joined over time: probabilities and a label that hold still.

Two filters, both in seconds and not in frames, so that a slow camera is smoothed as a fast one is.

* ``ema``: the exponentially weighted mean of the probabilities.
* ``hmm``: the forward algorithm of a hidden Markov model whose states are the labels (Rabiner, "A
  tutorial on hidden Markov models", Proceedings of the IEEE 77(2), 1989, equations 19 and 20), in
  continuous time: between two frames the state moves by ``exp(Q dt)``. What a network says becomes
  a likelihood when it is divided by the prior (Bourlard and Morgan, "Connectionist Speech
  Recognition", 1994, chapter 7). Frames of a still face say nearly the same thing again and again;
  multiplied as if they were independent, they made the filter sure of what the network doubts. So
  the old belief fades to the prior as fast as new evidence comes, both by powers that add up to 1
  (the power steady model of J. Q. Smith, Journal of the Royal Statistical Society B 41(3), 1979).
  The prior cancels out, and a face that does not change is believed to be what one frame says.

On top of either, hysteresis: the label shown stays until another is ahead of it by a margin, and it
becomes ``unknown``, or ceases to be, at two different probabilities. Where a transition makes a
change rarer than it is by default, the label waits until the other has been ahead by so much more
and for so long: the sequential test of A. Wald ("Sequential analysis", 1947) on the log odds,
summed in units of ``memory_s``, with the log of how much rarer as its bound.

``benchmarks/flicker.py`` prints the figures behind the constants and the default: both filters are
as still and as accurate, ``hmm`` shows a change a little sooner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ConfigError
from edge_fer.types import UNKNOWN, Expression, Reason
from edge_fer.uri import suggestion

__all__ = ["Constants", "Method", "Smoother", "Transition", "generator"]

Method = Literal["none", "ema", "hmm"]
Transition = Mapping[str, Mapping[str, float]]
"""Changes per second, from a label to others; from it, what is not named does not happen."""
Floats = NDArray[np.float64]

_FLOOR = 1e-4  # no frame rules a label out: networks are wrong with confidence
_BIN_S = 0.002  # times between frames are rounded to it, so that few matrices are made
_MOST_MATRICES = 512
_SWEEP_NS = 1_000_000_000
_MOST_TRACKS = 1024
_MOST_CHANGES = 100.0
_NEVER = 1e-6  # changes per second of what a transition leaves out: networks name the wrong label
_RATES = 'Give changes per second, 0 to 100, to other labels: {"neutral": {"happiness": 0.1}}.'


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Times and margins, chosen by ``benchmarks/flicker.py``.

    Attributes:
        memory_s: time constant in which older frames fade, seconds.
        change_rate: of ``hmm``, from labels without a transition of their own: so often a second
            the expression is drawn anew, each label as likely.
        margin: by which another label's probability must exceed that of the label shown.
        uncertain: a label is shown from ``min_probability`` plus this on, and given up below
            ``min_probability`` minus this.
        hold_s: how long a label stands without evidence.
        forget_s: how long a track is remembered without being seen; longer than the turns of the
            slowest pipeline, because it is only there to bound the memory.
    """

    memory_s: float = 0.2
    change_rate: float = 0.2
    margin: float = 0.1
    uncertain: float = 0.08
    hold_s: float = 1.0
    forget_s: float = 120.0


@dataclass(slots=True, kw_only=True)
class _State:
    """What is believed of one track.

    ``evidence_ns`` is the time of the last answer, if any; ``known`` the last label that was not
    unknown; ``lead`` what speaks for ``rival`` in its place, nats.
    """

    belief: Floats
    t_ns: int
    evidence_ns: int | None = None
    label: str = UNKNOWN
    known: str = UNKNOWN
    rival: int = -1
    lead: float = 0.0


class Smoother:
    """Smooths the expressions of faces that a tracker follows; one of them for all tracks.

    Answers with another reason than ``low_confidence`` were never classified: they are no evidence.
    Label and probabilities then stand for a second; after that the face is ``unknown`` with that
    reason, and every label as likely.

    Args:
        labels: of the model, in its order.
        method: ``none`` gives every expression back as it is.
        min_probability: of the model's contract: about there, a label becomes ``unknown``.
        transition: of ``hmm``: changes per second, for example ``{"neutral": {"happiness": 0.1}}``:
            from neutral to nothing but happiness, once in ten seconds. Labels that it does not
            name first change as by default, which is ``Constants.change_rate``. A change that
            is not in it is shown seconds later than others, and a doubtful one latest;
            meanwhile the face keeps its label, or is ``unknown`` where too little speaks for it.
        constants: times and margins.

    Raises:
        ConfigError: no such method, a transition that does not go with it or with the labels, or a
            probability that is none.
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        method: Method = "hmm",
        min_probability: float = 0.0,
        transition: Transition | None = None,
        constants: Constants | None = None,
    ) -> None:
        if method not in get_args(Method):
            raise ConfigError(f"There is no smoothing {method!r}.", "Use none, ema or hmm.")
        if not 0 <= min_probability <= 1:
            raise ConfigError(f"min_probability is {min_probability}, not 0 to 1.", "Try 0.5.")
        if transition is not None and method != "hmm":
            raise ConfigError(f"The smoothing {method!r} has no transition.", "Use hmm.")
        self.labels, self.method = tuple(labels), method
        self.constants = constants or Constants()
        self._nothing = np.full(len(self.labels), 1 / len(self.labels))
        rate = self.constants.change_rate
        self._rates = None if not transition else generator(self.labels, transition, rate)
        self._bounds = None if self._rates is None else self._rarity(self._rates)
        uncertain = self.constants.uncertain if min_probability else 0.0
        self._enter = min(min_probability + uncertain, 1.0)
        self._leave = max(min_probability - uncertain, 0.0)
        self._hold_ns = int(self.constants.hold_s * 1e9)
        self._tracks: dict[int, _State] = {}
        self._matrices: dict[int, Floats] = {}
        self._swept = 0

    def __len__(self) -> int:
        """How many tracks are remembered."""
        return len(self._tracks)

    def update(self, track: int | None, expression: Expression, t_ns: int) -> Expression:
        """Take what the classifier, or the gate, says of a face in one frame.

        Args:
            track: which face; None, nobody follows it: its expression comes back as it is.
            expression: of this frame.
            t_ns: when the frame was taken, monotonic; a clock that goes back starts a face anew.

        Returns:
            The smoothed one: its probabilities, the label shown, and why it is ``unknown``.
        """
        if track is None or self.method == "none":
            return expression
        self._sweep(t_ns)
        state = self._tracks.pop(track, None)
        if state is None or t_ns < state.t_ns:
            state = _State(belief=self._nothing, t_ns=t_ns)
        self._tracks[track] = state  # the one seen last stands last
        state.t_ns = t_ns
        if expression.reason in (None, "low_confidence"):
            self._choose(state, self._believe(state, expression))
            return self._shown(state, "low_confidence")
        if state.evidence_ns is not None and t_ns - state.evidence_ns > self._hold_ns:
            state.label, state.belief, state.evidence_ns = UNKNOWN, self._nothing, None
            state.known = UNKNOWN
        return self._shown(state, expression.reason)

    def forget(self, track: int) -> None:
        """Of this track nothing is remembered any more."""
        self._tracks.pop(track, None)

    def _believe(self, state: _State, expression: Expression) -> float:
        """One more frame of evidence; the seconds since the last one."""
        elapsed = 0.0
        p = np.array([expression.probabilities[label] for label in self.labels], np.float64)
        if state.evidence_ns is None:
            state.belief = p
        else:
            elapsed = (state.t_ns - state.evidence_ns) / 1e9
            fresh = 1 - math.exp(-elapsed / self.constants.memory_s)
            if self.method == "ema":
                state.belief = state.belief + fresh * (p - state.belief)
            else:
                expected = np.log(np.maximum(self._moved(state.belief, elapsed), _FLOOR))
                said = np.log(np.maximum(p, _FLOOR))
                belief = np.exp(expected + fresh * (said - expected))
                state.belief = np.asarray(belief / belief.sum())
        state.evidence_ns = state.t_ns
        return elapsed

    def _moved(self, belief: Floats, elapsed: float) -> Floats:
        """Where a belief goes in some seconds by itself."""
        if self._rates is None:
            stay = math.exp(-self.constants.change_rate * elapsed)
            return stay * belief + (1 - stay) * self._nothing
        number = round(elapsed / _BIN_S)
        matrix = self._matrices.get(number)
        if matrix is None:
            if len(self._matrices) >= _MOST_MATRICES:
                self._matrices.clear()
            matrix = self._matrices[number] = _exponential(self._rates * (number * _BIN_S))
        return np.asarray(belief @ matrix)

    def _choose(self, state: _State, elapsed: float) -> None:
        """The label, by hysteresis."""
        belief = state.belief
        winner = int(belief.argmax())
        best = float(belief[winner])
        may = self._may_follow(state, winner, elapsed)
        if state.label == UNKNOWN:
            if best >= self._enter and may:
                state.label = state.known = self.labels[winner]
            return
        held = float(belief[self.labels.index(state.label)])
        if best > held + self.constants.margin and best >= self._leave and may:
            state.label = state.known = self.labels[winner]
        elif held < self._leave:
            state.label = UNKNOWN

    def _may_follow(self, state: _State, winner: int, elapsed: float) -> bool:
        """Whether enough speaks for a label after the one that was known last."""
        if self._bounds is None or state.known == UNKNOWN:
            return True
        known = self.labels.index(state.known)
        if winner != state.rival:
            state.rival, state.lead = winner, 0.0
        odds = state.belief[winner] / max(float(state.belief[known]), _FLOOR)
        state.lead += elapsed / self.constants.memory_s * math.log(odds)
        return bool(state.lead >= self._bounds[known, winner])

    def _rarity(self, rates: Floats) -> Floats:
        """Log of how much rarer each change is than by default; 0 where it is not."""
        usual = max(self.constants.change_rate / len(self.labels), _NEVER)
        bounds = np.log(usual / np.clip(rates, _NEVER, usual))
        np.fill_diagonal(bounds, 0.0)
        return np.asarray(bounds)

    def _shown(self, state: _State, reason: Reason) -> Expression:
        belief = state.belief
        return Expression(
            label=state.label,
            probabilities=dict(zip(self.labels, belief.tolist(), strict=True)),
            entropy=float(-(belief * np.log(np.maximum(belief, 1e-12))).sum()),
            reason=reason if state.label == UNKNOWN else None,
        )

    def _sweep(self, t_ns: int) -> None:
        """Forget who has not been seen for long: once a second, and where there are too many."""
        if 0 <= t_ns - self._swept < _SWEEP_NS and len(self._tracks) < _MOST_TRACKS:
            return
        self._swept = t_ns
        oldest = t_ns - int(self.constants.forget_s * 1e9)
        # A time in the future is that of a clock that has jumped.
        self._tracks = {k: s for k, s in self._tracks.items() if oldest <= s.t_ns <= t_ns}
        while len(self._tracks) >= _MOST_TRACKS:
            del self._tracks[next(iter(self._tracks))]


def generator(labels: Sequence[str], transition: Transition, change_rate: float = 0.0) -> Floats:
    """The matrix of a continuous-time chain, ``float64[C, C]``: rows add up to 0.

    Args:
        labels: the states, in their order.
        transition: changes per second, by label, to others.
        change_rate: of labels that ``transition`` does not name first: so often a second they are
            drawn anew, each of all as likely.

    Raises:
        ConfigError: a label that the model has not, a change to itself, or a rate that is none.
    """
    places = {label: i for i, label in enumerate(labels)}
    rates = np.full((len(labels), len(labels)), change_rate / len(labels))
    for before, targets in transition.items():
        _known(before, labels)
        if not isinstance(targets, Mapping):
            raise ConfigError(f"The transition from {before!r} is {targets!r}.", _RATES)
        rates[places[before]] = 0.0
        for after, rate in targets.items():
            _known(after, labels)
            if before == after:
                raise ConfigError(f"The transition has a change from {before!r} to itself.", _RATES)
            number = isinstance(rate, int | float) and not isinstance(rate, bool)
            if not (number and math.isfinite(rate) and 0 <= rate <= _MOST_CHANGES):
                raise ConfigError(
                    f"The transition from {before!r} to {after!r} is {rate!r}.", _RATES
                )
            rates[places[before], places[after]] = rate
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    return rates


def _known(label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        raise ConfigError(
            f"The transition names {label!r}, which the model has not.", suggestion(label, labels)
        )


def _exponential(matrix: Floats) -> Floats:
    """``exp(matrix)`` of a generator, by scaling and squaring a Taylor series; rows add up to 1.

    Moler and Van Loan, "Nineteen dubious ways to compute the exponential of a matrix", SIAM Review
    20(4), 1978, methods 1 and 3.
    """
    size = float(np.abs(matrix).sum(axis=1).max())
    halvings = max(0, math.ceil(math.log2(size)) + 1) if size > 0 else 0
    small = matrix / 2**halvings
    result = term = np.eye(len(matrix))
    for n in range(1, 16):
        term = term @ small / n
        result = result + term
    for _ in range(halvings):
        result = result @ result
    return np.asarray(result / result.sum(axis=1, keepdims=True))
