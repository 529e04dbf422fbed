"""Records become lines of JSON in a file, one for each request."""

import logging
from pathlib import Path

import orjson

from cotenant.core.errors import WorkloadError
from cotenant.core.record import Record

_log = logging.getLogger(__name__)


class RecordsFile:
    """A record listener that appends to a file; lines reach it when flushed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise WorkloadError(f"cannot write records to {str(path)!r}: {error}") from error
        self._broken = False

    def __call__(self, record: Record) -> None:
        self._write(orjson.dumps(record._asdict(), option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> None:
        self._write(b"", flush=True)

    def close(self) -> None:
        self.flush()
        try:
            self._file.close()
        except OSError as error:
            _log.error("records in %r are incomplete: %s", str(self._path), error)

    def _write(self, line: bytes, flush: bool = False) -> None:
        if self._broken:
            return
        try:
            self._file.write(line)
            if flush:
                self._file.flush()
        except OSError as error:
            # A full disk must not stop the answers.
            self._broken = True
            _log.error("no more records go to %r: %s", str(self._path), error)
