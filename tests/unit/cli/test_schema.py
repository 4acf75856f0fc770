"""`fyke schema`."""

from __future__ import annotations

import json

from cli_samples import ROOT, fyke

from fyke.events.json_schema import event_schema


def test_the_schema_is_printed_to_be_read() -> None:
    done = fyke("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == event_schema()
    assert done.stdout.startswith('{\n  "$schema": ')


def test_the_views_are_the_page_of_the_documentation() -> None:
    done = fyke("schema", "--views")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "docs" / "views.md").read_text()


def test_wrong_use() -> None:
    done = fyke("schema", "extra")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
