"""Measure this project and its peers in one go, on the same frames and rows.

Example: python benchmarks/peers/compare.py --data fer2013.npz --video clip.mp4 \
    --peer ferplus_model_pd_best.tflite
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_fer.cli.console import Ferplus, Quiet, Split, Talk, Verbose
from edge_fer.errors import ConfigError, EdgeFerError, Interrupted

__all__ = ["compare", "main"]

_TYPER_INTERRUPTED = 130  # Typer catches Ctrl-C itself and returns the shell's code for it


def compare(
    data: Annotated[Path | None, typer.Option(help="FER2013 csv or npz.")] = None,
    ferplus: Ferplus = None,
    split: Split = None,
    peer: Annotated[
        Path | None, typer.Option(help="model/ferplus_model_pd_best.tflite of vicksam/fer-model.")
    ] = None,
    yunet: Annotated[
        Path | None,
        typer.Option(help="OpenCV's YuNet. Default: that of edge-fer models pull yunet."),
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Clip with one face, for whole frames.")
    ] = None,
    venvs: Annotated[
        Path | None,
        typer.Option(help="Folder of the environments. Default: the repository's root."),
    ] = None,
    make_venvs: Annotated[
        bool,
        typer.Option("--make-venvs", help="Make all of them afresh from PyPI (3 GB) first."),
    ] = False,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Score only so many rows, for a trial.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Faces: turns that each model gets.")] = 30,
    calls: Annotated[int, typer.Option(min=1, help="Faces: pictures per turn.")] = 30,
    frame_rounds: Annotated[
        int, typer.Option(min=1, help="Frames: how often each gets the clip.")
    ] = 7,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="File for everything that was measured.")
    ] = None,
    markdown_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--markdown",
            help="File for the tables, between its markers if it has them; can be given again.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--from", help="Print an earlier --json again instead of measuring."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure this project and its peers in one go, on the same frames and rows.

    A peer that is not there is left out, said aloud and named below the table.

    Example: python benchmarks/peers/compare.py --data fer2013.npz --video clip.mp4
    """
    from edge_fer.files import write_text
    from peers.tables import filled_in, places, render
    from peers.venvs import ROOT, VENVS, make

    talk = Talk(quiet=quiet, verbose=verbose)
    for path in markdown_out or ():
        _check_markdown(path)
    if make_venvs:
        for venv in VENVS:
            make(venv, venvs or ROOT, on_step=talk.say)
        if data is None and results is None:
            return
    if (data is None) == (results is None):
        raise ConfigError(
            "There is nothing to measure on: give either --data or --from.",
            "For example: python benchmarks/peers/compare.py --data fer2013.npz",
        )
    if results is not None:
        document = _read(results)
    else:
        from peers.comparison import Request
        from peers.comparison import compare as measure

        request = Request(
            data=data or Path(),
            ferplus=ferplus,
            split=split,
            peer=peer,
            yunet=yunet,
            clip=video,
            venvs=venvs or ROOT,
            sample=rows,
            rounds=rounds,
            calls=calls,
            frame_rounds=frame_rounds,
        )
        with talk.progress() as bar:
            task = bar.add_task("opening", total=None)

            def on_progress(what: str, done: int, total: int) -> None:
                if done == 0:
                    talk.detail(what)
                bar.update(task, description=what, completed=done, total=total or None)

            document = measure(
                request,
                on_progress=on_progress,
                on_skip=lambda one: talk.say(f"left out: {one.name}: {one.reason}"),
            )
    if json_out is not None:
        write_text(json_out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    for path in markdown_out or ():
        text = path.read_text(encoding="utf-8") if path.is_file() else places()
        write_text(path, filled_in(text, document))
    if not quiet:
        from rich.console import Console

        render(document, Console(highlight=False))


def _read(path: Path) -> dict[str, object]:
    from peers.comparison import SCHEMA

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path} cannot be read ({err}).", "Name a file of --json.") from err
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no result of this script.", "Name a file of --json.")
    return document


def _check_markdown(path: Path) -> None:
    """Before minutes of measuring: a file without a place for a table is left alone."""
    from peers.tables import check_places

    if path.is_file():
        try:
            check_places(path.read_text(encoding="utf-8"))
        except EdgeFerError as err:
            raise ConfigError(f"{path}: {err.message}", err.remedy) from err


def main(arguments: list[str] | None = None) -> int:
    """Run it; gives the exit code of ``edge-fer``'s table."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(compare)
    try:
        result = app(args=arguments, prog_name="compare.py", standalone_mode=False)
    except KeyboardInterrupt:
        result = _TYPER_INTERRUPTED
    except EdgeFerError as err:
        return _fail(err)
    except Exception as err:
        if not hasattr(err, "format_message"):  # not the command-line parser's
            raise
        return _fail(ConfigError(err.format_message(), "See: compare.py --help"))
    if result == _TYPER_INTERRUPTED:
        return _fail(Interrupted("Stopped; nothing was written."))
    return result if isinstance(result, int) else 0


def _fail(err: EdgeFerError) -> int:
    typer.echo(f"compare.py: {err}", err=True)
    return err.exit_code


if __name__ == "__main__":
    # A script's own folder becomes the folder of this package, wherever edge-fer is installed.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
