"""The command line: ``edge-fer COMMAND``. One file per command; ``main`` is the one exit.

Commands of the other packages join through the entry-point group ``edge_fer.commands``. Command
modules import only light things at the top, so that ``--help`` stays fast.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from edge_fer import __version__
from edge_fer.cli.console import emit_json
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, Interrupted

__all__ = ["build_app", "main"]

# Typer catches Ctrl-C itself and returns the shell's code for it.
_TYPER_INTERRUPTED = 130
# Long enough to be out of a destructor, too short to be noticed.
_AGAIN_S = 0.02


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
    from edge_fer.cli.doctor import doctor
    from edge_fer.cli.evaluate import evaluate
    from edge_fer.cli.models import app as models
    from edge_fer.cli.predict import predict
    from edge_fer.cli.run import run
    from edge_fer.cli.status import status

    app = typer.Typer(
        name="edge-fer",
        callback=_root,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    own = {
        "predict": predict,
        "run": run,
        "status": status,
        "doctor": doctor,
        "evaluate": evaluate,
    }
    joined = {p.name: p.load() for p in entry_points(group="edge_fer.commands")}
    for name, command in sorted({**joined, **own, "models": models}.items()):
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with the code that its error names."""
    words = sys.argv[1:] if arguments is None else arguments
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process)
    # A SIGTERM tidies up as Ctrl-C does; `run`, which is meant to be ended so, has its own handler,
    # from the moment at which it begins.
    terminated: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> None:
        terminated.append(number)
        signal.default_int_handler(number, frame)

    serves = words[:1] == ["run"]
    try:
        signal.signal(signal.SIGTERM, terminate)
        sys.unraisablehook = _unraisable
        if serves:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        code = _exit_code(words)
        _flush()
    except KeyboardInterrupt:  # in the few lines around what is guarded within
        code = _fail(Interrupted("Stopped."), words)
    # Nothing is left to stop; a late signal must not make another code of this one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if serves and terminated:
        code = 0
    # CPython notes a KeyboardInterrupt that left code run from a string, as dataclasses do, and
    # `python -m` ends by SIGINT for it even if it was caught (run_eval_code_obj in pythonrun.c);
    # each such run starts with a clean note.
    exec("")  # noqa: S102 (a constant)
    sys.exit(code)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # Nobody reads stdout, or its disk is full: said already, not to be said at exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    """A Ctrl-C that came while Python ran a destructor or callback is lost there: say it again."""
    if found.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(found)
        return
    # From a thread, because within this hook it would be lost, too; as a real signal, because that
    # alone ends a wait.
    main_thread = threading.main_thread().ident or 0
    again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main_thread, signal.SIGINT))
    again.daemon = True
    again.start()


def _exit_code(words: list[str]) -> int:  # noqa: PLR0911
    try:
        result = build_app()(args=words, prog_name="edge-fer", standalone_mode=False)
    except EdgeFerError as err:
        return _fail(err, words)
    except KeyboardInterrupt:
        return _fail(Interrupted("Stopped."), words)
    except SystemExit:
        # Typer's answer to a closed pipe: whoever read our output has gone; nobody is to be told.
        return 0
    except OSError as err:
        named = f"{err.filename}: " if err.filename else ""
        return _fail(
            DeviceError(
                f"{named}{err.strerror or err}.",
                "Check that it exists, that you may use it, and df -h.",
            ),
            words,
        )
    except Exception as err:
        return _fail(_foreign(err, words), words)
    if result == _TYPER_INTERRUPTED:
        return _fail(Interrupted("Stopped."), words)
    return result if isinstance(result, int) else 0


def _foreign(err: Exception, words: list[str]) -> EdgeFerError:
    """The command-line parser's errors (their class differs between releases), and our faults."""
    if hasattr(err, "format_message"):
        command = next((w for w in words if not w.startswith("-")), "")
        known = command and "No such command" not in err.format_message()
        line = f"edge-fer {command} --help" if known else "edge-fer --help"
        return ConfigError(err.format_message(), f"See: {line}")
    if "-v" in words or "--verbose" in words:
        traceback.print_exception(err)
    return EdgeFerError(
        f"edge-fer failed where it should not: {type(err).__name__}: {err}.",
        "Please report this, with what it prints when you add -v.",
    )


def _fail(err: EdgeFerError, words: list[str]) -> int:
    if "--json" in words:
        error = {
            "code": err.code,
            "exit_code": err.exit_code,
            "message": err.message,
            "remedy": err.remedy,
        }
        with suppress(OSError):  # stdout may be what failed
            emit_json(err.document or {"schema": "edge-fer/error/1", "error": error})
    typer.echo(f"edge-fer: {err}", err=True)
    return err.exit_code
