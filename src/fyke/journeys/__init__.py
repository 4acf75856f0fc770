"""Packets' journeys, put back together from their events by SQL."""
