"""Smoothing: what it holds still, what it lets through, and what it forgets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.errors import ConfigError
from edge_fer.smoothing import Constants, Smoother, Transition, generator
from edge_fer.types import Expression, Reason

LABELS = ("neutral", "happiness", "surprise")
FRAME = 33_333_333
METHODS = pytest.mark.parametrize("method", ["ema", "hmm"])


def said(*p: float, least: float = 0.5) -> Expression:
    """What a classifier says."""
    values = np.array(p) / sum(p)
    sure = values.max() >= least
    return Expression(
        label=LABELS[int(values.argmax())] if sure else "unknown",
        probabilities=dict(zip(LABELS, values.tolist(), strict=True)),
        entropy=0.0,
        reason=None if sure else "low_confidence",
    )


def refused(reason: Reason = "blurred") -> Expression:
    """What a gate says; its probabilities are made up and must not count."""
    return Expression(
        label="unknown",
        probabilities=dict(zip(LABELS, (0.0, 0.0, 1.0), strict=True)),
        entropy=0.0,
        reason=reason,
    )


SMILE, PLAIN = said(0.05, 0.9, 0.05), said(0.9, 0.05, 0.05)


def shown(smoother: Smoother, *frames: Expression, start: int = 0) -> list[Expression]:
    return [smoother.update(1, each, (start + i) * FRAME) for i, each in enumerate(frames)]


def test_none_gives_everything_back() -> None:
    smoother = Smoother(LABELS, method="none", min_probability=0.5)
    assert smoother.update(1, SMILE, 0) is SMILE
    assert smoother.update(1, refused(), FRAME).reason == "blurred"
    assert len(smoother) == 0


@METHODS
def test_a_face_that_nobody_follows_comes_back_as_it_is(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    assert smoother.update(None, SMILE, 0) is SMILE
    assert len(smoother) == 0


@METHODS
def test_the_first_answer_stands_at_once(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    first = smoother.update(1, SMILE, 0)
    assert (first.label, first.reason) == ("happiness", None)
    assert first.probabilities == pytest.approx(SMILE.probabilities)
    assert list(first.probabilities) == list(LABELS)


@METHODS
def test_single_frames_of_another_opinion_do_not_show(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    frames = [PLAIN if i % 4 == 3 else said(0.15, 0.8, 0.05) for i in range(60)]
    assert {e.label for e in shown(smoother, *frames)} == {"happiness"}


@METHODS
@pytest.mark.parametrize("fps", [30, 15, 10])
def test_a_change_that_stays_is_shown_within_half_a_second(method: str, fps: int) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    step = 10**9 // fps
    for i in range(2 * fps):
        smoother.update(1, SMILE, i * step)
    labels = [smoother.update(1, PLAIN, (2 * fps + i) * step).label for i in range(fps)]
    assert labels[0] == "happiness"
    assert labels.index("neutral") <= fps / 2
    assert labels[-1] == "neutral"


@METHODS
def test_the_rate_of_the_frames_makes_no_difference(method: str) -> None:
    """A second of a new opinion weighs the same in 10 frames as in 40."""
    beliefs = []
    for fps in (10, 40):
        smoother = Smoother(LABELS, method=method)
        smoother.update(1, SMILE, 0)
        for i in range(1, fps + 1):
            last = smoother.update(1, said(0.6, 0.3, 0.1), i * 10**9 // fps)
        beliefs.append(list(last.probabilities.values()))
    assert beliefs[0] == pytest.approx(beliefs[1], abs=0.02)


@METHODS
def test_many_doubtful_frames_do_not_add_up_to_certainty(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    doubtful = said(0.4, 0.35, 0.25)
    last = shown(smoother, *[doubtful] * 300)[-1]
    assert last.probabilities == pytest.approx(doubtful.probabilities, abs=0.03)
    assert (last.label, last.reason) == ("unknown", "low_confidence")


@METHODS
def test_unknown_comes_and_goes_at_two_probabilities(method: str) -> None:
    constants = Constants(uncertain=0.1)
    smoother = Smoother(LABELS, method=method, min_probability=0.5, constants=constants)
    between = said(0.52, 0.28, 0.2)
    assert {e.label for e in shown(smoother, *[between] * 60)} == {"unknown"}
    assert shown(smoother, *[PLAIN] * 30, start=60)[-1].label == "neutral"
    assert shown(smoother, *[between] * 60, start=90)[-1].label == "neutral"
    assert shown(smoother, *[said(0.36, 0.34, 0.3)] * 60, start=150)[-1].label == "unknown"


@METHODS
def test_a_short_gap_keeps_the_label_and_a_long_one_loses_it(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    shown(smoother, *[SMILE] * 10)
    gap = shown(smoother, *[refused()] * 60, start=10)
    assert {(e.label, e.reason) for e in gap[:29]} == {("happiness", None)}
    assert gap[0].probabilities == pytest.approx(SMILE.probabilities, abs=0.05)
    assert {(e.label, e.reason) for e in gap[31:]} == {("unknown", "blurred")}
    assert gap[-1].probabilities == pytest.approx(dict.fromkeys(LABELS, 1 / 3))
    back = smoother.update(1, PLAIN, 70 * FRAME)
    assert (back.label, back.probabilities) == ("neutral", pytest.approx(PLAIN.probabilities))


@METHODS
def test_a_face_that_was_never_judged_has_the_gates_reason(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    frames = shown(smoother, refused("too_small"), refused("dark"))
    assert [(e.label, e.reason) for e in frames] == [("unknown", "too_small"), ("unknown", "dark")]
    assert smoother.update(1, SMILE, 2 * FRAME).label == "happiness"


@METHODS
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda p: sum(p) > 0.01),
            st.integers(0, 3 * 10**9),
            st.sampled_from([None, None, "dark", "off_axis"]),
        ),
        max_size=30,
    )
)
def test_whatever_comes_the_answer_is_whole(method: str, frames: list) -> None:
    rates = {"neutral": {"happiness": 0.5}, "happiness": {"neutral": 2.0, "surprise": 0.1}}
    transition = rates if method == "hmm" else None
    smoother = Smoother(LABELS, method=method, min_probability=0.5, transition=transition)
    now = 0
    for p, elapsed, reason in frames:
        now += elapsed
        seen = smoother.update(1, said(*p) if reason is None else refused(reason), now)
        values = list(seen.probabilities.values())
        assert list(seen.probabilities) == list(LABELS)
        assert sum(values) == pytest.approx(1)
        assert all(0 <= v <= 1 for v in values)
        assert 0 <= seen.entropy <= math.log(3) + 1e-9
        assert (seen.label == "unknown") == (seen.reason is not None)


def test_tracks_do_not_mix_and_one_can_be_forgotten() -> None:
    smoother = Smoother(LABELS, min_probability=0.5)
    for i in range(30):
        one = smoother.update(1, SMILE, i * FRAME)
        two = smoother.update(2, PLAIN, i * FRAME)
    assert (one.label, two.label) == ("happiness", "neutral")
    smoother.forget(1)
    smoother.forget(99)
    assert len(smoother) == 1
    assert smoother.update(1, PLAIN, 30 * FRAME).label == "neutral"


def test_who_is_not_seen_for_seconds_is_forgotten() -> None:
    smoother = Smoother(LABELS)
    for track in range(50):
        smoother.update(track, SMILE, track * FRAME)
    smoother.update(50, SMILE, 110 * 10**9)
    assert len(smoother) == 51
    smoother.update(50, SMILE, 125 * 10**9)
    assert len(smoother) == 1


@METHODS
def test_a_face_that_is_seen_rarely_is_not_forgotten_in_between(method: str) -> None:
    """At a frame in ten seconds, and with turns: the label stands though another is just ahead."""
    smoother = Smoother(LABELS, method=method, min_probability=0.3)
    smoother.update(1, SMILE, 0)
    assert smoother.update(1, said(0.47, 0.43, 0.1), 20 * 10**9).label == "happiness"


def test_where_there_are_too_many_those_go_that_were_not_seen_for_longest() -> None:
    smoother = Smoother(LABELS, min_probability=0.3)
    for track in range(3000):
        smoother.update(0, SMILE, track)
        smoother.update(track, SMILE, track)
    assert smoother.update(0, said(0.47, 0.43, 0.1), 3000).label == "happiness"


def test_memory_is_bounded_also_while_the_clock_stands() -> None:
    smoother = Smoother(LABELS)
    for track in range(5000):
        smoother.update(track, SMILE, 0)
    assert len(smoother) <= 1024


def test_matrices_are_not_kept_without_bound() -> None:
    smoother = Smoother(LABELS, method="hmm", transition={"neutral": {"happiness": 1.0}})
    now = 0
    for i in range(2000):
        now += i * 2_000_000 % 4_000_000_000
        smoother.update(1, SMILE, now)
    assert len(smoother._matrices) <= 512


@METHODS
def test_a_clock_that_goes_back_starts_a_face_anew(method: str) -> None:
    smoother = Smoother(LABELS, method=method, min_probability=0.5)
    shown(smoother, *[SMILE] * 30, start=1000)
    assert smoother.update(1, PLAIN, 0).label == "neutral"


def test_a_transition_holds_back_what_does_not_happen() -> None:
    """Smiles that never turn into surprise need more to become one than the default does."""
    rates = {"happiness": {"neutral": 1.0}, "neutral": {"happiness": 1.0}}
    frames = [SMILE] * 30 + [said(0.1, 0.3, 0.6)] * 8
    bound = shown(Smoother(LABELS, transition=rates), *frames)[-1]
    free = shown(Smoother(LABELS), *frames)[-1]
    assert bound.probabilities["surprise"] < free.probabilities["surprise"]


DOUBTFUL, SURE = said(0.1, 0.3, 0.6), said(0.05, 0.05, 0.9)


def frames_until_surprise(
    transition: Transition | None, surprise: Expression = DOUBTFUL, *, fps: int = 30
) -> int:
    """After a smile."""
    smoother = Smoother(LABELS, min_probability=0.5, transition=transition)
    step = 10**9 // fps
    for i in range(fps):
        smoother.update(1, SMILE, i * step)
    for i in range(10 * fps):
        label = smoother.update(1, surprise, (fps + i) * step).label
        if label == "surprise":
            return i + 1
        assert label in ("happiness", "unknown")
    raise AssertionError("It never came.")


def test_a_change_that_is_named_quick_shows_quickly() -> None:
    quick = {"happiness": {"surprise": 10.0}}
    assert frames_until_surprise(quick) <= frames_until_surprise(None) / 5
    assert frames_until_surprise(quick, SURE) <= frames_until_surprise(None, SURE) / 3


@pytest.mark.parametrize("surprise", [DOUBTFUL, SURE])
@pytest.mark.parametrize("fps", [30, 10])
def test_a_change_that_is_left_out_shows_late_and_a_rare_one_in_between(
    surprise: Expression, fps: int
) -> None:
    usual = frames_until_surprise(None, surprise, fps=fps)
    rare = frames_until_surprise({"happiness": {"surprise": 0.001}}, surprise, fps=fps)
    never = frames_until_surprise({"happiness": {"neutral": 0.1}}, surprise, fps=fps)
    assert usual < rare < never
    assert never >= 3 * usual
    # It is a prior and no law: a network that insists is believed in the end.
    assert fps < never <= 5 * fps


def test_a_short_look_of_a_change_that_is_left_out_is_never_shown() -> None:
    frames = [*[SMILE] * 30, *[SURE] * 15, *[SMILE] * 15] * 4
    rates = {"happiness": {"neutral": 0.1}}
    bound = Smoother(LABELS, min_probability=0.5, transition=rates)
    free = Smoother(LABELS, min_probability=0.5)
    assert "surprise" not in {e.label for e in shown(bound, *frames)}
    assert "surprise" in {e.label for e in shown(free, *frames)}


def test_the_way_that_a_transition_leaves_open_is_as_quick_as_ever() -> None:
    rates = {"happiness": {"neutral": 0.1}}
    frames = [*[SMILE] * 30, *[PLAIN] * 30, *[SURE] * 30]
    bound = [e.label for e in shown(Smoother(LABELS, transition=rates), *frames)]
    free = [e.label for e in shown(Smoother(LABELS), *frames)]
    for label in ("neutral", "surprise"):
        assert abs(bound.index(label) - free.index(label)) <= 1


def test_labels_that_a_transition_does_not_name_change_as_by_default() -> None:
    bound = Smoother(LABELS, transition={"neutral": {"happiness": 10.0}})
    free = Smoother(LABELS)
    surprised = np.array([0.0, 0.0, 1.0])
    assert bound._moved(surprised, 0.1)[2] == pytest.approx(free._moved(surprised, 0.1)[2], 1e-3)
    rates = generator(LABELS, {"neutral": {"happiness": 10.0}}, 0.3)
    assert rates.tolist() == [
        pytest.approx([-10, 10, 0]),
        pytest.approx([0.1, -0.2, 0.1]),
        pytest.approx([0.1, 0.1, -0.2]),
    ]


def test_a_transition_without_entries_is_none() -> None:
    assert frames_until_surprise({}) == frames_until_surprise(None)


def test_a_generator_has_rows_of_nothing_and_its_exponential_rows_of_one() -> None:
    rates = generator(LABELS, {"neutral": {"happiness": 0.5, "surprise": 0.1}})
    assert rates.sum(axis=1) == pytest.approx(np.zeros(3))
    assert rates[0].tolist() == pytest.approx([-0.6, 0.5, 0.1])
    still = Constants(change_rate=0.0)
    smoother = Smoother(LABELS, transition={"neutral": {"happiness": 1.0}}, constants=still)
    # One way only: after a second e^-1 of it is left.
    moved = smoother._moved(np.array([1.0, 0.0, 0.0]), 1.0)
    assert moved == pytest.approx([math.exp(-1), 1 - math.exp(-1), 0])
    both = {"neutral": {"happiness": 100.0, "surprise": 100.0}}
    fast = Smoother(LABELS, transition=both, constants=still)
    assert fast._moved(np.array([1.0, 0.0, 0.0]), 5.0) == pytest.approx([0, 0.5, 0.5])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "kalman"}, "kalman"),
        ({"min_probability": 1.5}, "min_probability"),
        ({"min_probability": float("nan")}, "min_probability"),
        ({"method": "ema", "transition": {}}, "hmm"),
        ({"transition": {"joy": {"neutral": 1}}}, "joy"),
        ({"transition": {"neutral": {"joy": 1}}}, "joy"),
        ({"transition": {"neutral": {"neutral": 1}}}, "neutral"),
        ({"transition": {"neutral": {"happines": 1}}}, "Did you mean happiness"),
        ({"transition": {"hapiness": {}}}, "Did you mean happiness"),
        ({"transition": {"neutral": 0.1}}, "from 'neutral' is 0.1"),
        ({"transition": {"neutral": {"happiness": "often"}}}, "'often'"),
        ({"transition": {"neutral": {"happiness": True}}}, "True"),
        ({"transition": {"neutral": {"happiness": 101}}}, "101"),
        ({"transition": {"neutral": {"happiness": -1}}}, "-1"),
        ({"transition": {"neutral": {"happiness": float("inf")}}}, "inf"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Smoother(LABELS, **arguments)
    assert caught.value.remedy
