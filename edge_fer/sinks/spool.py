"""Store and forward: a queue on disk for records on their way to a broker that may be away.

A queue in one SQLite file (write-ahead log), made to spare an SD card: what reaches the broker
before the next ``commit`` is never written at all, so with a broker in reach nothing is.

Numbers, not flags, say what may have been delivered twice. Records leave in the order of their
ids, so one durable number, the *mark*, covers all that may have been sent: it is moved on, in
blocks, before a record that lies on the disk is sent for the first time. After a crash everything
up to the mark is a possible duplicate, and nothing beyond it is. The mark has a file of its own
that is overwritten in place, which also works on a full disk: the backlog can always leave.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from edge_fer.errors import DeviceError
from edge_fer.sinks.budget import sync_cost

__all__ = ["Spool", "Spooled"]

_FILE = "spool.sqlite"
_MARK_FILE = "spool.mark"
_MARK = b"%020d\n"
_PAGE = 4096
_SUFFIXES = ("", "-wal", "-shm")
# The mark moves on by so many records at once: one fsync for each block of a backlog.
_BLOCK = 500
_CHUNK = 256
_WAL_LIMIT = 1 << 20
_TABLES = """
CREATE TABLE IF NOT EXISTS records(
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, line TEXT NOT NULL, at REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """One record of the queue.

    Attributes:
        id: its place in the queue; ids rise.
        kind: what the user of the spool called it.
        line: the record, one line of JSON.
        duplicate: it may have been sent before.
    """

    id: int
    kind: str
    line: str
    duplicate: bool


class Spool:
    """A bounded queue that outlives a power cut. Any thread may call it.

    Age is counted in running time and never by the wall clock, which may jump by 50 years when a
    board without a battery first meets a time server; the hours spent switched off do not count.

    Args:
        folder: made where it is missing; one process at a time may use it.
        max_bytes: of the file's used part. Beyond it the oldest records go.
        max_age_s: seconds of running time after which a record goes.
        clock: monotonic seconds.

    Attributes:
        dropped: records given up because the queue was full or they were too old.
        bytes_written: handed to the disk so far: the log, and the log's way into the file.
        set_aside: where a damaged queue file was moved at the start, or None.

    Raises:
        DeviceError: the folder cannot be used, or another process uses it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 200_000_000,
        max_age_s: float = 7 * 86400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = folder / _FILE
        self.dropped = self.bytes_written = 0
        self.set_aside: Path | None = None
        self._max_pages, self._max_age_s, self._clock = max_bytes // _PAGE, max_age_s, clock
        self._lock = threading.RLock()
        # Not on the disk yet, by id; and on the disk, delivered, but not deleted there yet.
        self._fresh: dict[int, tuple[str, str, float]] = {}
        self._done: set[int] = set()
        self._again: frozenset[str] = frozenset()
        self._closed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = self._open()
            self._oldest, self._last, newest, rows = self._db.execute(
                "SELECT coalesce(min(id), 0), coalesce(max(id), 0), coalesce(max(at), 0), count(*)"
                " FROM records"
            ).fetchone()
            self._mark_file = os.open(folder / _MARK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
            self._mark = self._read_mark()
        except (sqlite3.Error, OSError) as err:
            raise self._trouble("cannot be opened", err) from err
        self._stored: int = rows
        self._sent = self._mark
        self._next = max(self._last, self._mark) + 1
        self._age_zero = newest - clock()
        self._log_size = self._wal_size()

    def __len__(self) -> int:
        """Records that were not delivered yet."""
        return self.stored + self.unstored

    @property
    def stored(self) -> int:
        """Of them, those that are on the disk."""
        return self._stored - len(self._done)

    @property
    def unstored(self) -> int:
        """Of them, those that the next ``commit`` will write."""
        return len(self._fresh)

    @property
    def size(self) -> int:
        """Bytes that the file and its log take on the disk."""
        return sum(_size(self._beside(suffix)) for suffix in _SUFFIXES)

    def append(self, records: Sequence[tuple[str, str]]) -> None:
        """Take (kind, line) pairs; they are safe when a later ``commit`` has returned."""
        with self._lock:
            at = self._clock() + self._age_zero
            for kind, line in records:
                if line in self._again:
                    # It was sent before the disk refused it. All before it were sent as well.
                    self._sent = self._next
                self._fresh[self._next] = (kind, line, at)
                self._next += 1

    def take(self, after: int, limit: int) -> list[Spooled]:
        """The next records with an id above ``after``, oldest first; they are about to be sent.

        Raises:
            DeviceError: the disk cannot be read, or the mark cannot be written.
        """
        with self._lock:
            stored = self._read(after, limit) if after < self._last else []
            fresh = ((i, kind, line) for i, (kind, line, _) in self._fresh.items() if i > after)
            taken = [
                Spooled(id=i, kind=kind, line=line, duplicate=i <= self._sent)
                for (i, kind, line), _ in zip(chain(stored, fresh), range(limit), strict=False)
            ]
            if taken:
                self._sent = max(self._sent, taken[-1].id)
            return taken

    def delivered(self, number: int) -> None:
        """The broker has the record with this id: forget it."""
        with self._lock:
            if self._fresh.pop(number, None) is None and self._oldest <= number <= self._last:
                self._done.add(number)

    def commit(self) -> None:
        """Make everything safe that was appended and not delivered meanwhile.

        Raises:
            DeviceError: the disk is full or gone. What was appended since the last success is
                forgotten: append it again, and what of it was sent counts as a duplicate.
        """
        with self._lock:
            sent = frozenset(line for i, (_, line, _) in self._fresh.items() if i <= self._sent)
            try:
                if sent:
                    self._move_mark(self._sent)
                self._store(self._fresh)
            except DeviceError:
                self._again |= sent
                # A deletion can wait: what it concerns lies below the mark.
                if self._fresh:
                    raise
            finally:
                self._fresh = {}
            self._again = frozenset()

    def close(self) -> None:
        """Commit and let go of the file. Calling it twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                with closing(self._db):
                    self.commit()
            finally:
                os.close(self._mark_file)

    def _read(self, after: int, limit: int) -> list[tuple[int, str, str]]:
        if len(self._done) >= _BLOCK:
            # What is deleted late is sent again after a crash, as a duplicate.
            with suppress(DeviceError):
                self._store({})
        gaps = sum(i > after for i in self._done)
        with self._guard("cannot be read"):
            rows = self._db.execute(
                "SELECT id, kind, line FROM records WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit + gaps),
            ).fetchall()
        found = [row for row in rows if row[0] not in self._done][:limit]
        if found and found[-1][0] > self._mark:
            self._move_mark(min(found[-1][0] + _BLOCK, self._last))
        return found

    def _read_mark(self) -> int:
        text = os.pread(self._mark_file, 32, 0)
        if not text and not self._last:
            os.pwrite(self._mark_file, _MARK % 0, 0)
            return 0
        # A mark that cannot be read may have been anything.
        return int(text) if text.strip().isdigit() else self._last

    def _move_mark(self, mark: int) -> None:
        if mark > self._mark:
            with self._guard("cannot be marked"):
                os.pwrite(self._mark_file, _MARK % mark, 0)
                os.fdatasync(self._mark_file)
            self._mark = mark
            self.bytes_written += _PAGE

    def _store(self, fresh: dict[int, tuple[str, str, float]]) -> None:
        """One transaction: new records, deletions and the bounds."""
        expired = self._clock() + self._age_zero - self._max_age_s
        with self._guard("cannot be written"):
            first = self._db.execute("SELECT at FROM records ORDER BY id LIMIT 1").fetchone()
            if not (fresh or self._done or (first and first[0] < expired)):
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?)", ((i, *row) for i, row in fresh.items())
            )
            self._db.executemany("DELETE FROM records WHERE id = ?", ((i,) for i in self._done))
            dropped = self._drop_old(expired) + self._drop_beyond()
            oldest = self._db.execute("SELECT coalesce(min(id), 0) FROM records").fetchone()[0]
            self._db.execute("COMMIT")
        self._stored += len(fresh) - len(self._done) - dropped
        self._oldest, self._last = oldest, max(self._last, *fresh, 0)
        self.dropped += dropped
        self._done.clear()
        self._account()

    def _drop_old(self, expired: float) -> int:
        dropped = gone = self._delete_oldest(expired)
        while gone == _CHUNK:
            gone = self._delete_oldest(expired)
            dropped += gone
        return dropped

    def _drop_beyond(self) -> int:
        dropped = 0
        while self._pages() > self._max_pages and (gone := self._delete_oldest()):
            dropped += gone
        return dropped

    def _delete_oldest(self, before: float = float("inf")) -> int:
        return self._db.execute(
            "DELETE FROM records WHERE id IN (SELECT id FROM"
            " (SELECT id, at FROM records ORDER BY id LIMIT ?) WHERE at < ?)",
            (_CHUNK, before),
        ).rowcount

    def _pages(self) -> int:
        used, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        return int(used - free)

    def _account(self) -> None:
        """Count what the commit wrote; fold a long log into the file, which writes it again."""
        grown = self._wal_size()
        self.bytes_written += sync_cost(self._log_size, grown)
        self._log_size = grown
        if grown > _WAL_LIMIT:
            with self._guard("cannot be written"):
                pages = self._db.execute("PRAGMA page_count").fetchone()[0]
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.bytes_written += min(grown, pages * _PAGE)
            self._log_size = self._wal_size()

    def _open(self) -> sqlite3.Connection:
        try:
            db = self._connect()
        except sqlite3.DatabaseError as err:
            if err.sqlite_errorcode not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            db = None
        if db is not None:
            return db
        # A kiosk goes on with an empty queue; the damaged one stays for a person to look at.
        self.set_aside = self._beside(".damaged")
        for suffix in _SUFFIXES:
            with suppress(FileNotFoundError):
                self._beside(suffix).replace(self._beside(f".damaged{suffix}"))
        db = self._connect()
        if db is None:
            raise OSError("a new file cannot be read back")
        return db

    def _connect(self) -> sqlite3.Connection | None:
        """None where the file is damaged inside."""
        db = sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            # Exclusive: one process, and no shared-memory file beside the log.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute(f"PRAGMA page_size = {_PAGE}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            sound = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            if sound:
                db.executescript(_TABLES)
        except BaseException:
            db.close()
            raise
        if not sound:
            db.close()
        return db if sound else None

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as err:
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise self._trouble(what, err) from err

    def _trouble(self, what: str, err: Exception) -> DeviceError:
        locked = getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        reason = "another process uses it" if locked else str(err)
        remedy = (
            "Give each instance a folder of its own: ?spool=FOLDER."
            if locked
            else f"Check the folder and make room: df -h {self.path.parent}"
        )
        return DeviceError(f"The spool {self.path} {what}: {reason}.", remedy)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _wal_size(self) -> int:
        return _size(self._beside("-wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
