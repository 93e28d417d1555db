"""Settings to a running service: pipeline, status, state and pacing, built, reloaded and closed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from edge_fer.assemble import Surroundings, budget_state, build, is_live, next_seq, rebuild
from edge_fer.config import Settings
from edge_fer.machine import Thermometer
from edge_fer.notify import Notify
from edge_fer.pacing import ActivityGate, Pacing, ThermalGovernor
from edge_fer.pipeline import Pipeline
from edge_fer.service import Ended, Parts, Service, Waiter
from edge_fer.state import State
from edge_fer.state import default_path as state_path
from edge_fer.status import Status
from edge_fer.status import default_path as status_path
from edge_fer.types import Observation

__all__ = ["serve"]


def serve(
    settings: Settings,
    *,
    signals: Waiter,
    reread: Callable[[], Settings],
    on_observation: Callable[[Pipeline, Observation], None] = lambda pipeline, seen: None,
    say: Callable[[str], None] = lambda text: None,
    on_begin: Callable[[Pipeline], None] = lambda pipeline: None,
) -> Ended:
    """Run until the source ends, a signal asks for the end, or a part fails; then close everything.

    Args:
        settings: of everything.
        signals: inside its block this is called, so that the closing is bounded, too.
        reread: gives the settings anew, for a reload; it may raise.
        on_observation: told of each, with the pipeline that made it.
        say: told what a person should know, a line at a time.
        on_begin: told when all is built and the first frame is to be taken.

    Raises:
        EdgeFerError: a part cannot be opened, or a sink has not accepted everything at the end.
    """
    with ExitStack() as stack:
        notify = Notify.from_environment()
        stack.callback(notify.close)
        thermometer = Thermometer()
        stack.callback(thermometer.close)
        state = State(state_path(settings.state_file))
        status = Status(status_path(settings.status_file), thermal=thermometer.look)
        status.watched = bool(settings.sinks)
        around = Surroundings(
            say=say,
            service=lambda: status.last,
            first_seq=state.first_seq,
            budget=state.budget,
            also_written=lambda: state.bytes_written,
            # After a power cut a service may be up before its network camera is.
            wait_for_camera=notify.listening,
        )
        # A cell: what runs at the end, and has to be closed, may be another one.
        using = [build(settings, around)]
        # Without sinks, the day goes on when there are some again.
        state.keep_budget = lambda: budget_state(using[0]) or state.budget

        def close() -> None:
            using[0].close()

        stack.callback(close)
        given = [settings]

        def reload(_: Parts) -> Parts:
            after = reread()
            for name in ("status_file", "state_file"):
                if getattr(after, name) != getattr(given[0], name):
                    say(f"Another {name} is used from the next start on.")
            using[0] = rebuild(using[0], given[0], after, around)
            given[0], service.pacing = after, _pacing(after, using[0], thermometer)
            say("The settings were read again.")
            return using[0]

        def prove() -> None:
            using[0].classifier.check_golden()

        service = Service(
            using[0],
            signals=signals,
            notify=notify,
            status=status,
            state=state,
            pacing=_pacing(settings, using[0], thermometer),
            reload=reload,
            prove=prove,
            on_observation=lambda _, seen: on_observation(using[0], seen),
            on_problem=say,
            next_seq=lambda: next_seq(using[0]),
        )
        on_begin(using[0])
        return service.run()


def _pacing(settings: Settings, pipeline: Pipeline, thermometer: Thermometer) -> Pacing:
    return Pacing(
        max_fps=settings.max_fps,
        gate=ActivityGate(idle_fps=settings.idle_fps, idle_after_s=settings.idle_after),
        governor=ThermalGovernor(look=thermometer.look, max_celsius=settings.max_temperature),
        live=is_live(pipeline.camera),
    )
