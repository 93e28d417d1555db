"""Records as JSON lines, appended to a file that may be rotated."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.files import sync_folder
from edge_fer.records import Record
from edge_fer.sinks.budget import sync_cost
from edge_fer.sinks.lines import append, as_lines, is_regular

__all__ = ["JsonlWriter"]

_LOCK_WAIT_S = 2.0
_NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class JsonlWriter:
    """One record a line: with the operating system when ``write`` returns, on the disk at ``sync``.

    A killed process loses no line that was written, a power cut none that was synced. What is in
    the file stays: new lines are appended, and after a half-written last line they start on a line
    of their own. ``run`` and ``seq`` name a record: were a disk to fail in the middle of a sync, a
    line might stand there twice, and that tells.

    Several processes may append to one file: each batch is written under a lock of the file
    (flock(2)), and whoever finds that the name has moved on to a new file follows it. So another
    program (logrotate) may move the file away, too.

    Args:
        path: the file; a pipe or a device is written to as it is. A named pipe needs a reader when
            it is opened; one that comes back later is found again.
        rotate: bytes: a batch that would make the file larger begins a new one, and the old one
            becomes ``FILE.1``, that one ``FILE.2``, and so on. None: never.
        keep: how many old files are kept.
        fsync: seconds between syncs; None leaves it to the settings.

    Raises:
        DeviceError: the file cannot be opened for appending.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rotate: int | None = None,
        keep: int = 5,
        fsync: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.name = f"jsonl:{self.path}"
        self.bytes_written = 0
        self.backlog = 0
        self.commit_interval_s = fsync
        self._rotate_at, self._keep = rotate, keep
        self._dirty = self._new = self._closed = self._deserted = False
        try:
            self._handle = self._open()
        except OSError as err:
            raise self._not_opened(err) from err
        self._regular = is_regular(self._handle)
        self._synced_size = os.fstat(self._handle).st_size
        self._charged = 0

    def write(self, records: Sequence[Record]) -> None:
        """Append some lines, all of them or none.

        Raises:
            DeviceError: the disk is full or gone, or another process holds the file locked.
        """
        if self._closed:
            raise EdgeFerError(f"The sink {self.name} was closed.")
        data = as_lines(records)
        if self._deserted:
            self._find_a_reader()
        try:
            with self._locked(len(data)):
                if self._regular and _ends_mid_line(self._handle):
                    data = b"\n" + data
                append(self._handle, data)
        except OSError as err:
            self._deserted = isinstance(err, BrokenPipeError)
            raise self._failed("Records could not be written to", err) from err
        self._dirty = True
        if self._regular:
            self._charge(len(data))

    def sync(self) -> None:
        """Have all lines outlive a power cut.

        Raises:
            DeviceError: the disk did not take them.
        """
        if self._closed or not self._dirty:
            return
        if self._regular:
            try:
                os.fsync(self._handle)
            except OSError as err:
                raise self._failed("Records could not be synced to", err) from err
            if self._new:
                sync_folder(self.path.parent)
            self._settle()
        self._dirty = self._new = False

    def close(self) -> None:
        """Sync and close the file. Calling it twice is fine.

        Raises:
            DeviceError: the disk did not take the last lines; the file is closed all the same.
        """
        if self._closed:
            return
        try:
            self.sync()
        finally:
            self._closed = True
            os.close(self._handle)

    def _open(self) -> int:
        flags = os.O_APPEND | os.O_CLOEXEC
        if self.path.exists() and not self.path.is_file():
            # A pipe that we could read never breaks, and opening one must not wait for its reader.
            handle = os.open(self.path, flags | os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(handle, True)  # a full one keeps our own thread waiting, nobody else
            return handle
        self._new = True  # perhaps: its name is safe when the folder is synced
        return os.open(self.path, flags | os.O_RDWR | os.O_CREAT, 0o666)

    @contextmanager
    def _locked(self, more: int) -> Iterator[None]:
        """The file that has the name now, open and locked, with room for so many bytes."""
        if not self._regular:
            yield
            return
        self._lock()
        try:
            while True:
                if not self._has_the_name():
                    os.fsync(self._handle)  # our lines in the file that was moved away
                    self._settle()
                    self._replace(self._open())
                    self._synced_size = os.fstat(self._handle).st_size
                    self._lock()
                elif self._full(more):
                    self._rotate()
                else:
                    break
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _lock(self) -> None:
        give_up = monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() > give_up:
                    raise
                sleep(0.01)
            except OSError as err:
                if err.errno not in _NO_LOCKS_HERE:
                    raise
                return
            else:
                return

    def _has_the_name(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _full(self, more: int) -> bool:
        size = os.fstat(self._handle).st_size
        return self._rotate_at is not None and size > 0 and size + more > self._rotate_at

    def _rotate(self) -> None:
        """Move the names along, the oldest first: wherever it is cut short, no file is lost."""
        names = [self.path, *(Path(f"{self.path}.{i}") for i in range(1, self._keep + 1))]
        # Up to the first gap, which a rotation that was cut short may have left.
        free = next((i for i, name in enumerate(names) if not name.exists()), self._keep)
        for i in range(free, 0, -1):
            names[i - 1].replace(names[i])
        sync_folder(self.path.parent)

    def _replace(self, handle: int) -> None:
        os.close(self._handle)
        self._handle = handle

    def _find_a_reader(self) -> None:
        try:
            self._replace(self._open())
        except OSError as err:
            raise self._not_opened(err) from err
        self._deserted = False

    def _charge(self, size: int) -> None:
        """Lines were written; what their sync will cost beyond them is charged by ``_settle``."""
        self._charged += size
        self.bytes_written += size

    def _settle(self) -> None:
        """They are on the disk: blocks were, not bytes."""
        size = os.fstat(self._handle).st_size
        self.bytes_written += max(0, sync_cost(self._synced_size, size) - self._charged)
        self._synced_size, self._charged = size, 0

    def _not_opened(self, err: OSError) -> DeviceError:
        if err.errno == errno.ENXIO:
            return DeviceError(
                f"{self.path} is a pipe that nobody reads.", f"Start its reader: cat {self.path}"
            )
        return DeviceError(
            f"{self.path} cannot be opened for writing: {err.strerror or err}.",
            "Check that the folder exists and that you may write there.",
        )

    def _failed(self, what: str, err: OSError) -> DeviceError:
        if isinstance(err, BlockingIOError):
            return DeviceError(
                f"{what} {self.path}: another process holds it locked.",
                f"See which: fuser -v {self.path}",
            )
        return DeviceError(
            f"{what} {self.path}: {err.strerror or err}.",
            "Make room (df -h) or choose another file: new lines are appended.",
        )


def _ends_mid_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
