"""Pictures as a source: a folder, or a single file."""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns

from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.errors import DataError, EdgeFerError
from edge_fer.pictures import PICTURE_SUFFIXES, read_picture
from edge_fer.types import Frame

__all__ = ["ImageCamera"]

_MOST_SHOWN = 5


class ImageCamera:
    """The pictures of a folder in the order of their names, sub-folders left alone, or one file.

    Frames name their file as ``source`` and are stamped when they are read. A picture that
    cannot be read is passed over: it counts in ``sequence`` as a dropped frame would, stands in
    :attr:`skipped` with the reason, and after the last good one an error names it.

    Args:
        path: a folder, or a picture.
        orientation: how to turn the pictures.

    Raises:
        DataError: nothing there, not permitted, or a folder without pictures.
    """

    def __init__(self, path: Path, *, orientation: Orientation = UPRIGHT) -> None:
        self._files = _pictures(path)
        if not self._files:
            raise DataError(
                f"The folder {path} holds no pictures.",
                f"Pictures end in {', '.join(sorted(PICTURE_SUFFIXES))}; sub-folders are not read.",
            )
        self.source = str(path)
        self._orientation = orientation
        self._next = 0
        self._skipped: list[tuple[Path, str]] = []
        self._said = self._closed = False

    @property
    def skipped(self) -> tuple[tuple[Path, str], ...]:
        """The pictures passed over so far, each with the reason."""
        return tuple(self._skipped)

    def read(self) -> Frame | None:
        """The next readable picture, or None after the last.

        Raises:
            DataError: once, after the last: some of the pictures could not be read.
        """
        if self._closed:
            raise EdgeFerError(f"The source {self.source} was closed.")
        while self._next < len(self._files):
            number, file = self._next, self._files[self._next]
            self._next += 1
            try:
                picture = read_picture(file)
            except DataError as err:
                self._skipped.append((file, err.message))
                continue
            return self._orientation.frame(
                picture, t_ns=monotonic_ns(), sequence=number, source=str(file)
            )
        if self._skipped and not self._said:
            self._said = True
            raise self._unreadable()
        return None

    def close(self) -> None:
        """Nothing is held open; ``read`` fails from now on."""
        self._closed = True

    def _unreadable(self) -> DataError:
        whole = "Use whole PNG, JPEG, WebP, BMP or PGM files."
        if len(self._files) == 1:
            return DataError(self._skipped[0][1], whole)
        bad, total = len(self._skipped), len(self._files)
        shown = " ".join(reason for _, reason in self._skipped[:_MOST_SHOWN])
        more = f" And {bad - _MOST_SHOWN} more." if bad > _MOST_SHOWN else ""
        return DataError(
            f"{bad} of the {total} pictures in {self.source} could not be read: {shown}{more}",
            whole,
        )


def _pictures(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        return sorted(
            p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()
        )
    except FileNotFoundError as err:
        raise DataError(f"There is no picture or folder {path}.", "Check the path.") from err
    except OSError as err:
        raise DataError(
            f"{path} cannot be read: {err.strerror}.", "Check that you may read it."
        ) from err
