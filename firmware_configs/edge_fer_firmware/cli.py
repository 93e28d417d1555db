"""``edge-fer provision``: render, check, wheels."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Json, Quiet, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer_firmware.findings import Finding, State

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SettingsFile = Annotated[Path, typer.Argument(help="TOML; start from examples/kiosk.toml.")]
BoardName = Annotated[
    str | None,
    typer.Option("--board", help="zero2w, pi3, pi4, pi5 or pi5-coral-pcie; else the settings'."),
]
SystemName = Annotated[
    str | None, typer.Option("--system", help="trixie or bookworm; else the settings'.")
]
# One word and one colour for each state.
_SHOWN: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("problem", "bold red"),
    "skipped": ("skipped", "dim"),
}


@app.callback()
def provision() -> None:
    """Files for a card that boots into edge-fer: render, check, wheels."""
    from importlib.util import find_spec

    from edge_fer.errors import MissingExtra

    if not all(map(find_spec, ("packaging", "yaml"))):
        raise MissingExtra(
            "Making cards needs two packages more.", "pip install 'edge-fer[provision]'"
        )


@app.command("render")
def render_card(
    settings: SettingsFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new folder to write to.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="The boot partition of a flashed card, mounted here: write into it."),
    ] = None,
    board: BoardName = None,
    system: SystemName = None,
    wheels: Annotated[
        Path | None,
        typer.Option(help="A folder of `provision wheels`: the card then needs no network."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="The system's .img or .img.xz, for Raspberry Pi Imager's manifest."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what somebody else has put there.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make the files of a card from one settings file, for one board and system.

    Nothing is written until all of it is known to be right, and a failure leaves the target as it
    was.

    Example: edge-fer provision render examples/kiosk.toml -o out

    Example: edge-fer provision render kiosk.toml --wheels wheels --into /media/me/bootfs
    """
    from edge_fer.errors import ConfigError
    from edge_fer_firmware.boot.writing import write_folder, write_into
    from edge_fer_firmware.loading import keys_of, load
    from edge_fer_firmware.planning import make_plan
    from edge_fer_firmware.rendering import render

    talk = Talk(quiet=quiet, verbose=verbose)
    targets = [(write_folder, output), (write_into, into)]
    chosen = [(write, target) for write, target in targets if target is not None]
    if len(chosen) != 1:
        raise ConfigError(
            "Say where to: -o FOLDER for a new folder, or --into BOOTFS for a card.",
            f"edge-fer provision render {settings} -o out",
        )
    loaded = load(settings, {"board": board, "system": system})
    plan = make_plan(loaded, wheels)
    for text in plan.warnings:
        talk.say(f"Warning: {text}")
    write, target = chosen[0]
    unconfirmed = [*plan.board.unconfirmed, *plan.system.unconfirmed]
    with talk.console().status("writing"):
        try:
            card = render(plan, image)
        except ConfigError as err:
            if image is not None and str(image) in err.message:
                raise
            raise loaded.file.placed(err, keys_of(err.message, loaded.settings.run)) from err
        written = write(card, target, force=force)
    if json:
        emit_json(
            {
                "schema": "edge-fer/provision-render/1",
                "board": plan.board.name,
                "system": plan.system.name,
                "status": plan.board.status,
                "target": str(target),
                "files": [str(path) for path in written],
                "unconfirmed": unconfirmed,
                "warnings": list(plan.warnings),
            }
        )
        return
    for path in written:
        talk.detail(str(path))
    typer.echo(f"{plan.board.title}, {plan.system.title}: {len(written)} files in {target}")
    if plan.board.status == "community":
        talk.say(f"{plan.board.title} is a community row: nobody of ours has verified it.")
    for text in unconfirmed:
        talk.say(f"Unconfirmed: {text}")
    talk.say(f"Next: edge-fer provision check {target}")


@app.command("check")
def check_card(
    folder: Annotated[
        Path, typer.Argument(help="What render wrote: a folder, or a card's bootfs.")
    ],
    validators: Annotated[
        bool,
        typer.Option(
            "--validators/--no-validators",
            help="Ask cloud-init, systemd-analyze, udevadm and fsck too, where they are installed.",
        ),
    ] = True,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what is wrong with a card before it is flashed: each finding with file and line.

    Exit code 0, also with warnings; 2 when something is a problem.

    Example: edge-fer provision check out
    """
    from edge_fer.errors import ConfigError
    from edge_fer_firmware.checking import check
    from edge_fer_firmware.checking.validators import Validators

    talk = Talk(quiet=quiet, verbose=verbose)
    with talk.console().status("checking"):
        found = check(folder, validators=Validators() if validators else None)
    problems = [finding for finding in found if finding.state == "problem"]
    document = {
        "schema": "edge-fer/provision-check/1",
        "folder": str(folder),
        "problems": len(problems),
        "findings": [_as_json(finding) for finding in found],
    }
    if not json:
        _show(found, unfolded=verbose)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(
            f"{folder}: {count}.", problems[0].remedy, document=document if json else None
        )
    if json:
        emit_json(document)


@app.command("wheels")
def get_wheels(
    settings: Annotated[
        Path | None, typer.Argument(help="The card's settings; else give --system.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder that is to hold them.")
    ] = Path("wheels"),
    system: SystemName = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Download what a card needs to install edge-fer with no network, for its Python.

    This asks the package index that pip is set to, on this machine, now.

    Example: edge-fer provision wheels examples/kiosk.toml -o wheels

    Example: edge-fer provision wheels --system bookworm -o wheels-bookworm
    """
    from rich.markup import escape

    from edge_fer.errors import ConfigError
    from edge_fer_firmware import facts
    from edge_fer_firmware.loading import load
    from edge_fer_firmware.planning import extras, uses_picamera
    from edge_fer_firmware.wheels import download

    talk = Talk(quiet=quiet, verbose=verbose)
    wanted: tuple[str, ...] = ("mqtt",)
    name, picamera = system, True
    if settings is not None:
        loaded = load(settings, {"system": system})
        name, wanted = loaded.settings.system, extras(loaded.settings)
        picamera = uses_picamera(loaded.settings)
    if name is None:
        raise ConfigError(
            "Say for which system: a settings file, or --system.",
            "edge-fer provision wheels --system trixie -o wheels",
        )
    console = talk.console()
    with console.status("asking the index") as line:

        def show(text: str) -> None:
            line.update(escape(text))
            if verbose:
                console.print(escape(text))

        got = download(
            facts.system(name), extras=wanted, folder=output, picamera=picamera, on_line=show
        )
    size = sum(path.stat().st_size for path in got)
    if json:
        emit_json(
            {
                "schema": "edge-fer/provision-wheels/1",
                "system": name,
                "folder": str(output),
                "bytes": size,
                "wheels": [path.name for path in got],
            }
        )
        return
    typer.echo(f"{output}: {len(got)} wheels for {facts.system(name).title}, {size / 1e6:.0f} MB")
    talk.say(f"Next: edge-fer provision render {settings or 'SETTINGS'} --wheels {output} -o out")


def _as_json(finding: Finding) -> dict[str, Any]:
    from dataclasses import asdict

    document = asdict(finding)
    del document["keys"]  # file and line say it
    return document


def _show(found: list[Finding], *, unfolded: bool) -> None:
    """A line for each finding, one for all that are well in the same way; what mends it below."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    width = max((len(finding.check) for finding in found), default=0)
    for _, alike in groupby(found, key=_alone if unfolded else _way):
        findings = list(alike)
        check, state, message = findings[0].check, findings[0].state, findings[0].message
        word, colour = _SHOWN[state]
        line = Text.assemble((f"{word:<8}", colour), f"{check:<{width}}  ")
        if len(findings) > 1:
            line.append(f"{len(findings)} files: ")
        elif findings[0].place:
            line.append(f"{findings[0].place}: ")
        line.append(message)
        console.print(line)
        if findings[0].remedy:
            console.print(Text(f"{'':<{width + 10}}{findings[0].remedy}", style="dim"))


def _alone(finding: Finding) -> int:
    return id(finding)


def _way(finding: Finding) -> tuple[str, str, str, str]:
    """What findings share that are shown as one: only what is well."""
    apart = "" if finding.state == "ok" else finding.place
    return finding.check, finding.state, finding.message, apart
