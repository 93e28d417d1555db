"""The report as one self-contained HTML page, and the files that ``--report`` writes."""

from __future__ import annotations

import base64
import json
import tempfile
from importlib.resources import files
from pathlib import Path, PurePath

import cv2
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from edge_fer.annotate import annotate
from edge_fer.errors import DeviceError
from edge_fer.files import write_bytes
from edge_fer.types import Image
from edge_fer_bench.drawing.section import points, shown
from edge_fer_bench.report import charts
from edge_fer_bench.report.confusion import confusion_pair
from edge_fer_bench.report.report import BenchmarkReport
from edge_fer_bench.report.spreadsheet import figures_csv, frames_csv
from edge_fer_bench.report.verdict import NOT_MEASURED, judge, p_value, recorded_words
from edge_fer_bench.timing.protocol import P99_FRAMES

__all__ = ["page", "prepare_folder", "write_report"]


def prepare_folder(folder: Path, flag: str = "--report") -> None:
    """Make the folder and see that it can be written to, before anything is measured.

    Args:
        folder: to be written to.
        flag: what named it, for the error.

    Raises:
        DeviceError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise DeviceError(
            f"Reports cannot be written to {folder} ({err.strerror}).",
            f"Name a folder that you may write to with {flag}.",
        ) from err


def write_report(folder: Path, report: BenchmarkReport, *, picture: bool) -> list[Path]:
    """Write report.html, report.csv, frames.csv, report.json, each atomically; maybe a picture.

    Args:
        folder: as :func:`prepare_folder` left it.
        report: what was measured.
        picture: whether a frame of the source may be stored, in the page and as annotated.png.

    Returns:
        What was written; report.json is last, so that whoever waits for it finds the others.

    Raises:
        DeviceError: the disk is full or the folder has gone.
    """
    drawn = _drawn(report) if picture else None
    # All of it is made before the first is written: the files of a folder are of one run.
    contents = {} if drawn is None else {"annotated.png": cv2.imencode(".png", drawn)[1].tobytes()}
    for name, text in (
        ("report.html", page(report, drawn)),
        ("report.csv", figures_csv(report)),
        ("frames.csv", frames_csv(report.run)),
        ("report.json", json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n"),
    ):
        contents[name] = text.encode()
    for name, data in contents.items():
        write_bytes(folder / name, data)
    return [folder / name for name in contents]


def page(report: BenchmarkReport, picture: Image | None = None) -> str:
    """The HTML text, verdict first; needs no network, no script and no font.

    Args:
        report: what was measured.
        picture: an annotated frame, ``uint8[H, W, 3]`` BGR, or None.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "points": points,
        "p_value": p_value,
        "share": _share,
        "basename": _basename,
    }
    template = files("edge_fer_bench.report") / "templates" / "report.html.j2"
    accuracy, run = report.accuracy, report.run
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        headline=judge(report),
        not_measured=NOT_MEASURED,
        recorded=[recorded_words(metric) for metric in report.recorded],
        stages=charts.stage_bars(report.latency.stages),
        histogram=charts.histogram(run.samples.total_ms, report.latency.total),
        time_line=charts.time_line(run.samples.at_s, run.samples.total_ms, report.latency.total),
        drops=charts.class_drops(
            accuracy.drop.per_class, accuracy.classes_over, accuracy.max_class_drop
        )
        if accuracy
        else None,
        shown=shown,
        p99_frames=P99_FRAMES,
        confusion=confusion_pair(*accuracy.matrices, accuracy.faces.labels) if accuracy else None,
        idle=[stage for stage, times in report.latency.stages.items() if times.n == 0],
        picture=None if picture is None else _data_uri(picture),
    )


def _drawn(report: BenchmarkReport) -> Image | None:
    if report.run.best is None:
        return None
    frame, observation = report.run.best
    return annotate(frame, [(seen.face, seen.expression) for seen in observation.faces])


def _data_uri(picture: Image) -> Markup:
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    return Markup("data:image/jpeg;base64," + base64.b64encode(coded).decode())  # noqa: S704


def _share(value: float | None, digits: int = 2) -> str:
    return "\u2013" if value is None else f"{100 * value:.{digits}f} %"


def _basename(path: str) -> str:
    return PurePath(path).name
