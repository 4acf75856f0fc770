"""Outputs that other libraries write to: a file object over an output of ours."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from fyke.errors import InputError, UsageError
from fyke.events.output import Output


class OutputFile(io.RawIOBase):
    """What a library writes goes to the output at once. Raises what `Output.append` does."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._output.bytes_written

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        block = bytes(data)
        self._output.append(block, 0)
        return len(block)


class Closing(Protocol):
    """A library's writer."""

    def close(self) -> None:
        """Write what is left."""


class WholeFile(ABC):
    """A file that is useless without its end: also of a damaged input what was read is written to its end."""

    _output: Output

    @abstractmethod
    def close(self) -> None:
        """Write what is left, and close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, InputError):
            self.close()
        else:
            self._output.close(whole=False)


class FileWriter(WholeFile):
    """The base of the writers of other formats, used like `EventWriter`. begin: makes a library's writer."""

    def __init__(self, path: str, begin: Callable[[OutputFile], Closing]) -> None:
        self._output = Output(path, lambda _number: b"")
        try:
            self._writer: Any = begin(OutputFile(self._output))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            self._output.close(whole=False)
            raise UsageError(f"can't write {path}: {str(error).partition(chr(10))[0]}") from error

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Write one batch. Raises RunError when the disk is full or fails."""

    def finish(self) -> None:
        """Write what the library's writer doesn't know of yet."""

    def close(self) -> None:
        """Write what is left, and close."""
        try:
            self.finish()
            self._writer.close()
        finally:
            self._output.close()
