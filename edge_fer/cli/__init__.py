"""The command line: ``edge-fer COMMAND``. One file per command; ``main`` is the one exit.

Commands of the other packages join through the entry-point group ``edge_fer.commands``. Command
modules import only light things at the top, so that ``--help`` stays fast.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from edge_fer import __version__
from edge_fer.cli.console import emit_json
from edge_fer.errors import ConfigError, EdgeFerError, Interrupted

__all__ = ["build_app", "main"]

# Typer catches Ctrl-C itself and returns the shell's code for it.
_TYPER_INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-fer {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Facial-expression recognition on a Raspberry Pi or Coral, in int8, with its numbers."""


def build_app() -> typer.Typer:
    """The whole application, with the commands of every installed package."""
    from edge_fer.cli.evaluate import evaluate
    from edge_fer.cli.models import app as models
    from edge_fer.cli.predict import predict
    from edge_fer.cli.run import run

    app = typer.Typer(
        name="edge-fer",
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    own = {"predict": predict, "run": run, "evaluate": evaluate}
    joined = {p.name: p.load() for p in entry_points(group="edge_fer.commands")}
    for name, command in sorted({**joined, **own}.items()):
        app.command(name)(command)
    app.add_typer(models, name="models")
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with the code that its error names."""
    words = sys.argv[1:] if arguments is None else arguments
    sys.exit(_exit_code(words))


def _exit_code(words: list[str]) -> int:
    try:
        result = build_app()(args=words, prog_name="edge-fer", standalone_mode=False)
        if result == _TYPER_INTERRUPTED:
            return _fail(Interrupted("Stopped."), words)
        return result if isinstance(result, int) else 0
    except EdgeFerError as err:
        return _fail(err, words)
    except KeyboardInterrupt:
        return _fail(Interrupted("Stopped."), words)
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as err:
        # The command-line parser's own errors: their class differs between releases.
        if not hasattr(err, "format_message"):
            raise
        command = next((w for w in words if not w.startswith("-")), "")
        help_line = " ".join(filter(None, ["edge-fer", command, "--help"]))
        return _fail(ConfigError(err.format_message(), f"See: {help_line}"), words)


def _fail(err: EdgeFerError, words: list[str]) -> int:
    if "--json" in words:
        error = {
            "code": err.code,
            "exit_code": err.exit_code,
            "message": err.message,
            "remedy": err.remedy,
        }
        emit_json(err.document or {"schema": "edge-fer/error/1", "error": error})
    typer.echo(f"edge-fer: {err}", err=True)
    return err.exit_code
