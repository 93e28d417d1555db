"""The files that a conversion writes, and when it may write them."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge_fer.errors import ConfigError, DeviceError, EdgeFerError
from edge_fer.files import atomic_write
from edge_fer.modelfile import read_model
from edge_fer_convert.reporting import detector, report
from edge_fer_convert.reporting.page import GENERATOR

__all__ = ["OutputFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFiles:
    """Where everything goes. Made with :meth:`beside`."""

    int8: Path
    float32: Path
    report_json: Path
    report_html: Path
    edgetpu: Path

    @classmethod
    def beside(cls, output: Path) -> OutputFiles:
        """OUT.tflite, OUT.float.tflite, OUT.report.json, OUT.report.html, OUT.edgetpu.tflite.

        Raises:
            ConfigError: ``output`` does not end in ``.tflite``.
        """
        if output.suffix != ".tflite" or output.name == ".tflite":
            raise ConfigError(
                f"The output {output} does not end in .tflite.", "For example: -o mine.tflite"
            )
        stem = output.name.removesuffix(".tflite")
        return cls(
            int8=output,
            float32=output.with_name(f"{stem}.float.tflite"),
            report_json=output.with_name(f"{stem}.report.json"),
            report_html=output.with_name(f"{stem}.report.html"),
            edgetpu=output.with_name(f"{stem}.edgetpu.tflite"),
        )

    def rejected(self) -> OutputFiles:
        """Where a candidate that missed its budget is kept: OUT.rejected.tflite and so on."""
        stem = self.int8.name.removesuffix(".tflite")
        return OutputFiles.beside(self.int8.with_name(f"{stem}.rejected.tflite"))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them; the model first, the one that is not always written last."""
        return (self.int8, self.float32, self.report_json, self.report_html, self.edgetpu)

    def check(self, model: Path, *, force: bool) -> None:
        """See before the work begins that the files may be written in the end.

        Raises:
            ConfigError: one of them is the model itself, or exists and ``force`` is not given, or
                exists and is not an earlier conversion's.
            DeviceError: the folder does not exist or cannot be written.
        """
        folder = self.int8.parent
        if not folder.is_dir():
            raise DeviceError(
                f"The folder {folder} does not exist.", f"Make it first: mkdir -p {folder}"
            )
        if not os.access(folder, os.W_OK):
            raise DeviceError(
                f"The folder {folder} cannot be written.",
                f"Name another with -o, or change who may write: ls -ld {folder}",
            )
        for path in self.paths:
            if path.exists() and model.exists() and path.samefile(model):
                raise ConfigError(f"{path} is the model itself.", "Name another file with -o.")
            if not path.exists():
                continue
            if not force:
                raise ConfigError(
                    f"{path} exists already.", "Replace it with --force, or name another with -o."
                )
            if not _ours(path):
                raise ConfigError(
                    f"{path} exists and is not the result of an earlier conversion, "
                    "so --force does not replace it.",
                    "Move it away, or name another file with -o.",
                )

    def write(
        self,
        int8: bytes,
        float32: bytes,
        report_json: str,
        report_html: str,
        edgetpu: bytes | None = None,
    ) -> None:
        """Write them, each appearing whole; none appears if one cannot be written.

        An earlier file for the Edge TPU goes when there is no new one.

        Raises:
            DeviceError: the disk is full or not writable.
        """
        contents = (int8, float32, report_json.encode(), report_html.encode(), edgetpu)
        with ExitStack() as stack:
            # Renamed in reverse on leaving the block: when the model appears, the rest is there.
            for path, data in zip(self.paths, contents, strict=True):
                if data is not None:
                    stack.enter_context(atomic_write(path)).write(data)
        if edgetpu is None:  # one that an earlier conversion left is of another model
            self.edgetpu.unlink(missing_ok=True)


def _ours(path: Path) -> bool:
    try:
        if path.suffix == ".tflite":
            read_model(path)
            return True
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text).get("schema") in (report.SCHEMA, detector.SCHEMA)
    except (EdgeFerError, OSError, ValueError, AttributeError):
        return False
    return GENERATOR in text
