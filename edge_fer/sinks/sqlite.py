"""Records in an SQLite database, for a program that wants to ask rather than to read along.

Open it read-only while edge-fer writes (``sqlite3 'file:seen.db?mode=ro'``): readers and the writer
do not wait for each other. The tables, and SQL that asks them, are in :mod:`edge_fer.sinks.tables`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.files import sync_folder
from edge_fer.records import Record
from edge_fer.sinks.budget import sync_cost
from edge_fer.sinks.tables import agree, forget, insert, seconds_written, transaction

__all__ = ["SqliteWriter"]

_DAY_S = 86_400
_CHECKPOINT_BYTES = 4_000_000


class SqliteWriter:
    """Collects records and commits them, with their minutes' counts, in one transaction a sync.

    Write-ahead log, ``synchronous=FULL``: a commit returns when the log is on the disk, so
    *accepted* holds through a power cut, and a process killed at any point leaves the last commit.
    A record that is given twice (a commit that failed half-way) is stored and counted once.

    A file that is damaged is set aside as ``FILE.damaged-1`` and a new one begun, which is said
    through ``warn``: recording goes on, and what can be read of the old file is still there.

    Retention counts the seconds that the file was written to, not the wall clock: a clock that
    jumps by 50 years deletes nothing. Time that the device was switched off does not count. Rows
    are deleted in bites within the same transactions; the file stops growing, but does not shrink.

    Args:
        path: the file; its folder must allow new files (SQLite keeps its log beside it).
        retention: seconds that observations and faces are kept.
        minutes: seconds that the counts of each minute are kept.
        fsync: seconds between commits; None leaves it to the settings.
        warn: is told that a damaged file was set aside.
        clock: monotonic seconds.

    Raises:
        DeviceError: the file cannot be opened or made.
        ConfigError: it is another program's database, or of a newer edge-fer.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        retention: int = 30 * _DAY_S,
        minutes: int = 400 * _DAY_S,
        fsync: float | None = None,
        warn: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.path = Path(path)
        self.name = f"sqlite:{self.path}"
        self.bytes_written = 0
        self.backlog = 0
        self.commit_interval_s = fsync
        self._retention, self._minutes = retention, minutes
        self._warn, self._clock = warn, clock
        self._pending: list[Record] = []
        self._checked = self._closed = False
        self._opened_at, self._age_before, self._log_size = clock(), 0, 0
        self._connection: sqlite3.Connection | None
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as err:
            if not _is_damage(err):
                raise self._failed("cannot be opened", err) from err
            self._connection = self._begin_anew(err)

    def write(self, records: Sequence[Record]) -> None:
        """Take some records; the next ``sync`` stores them."""
        if self._closed:
            raise EdgeFerError(f"The sink {self.name} was closed.")
        self._pending += records

    def sync(self) -> None:
        """Store what was taken, in one transaction.

        Raises:
            DeviceError: the disk is full or gone, or another process holds the database locked.
        """
        if self._closed or not self._pending:
            return
        taken, self._pending = self._pending, []
        try:
            if self._identity != self._file_identity():
                self._let_go()  # deleted or moved away: SQLite would go on in a file without a name
            if self._connection is None:
                self._connection = self._open()
            self._check(self._connection)
            self._store(self._connection, taken)
        except sqlite3.DatabaseError as err:
            if not _is_damage(err):
                self._give_up(err)
                raise self._failed("took no records", err) from err
            self._let_go()
            self._connection = self._begin_anew(err)
            try:
                self._store(self._connection, taken)
            except sqlite3.DatabaseError as again:
                raise self._failed("took no records", again) from again
        self._tidy(self._connection)

    def close(self) -> None:
        """Store the rest and close. Calling it twice is fine.

        Raises:
            DeviceError: the last records could not be stored; the file is closed all the same.
        """
        if self._closed:
            return
        try:
            self.sync()
            with suppress(OSError):  # the last one to close it empties the log
                self.bytes_written += self._bytes_to_move()
        finally:
            self._closed = True
            self._let_go()

    def _open(self) -> sqlite3.Connection:
        # Made by one thread and used by another, never by two at once.
        connection = sqlite3.connect(
            self.path, timeout=2.0, isolation_level=None, check_same_thread=False
        )
        try:
            # A commit writes whole pages: with small ones a third less goes to the card than with
            # SQLite's usual 4096.
            connection.execute("PRAGMA page_size = 1024")
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            connection.execute("PRAGMA synchronous = FULL")
            # Checkpoints are ours, after a commit: their bytes are counted.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            agree(connection, str(self.path))
            self._age_before = seconds_written(connection)
            self._opened_at = self._clock()
        except BaseException:
            connection.close()
            raise
        self._log_size, self._identity = self._log_bytes(), self._file_identity()
        return connection

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino

    def _let_go(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _give_up(self, err: sqlite3.DatabaseError) -> None:
        """Reopen next time, unless the file is only full or locked (it may have been moved)."""
        if _code(err) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._let_go()

    def _check(self, connection: sqlite3.Connection) -> None:
        """Look the whole file over, once, before the first commit and in the writer's thread."""
        if self._checked:
            return
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise _Damaged(found)
        self._checked = True

    def _begin_anew(self, why: Exception) -> sqlite3.Connection:
        """Set a damaged file aside, under a name that is free, and open a new one.

        Raises:
            DeviceError: the file cannot be renamed, or no new one made.
        """
        number = 1
        while (aside := Path(f"{self.path}.damaged-{number}")).exists():
            number += 1
        try:
            # The log first: if we are killed in between, it is not replayed into a new file.
            for suffix in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            sync_folder(self.path.parent)
            connection = self._open()
        except (OSError, sqlite3.DatabaseError) as err:
            raise self._failed("is damaged, and cannot be replaced", err) from err
        self._checked = True
        self._warn(
            f"{self.path} is damaged ({why}). It was set aside as {aside}, and a new file begun. "
            f"What can be saved of it: sqlite3 {aside} .recover | sqlite3 saved.db"
        )
        return connection

    def _store(self, connection: sqlite3.Connection, records: Sequence[Record]) -> None:
        with transaction(connection):
            age = self._age_before + int(self._clock() - self._opened_at)
            insert(connection, records, age)
            forget(connection, age, observations_s=self._retention, minutes_s=self._minutes)

    def _tidy(self, connection: sqlite3.Connection) -> None:
        """Count what the log has grown by, and empty it into the file when it is long."""
        size = self._log_bytes()
        self.bytes_written += sync_cost(self._log_size, size)
        self._log_size = size
        if size < _CHECKPOINT_BYTES:
            return
        # On a full disk it fails, and what was committed stays in the log.
        with suppress(sqlite3.OperationalError, OSError):
            moved = self._bytes_to_move()
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.bytes_written += 0 if busy else moved
        self._log_size = self._log_bytes()

    def _bytes_to_move(self) -> int:
        """What a checkpoint writes: each page in the log once (sqlite.org/fileformat2.html 4.1)."""
        with Path(f"{self.path}-wal").open("rb", buffering=0) as log:
            # Page by page: the whole log at once would stay in this process's memory.
            page = int.from_bytes(os.pread(log.fileno(), 4, 8), "big")
            starts = range(32, os.fstat(log.fileno()).st_size, page + 24)
            return page * len({os.pread(log.fileno(), 4, at) for at in starts})

    def _log_bytes(self) -> int:
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _failed(self, what: str, err: Exception) -> DeviceError:
        words = str(err)
        if isinstance(err, sqlite3.DatabaseError) and _code(err) == sqlite3.SQLITE_CANTOPEN:
            words += self._systems_reason()
        return DeviceError(
            f"{self.path} {what}: {words}.",
            "Check that its folder exists, is writable and has room (df -h).",
        )

    def _systems_reason(self) -> str:
        """What SQLite does not say of a file that it cannot open."""
        try:
            os.close(os.open(self.path, os.O_RDWR))
        except OSError as err:
            return f" ({err.strerror})"
        return ""


class _Damaged(sqlite3.DatabaseError):
    """What the integrity check found."""


def _is_damage(err: sqlite3.DatabaseError) -> bool:
    damage = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(err, _Damaged) or _code(err) in damage


def _code(err: sqlite3.DatabaseError) -> int:
    """The primary result code; 0 where the error is not SQLite's own."""
    return int(getattr(err, "sqlite_errorcode", 0)) & 0xFF
