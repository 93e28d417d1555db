"""What every command shares: talk on stderr, one JSON document on stdout, progress, flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = [
    "Backend",
    "Detector",
    "Ferplus",
    "Json",
    "Model",
    "Quiet",
    "Split",
    "Talk",
    "Threads",
    "Verbose",
    "emit_json",
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no talk; errors only.")]
Model = Annotated[str, typer.Option("--model", help="A shipped model's name, or a .tflite file.")]
Detector = Annotated[
    str,
    typer.Option(
        "--detector", help="face, haar, yunet or a model, with options: haar?cascade=alt2."
    ),
]
Backend = Annotated[str, typer.Option("--backend", help="auto, edgetpu, litert or tflite-runtime.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads of one inference.")]
Ferplus = Annotated[
    Path | None,
    typer.Option("--ferplus", help="FER+ votes (fer2013new.csv) for a FER2013 csv."),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Split to score. Default: PublicTest, test or val; with --detector everything.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is done.")]


def emit_json(document: Any) -> None:
    """Print one JSON document to stdout; numbers must be finite."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Talk to the person: everything here goes to stderr, or with ``out`` to stdout.

    Colour and progress bars appear only on a terminal; rich itself honours NO_COLOR and TERM=dumb.
    """

    quiet: bool = False
    verbose: bool = False

    def console(self) -> Console:
        """A console on stderr."""
        from rich.console import Console

        return Console(stderr=True, quiet=self.quiet, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line on stderr, unless ``--quiet``."""
        if not self.quiet:
            typer.echo(text, err=True)

    def detail(self, text: str) -> None:
        """A line on stderr with ``--verbose``."""
        if self.verbose:
            self.say(text)

    @contextmanager
    def progress(self, *, auto_refresh: bool = True) -> Iterator[Progress]:
        """A progress display on stderr; silent when stderr is no terminal or with ``--quiet``.

        Without ``auto_refresh`` it is drawn only when told, by no thread beside the work.
        """
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = self.console()
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=auto_refresh,
            disable=self.quiet or not console.is_terminal,
            transient=True,
        ) as bar:
            yield bar
