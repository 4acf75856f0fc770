"""Recordings, and results over them, in the formats of other tools."""
