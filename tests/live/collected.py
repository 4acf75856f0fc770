"""A collection by the library, while traffic runs that can look at what has come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa

import fyke

__all__ = ["collected"]


def collected(
    traffic: Callable[[list[pa.RecordBatch]], object], **options: Any
) -> tuple[list[pa.RecordBatch], int]:
    """Collect while traffic runs, which gets what has come so far; return what came, and the loss."""
    collection = fyke.collect(**options)
    batches: list[pa.RecordBatch] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            traffic(batches)
        except BaseException as error:
            failures.append(error)
        finally:
            collection.stop()

    with collection:
        thread = threading.Thread(target=run)
        thread.start()
        batches.extend(collection)
        thread.join()
    if failures:
        raise failures[0]
    return batches, collection.loss.events
