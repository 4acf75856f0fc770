"""`python -m fyke`."""

from fyke.cli.main import entry

entry()
