"""``edge-fer doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edge_fer.cli.console import Json, Quiet, Talk, emit_json

if TYPE_CHECKING:
    from rich.console import Console

    from edge_fer.config import Settings
    from edge_fer.doctor.aim import View
    from edge_fer.doctor.findings import Finding, Findings, State
    from edge_fer.doctor.machine import Machine

__all__ = ["doctor"]

_FRAMES = 30
# One word and one colour for each state; "-" is not about this machine.
_SHOWN: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("problem", "bold red"),
    "not_applicable": ("-", "dim"),
}


def doctor(
    camera: Annotated[
        bool,
        typer.Option(
            "--camera", help="Look through the camera as well: which way is up, are faces good?"
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            help="With --camera: /dev/video0, picamera2:0, rtsp://..., a video. Default: the "
            "configured source if it is a camera, else the first camera there is."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what this machine can do, what is missing, and the exact line that mends it.

    Exit code 0, also with warnings; 4 when something does not work. --camera takes 30 pictures,
    looks for faces in them the four ways they can be turned, and stores nothing.

    Example: edge-fer doctor --json

    Example: edge-fer doctor --camera --source /dev/video0
    """
    from edge_fer.doctor import examine
    from edge_fer.doctor.findings import as_json, problems
    from edge_fer.doctor.machine import Machine
    from edge_fer.errors import ConfigError, DeviceError

    if source is not None and not camera:
        raise ConfigError("--source is of no use without --camera.", "Add --camera.")
    talk, machine = Talk(quiet=quiet), Machine()
    with talk.console().status("looking around") as line:
        findings, settings = examine(machine, lambda group: line.update(f"looking at {group}"))
    view = None
    if camera:
        view, found = _through_the_camera(machine, settings, source, talk)
        findings["picture"] = found
    bad = problems(findings)
    document = as_json(findings, None if view is None else view.to_json())
    if not json:
        _show(findings, view, quiet)
    if bad:
        names = ", ".join(finding.name for finding in bad)
        raise DeviceError(
            f"{len(bad)} {'problem' if len(bad) == 1 else 'problems'}: {names}.",
            "Mend them by the lines above." if not json else "See remedy in each of them.",
            document=document,
        )
    if json:
        emit_json(document)


def _through_the_camera(
    machine: Machine, settings: Settings | None, source: str | None, talk: Talk
) -> tuple[View | None, list[Finding]]:
    """What the camera shows; one that cannot be used is a finding as any other."""
    from contextlib import closing

    from edge_fer.assemble import open_camera, open_detector
    from edge_fer.doctor.aim import aim
    from edge_fer.doctor.findings import problem
    from edge_fer.errors import EdgeFerError
    from edge_fer.models import load

    address = source or _usual_source(machine, settings)
    if address is None:
        remedy = "Plug one in, or name it: edge-fer doctor --camera --source /dev/video0"
        return None, [problem("camera", "There is no camera.", remedy)]
    model, finder = ("expression", "face")
    if settings is not None:
        model, finder = settings.model, settings.detector
    try:
        contract = load(model).contract
        with (
            closing(open_detector(finder)) as detector,
            closing(open_camera(address)) as opened,
            talk.progress() as bar,
        ):
            task = bar.add_task("looking for faces, four ways", total=4 * _FRAMES)
            view = aim(
                opened,
                detector,
                contract,
                source=address,
                min_side=settings.min_face if settings else 24.0,
                frames=_FRAMES,
                on_step=lambda: bar.advance(task),
            )
    except EdgeFerError as err:
        return None, [problem("camera", err.message, err.remedy or "See: edge-fer run --help")]
    return view, view.findings()


def _usual_source(machine: Machine, settings: Settings | None) -> str | None:
    """The configured one where it is a camera, else the first that is plugged in."""
    from edge_fer.doctor.cameras import first_source

    if settings is not None and settings.source.startswith(_CAMERAS):
        return settings.source
    return first_source(machine)


_CAMERAS = ("/dev/", "usb:", "picamera2", "rtsp://", "rtsps://", "http://", "https://")


def _show(findings: Findings, view: View | None, quiet: bool) -> None:
    """A table on a terminal, else one line for each finding and one for its remedy."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        _table(console, findings, quiet)
    else:
        for group, found in findings.items():
            for f in found:
                if quiet and f.state in ("ok", "not_applicable"):
                    continue
                typer.echo(f"{_SHOWN[f.state][0]:<8} {group}: {f.name}: {f.message}")
                if f.remedy:
                    typer.echo(f"{'':<8} -> {f.remedy}")
    if view is not None and not quiet:
        for look in view.looks:
            seen = (
                f"{look.size:.0f} px, brightness {look.brightness:.0f}, "
                f"sharpness {look.sharpness:.2f}"
                if look.frames
                else "no face"
            )
            typer.echo(f"turned by {look.rotate:>3}: {look.frames:>2} of {view.frames}  {seen}")
    if view is not None and view.advised is not None:
        typer.echo(f"source: {view.advised}")


def _table(console: Console, findings: Findings, quiet: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), show_header=False)
    for style in ("bold", "", "", ""):
        table.add_column(style=style, overflow="fold")
    for group, found in findings.items():
        title = group
        for f in found:
            if quiet and f.state in ("ok", "not_applicable"):
                continue
            word, style = _SHOWN[f.state]
            what = Text(f.message, style="dim" if f.state == "not_applicable" else "")
            if f.remedy:
                what.append(f"\n{f.remedy}", style="cyan")
            table.add_row(title, Text(word, style=style), f.name, what)
            title = ""
    console.print(table)
