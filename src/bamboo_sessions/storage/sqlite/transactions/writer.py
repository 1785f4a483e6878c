"""Group commit: what the writer thread does with the requests that are waiting.

All of them run inside one transaction, and one COMMIT, with one fsync, makes them durable. Nobody is told anything
before COMMIT has returned (G1). A request that is refused (a conflict, a plan that raises) has written nothing by
then and is left out; no savepoint is needed, which would copy every page. Whatever else fails may have written
a part, or have ended the whole transaction with the work of the others in it (L101): then the transaction is rolled
back and the requests run again, one by one. Requests of other processes that wait are in the same transaction
(`others`), and never worth a second one. A connection that can't be rolled back, or whose file failed, is thrown
away (L90).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

import apsw

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.limits import GROUP_BYTES_MAX
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.connection import Patience, close
from bamboo_sessions.storage.sqlite.transactions.errors import translated
from bamboo_sessions.storage.sqlite.transactions.open_file import OpenFile
from bamboo_sessions.storage.sqlite.transactions.others import Guests, Others
from bamboo_sessions.storage.sqlite.transactions.pace import Pace
from bamboo_sessions.storage.sqlite.transactions.wal import Log
from bamboo_sessions.storage.sqlite.transactions.worker import Request

_log: Final = logging.getLogger("bamboo_sessions")


class Writer:
    """Owns the connection that writes. Used by one thread at a time.

    Args:
        file: The file: whether it is still the one that is open.
        connect: Opens a connection.
        log: The file's write-ahead log.
        others: The other processes on the file.
        busy_timeout_ms: How long a transaction waits for another process's, in milliseconds.
    """

    def __init__(
        self,
        file: OpenFile,
        connect: Callable[[], apsw.Connection],
        log: Log,
        others: Others,
        busy_timeout_ms: int,
    ) -> None:
        self._file = file
        self._connect = connect
        self.log = log
        self._busy_timeout_seconds = busy_timeout_ms / 1000
        self._open: apsw.Connection | None = None
        self._others = others
        self._patience = Patience(0)
        self._was_written = False
        self.pace = Pace()

    # --- the connection

    def connection(self) -> apsw.Connection:
        """The open connection; opens one if there is none."""
        if self._open is None:
            self._open = self._connect()
            self._open.set_busy_handler(self._patience)
            self._open.set_wal_hook(self._committed)
        return self._open

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._open = self._open, None
        if connection is not None:
            close(connection, checkpoint=self._file.is_in_place())

    def finish(self) -> None:
        """Close everything for good."""
        self.close()
        self._others.close()

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.log.committed(pages)
        self._was_written = True
        return apsw.SQLITE_OK

    # --- groups

    def run(self, requests: Sequence[Request]) -> None:
        """Run `requests`, together if it can be, and fill in results and errors."""
        self._patience.seconds = self._busy_timeout_seconds
        try:
            left = self._others.take_turn(requests, self._turn_seconds)
            if len(left) < len(requests):
                self._check_file(requests)
            if left:
                self._run_in_turn(left)
        except BaseException:
            self.close()  # whatever state it is in
            raise
        finally:
            self._others.give_turn()

    @property
    def _turn_seconds(self) -> float:
        return tuning.TURN_WAIT_SECONDS + tuning.TURN_WAIT_SYNCS * (self.pace.seconds or 0.0)

    def _run_in_turn(self, requests: Sequence[Request]) -> None:
        connection = self._begun(requests)
        if connection is None:
            return
        guests = self._others.guests(GROUP_BYTES_MAX)
        if len(requests) == 1 and not guests:
            self._run_single(connection, requests[0])
        elif not self._run_in(connection, requests, guests, outcomes=BaseException):
            for request in requests:
                self._run_alone(request)

    def run_at_once(self, requests: Sequence[Request]) -> bool:
        """As `run`, if nobody has to be waited for and nothing fails; `False`: nothing was committed, nobody is told.

        A signal's handler may raise anywhere in here, since this is the thread that handles signals. That ends it; what
        it would leave behind if it came at the very end, the next one finds (`_begin`, `Turn.give`).
        """
        try:
            if self._open is None or not self._others.take_turn_at_once():
                return False
            self._patience.seconds = 0.0
            connection = self._begin()
            size = sum([request.size for request in requests])
            guests = self._others.guests(tuning.LOOP_GROUP_BYTES_MAX - size)
            return self._run_in(connection, requests, guests, outcomes=Exception)
        except apsw.Error:
            return False
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._others.give_turn()

    def _begin(self) -> apsw.Connection:
        connection = self.connection()
        if connection.in_transaction:  # an interrupt came just after it was begun
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def _begun(self, requests: Sequence[Request]) -> apsw.Connection | None:
        """The connection, in a transaction; `None`: that can't be, and `requests` have their errors."""
        try:
            return self._begin()
        except apsw.Error as exc:
            self._fail(requests, exc)
        except StorageError:  # the file was replaced
            for request in requests:
                request.error = self._file.error(outcome_unknown=request.was_posted)
        return None

    def _run_in(
        self,
        connection: apsw.Connection,
        requests: Sequence[Request],
        guests: Sequence[Guests],
        *,
        outcomes: type[BaseException],
    ) -> bool:
        """Run all in the transaction that was begun, and commit it; `False` if nothing has happened.

        `outcomes` is what a request may raise as its outcome; else it is a signal, which ends all.
        """
        group = [*requests, *chain.from_iterable(each.requests for each in guests)]
        try:
            for request in group:
                _run_among_others(connection, request, outcomes)
        except (apsw.Error, _Torn):
            self._roll_back()
            return False
        done = self._commit(connection, group)
        if done:
            for each in guests:
                self._others.tell(each)
        return done

    def _run_alone(self, request: Request) -> None:
        connection = self._begun([request])
        if connection is not None:
            self._run_single(connection, request)

    def _run_single(self, connection: apsw.Connection, request: Request) -> None:
        """Run one in the transaction that was begun, and commit it."""
        request.error = None
        try:
            request.result = request.work(connection)
        except apsw.Error as exc:
            self._fail([request], exc)
        except BaseException as exc:  # noqa: BLE001 - whatever a plan raises goes to its caller
            request.error = exc
            self._roll_back()
        else:
            if not self._commit(connection, [request]):
                request.error = StorageError(f"{self._file.path}: the commit failed.")

    def _commit(self, connection: apsw.Connection, requests: Sequence[Request]) -> bool:
        """COMMIT; `False` if nothing was committed and it is worth trying one by one."""
        self._was_written = False
        start = time.perf_counter()
        try:
            connection.execute("COMMIT")
        except (apsw.FullError, apsw.BusyError) as exc:  # certain: no commit was written
            if len(requests) > 1:
                self._roll_back()
                return False
            self._fail(requests, exc)
        except apsw.Error as exc:
            self._fail(requests, exc, outcome_unknown=True)
        if self._was_written:
            self.pace.learn(time.perf_counter() - start - len(requests) * tuning.PAGES_SECONDS)
            self._check_file(requests)
        return True

    def _check_file(self, requests: Sequence[Request]) -> None:
        """Nobody is told of a commit that went into files which are gone (L113, L114)."""
        if self._file.is_in_place():
            return
        self.close()
        for request in requests:
            request.result, request.error = None, self._file.error(outcome_unknown=True)

    def _fail(self, requests: Sequence[Request], exc: apsw.Error, *, outcome_unknown: bool = False) -> None:
        code = 0
        if self._open is not None:
            code = self._open.system_errno
        self._roll_back(discard=isinstance(exc, apsw.IOError | apsw.NoMemError | apsw.CorruptError))
        for request in requests:
            if self._file.is_in_place():
                error = translated(exc, self._file.path, system_errno=code, outcome_unknown=outcome_unknown)
            else:
                error = self._file.error(outcome_unknown=outcome_unknown)
            error.outcome_unknown |= request.was_posted  # somebody may be making it just now
            error.__cause__ = exc
            request.result, request.error = None, error

    def _roll_back(self, *, discard: bool = False) -> None:
        connection = self._open
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            discard = True
        if discard or connection.in_transaction:
            self.close()

    # --- the write-ahead log

    def tend_log(self) -> None:
        """After a group was answered: look after the write-ahead log."""
        connection = self._open
        if connection is None:
            return
        self._patience.seconds = tuning.LOG_WAIT_MS / 1000
        try:
            if self._file.is_in_place():
                self.log.tend(connection)
        except apsw.Error as exc:
            _log.error("%s: the log could not be copied into the file: %s", self._file.path, exc)
            self.close()  # the next request opens another one, and is told if that fails
        except BaseException:  # noqa: BLE001 - the thread has to go on, and nobody waits for this
            _log.exception("%s: looking after the log failed", self._file.path)
            self.close()


class _Torn(Exception):
    """A request failed after it had written something."""


def _run_among_others(connection: apsw.Connection, request: Request, outcomes: type[BaseException]) -> None:
    """Run one of a group; raises if the group's transaction can't go on."""
    request.error = None
    before = connection.total_changes()
    try:
        request.result = request.work(connection)
    except apsw.Error:
        raise
    except outcomes as exc:
        if connection.total_changes() != before:
            raise _Torn from exc
        request.error = exc
    if not connection.in_transaction:
        raise _Torn
