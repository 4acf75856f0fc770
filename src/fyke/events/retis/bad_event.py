"""What readers of Retis' files raise for an event that isn't as it should be."""

from __future__ import annotations


class BadEvent(ValueError):
    """An event isn't as it should be; str() says what is wrong with it."""
