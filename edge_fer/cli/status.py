"""``edge-fer status``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Json, emit_json

if TYPE_CHECKING:
    from edge_fer.status import Report

__all__ = ["status"]


def status(
    file: Annotated[
        Path | None, typer.Option(help="The service's status file; found by itself where usual.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The TOML file whose status_file is looked for.")
    ] = None,
    json: Json = False,
) -> None:
    """What the running service last said of itself; exit code 4 when none runs.

    It is looked for in $RUNTIME_DIRECTORY, in /run/edge-fer and where the setting status_file says.

    Example: edge-fer status
    """
    from edge_fer.config import load_settings
    from edge_fer.errors import DeviceError
    from edge_fer.status import find_status, read_status

    setting = "" if file else str(getattr(load_settings(config), "status_file", "") or "")
    report = read_status(find_status(file, setting))
    document = {**report.document, "age_s": report.age_s, "service_runs": report.running}
    if json and report.running:
        emit_json(document)
    elif not json:
        _show(report)
    if not report.running:
        raise DeviceError(report.why, report.remedy, document=document)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        # As text: a source or an error may hold what rich takes for markup.
        table.add_row(name, Text(value))
    Console(highlight=False).print(table)


def _rows(report: Report) -> Iterable[tuple[str, str]]:
    said = report.document
    age = "before the last boot" if report.age_s is None else f"{report.age_s:.0f} s ago"
    yield "state", f"{said.get('state')}{'' if report.running else ' (not running now)'}, {age}"
    yield "service", f"version {said.get('version')}, process {said.get('pid')}, {_since(said)}"
    yield "source", _words(said.get("source"))
    yield "camera", _words(said.get("camera"))
    yield "rate", _rate(said)
    total = _mapping(said.get("total"))
    yield (
        "counted",
        f"{said.get('frames')} frames, {said.get('faces')} faces; "
        f"{total.get('frames')} frames in {total.get('starts')} starts",
    )
    for key in ("model", "backend", "detector"):
        yield key, _words(said.get(key))
    yield "heat", _words(_mapping(said.get("thermal")).get("words"))
    yield "pace", _words(_mapping(_mapping(said.get("pacing")).get("governor")).get("words"))
    for sink in _list(said.get("sinks")):
        yield "sink", _words(sink)
    yield "clock", f"{said.get('wall_time')}, {_clock(said.get('clock_ok'))}"
    error = _mapping(said.get("last_error"))
    yield "last error", f"{error.get('wall_time')}: {error.get('message')}" if error else "none"


def _rate(said: Mapping[str, Any]) -> str:
    p50, p99 = said.get("latency_p50_ms"), said.get("latency_p99_ms")
    if p50 is None:
        return f"{said.get('fps')} frames/s"
    return f"{said.get('fps')} frames/s; {p50} ms a frame at p50, {p99} ms at p99"


def _clock(ok: Any) -> str:
    if ok is None:
        return "synchronised or not: unknown"
    return "synchronised" if ok is True else "NOT SET: wall times are wrong"


def _since(said: Mapping[str, Any]) -> str:
    up = said.get("uptime_s")
    seconds = int(up) if isinstance(up, int | float) else 0
    days, rest = divmod(seconds, 86_400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    return f"up {days} d {hours:02}:{minutes:02}:{seconds % 60:02}"


def _words(value: Any) -> str:
    """Any part of the document on one line: new fields show up by themselves."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, Mapping):
        said = {k: v for k, v in value.items() if v not in (None, "", [], {})}
        return ", ".join(f"{k} {v[:12] if k == 'sha256' else _words(v)}" for k, v in said.items())
    if isinstance(value, list):
        return " ".join(_words(v) for v in value)
    return str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
