"""docs/python.md says what is: its examples are run on the recording of the demo."""

from __future__ import annotations

import ast
import doctest
import re
import shutil
from pathlib import Path

import pytest
from cli_samples import ROOT

PAGE = ROOT / "docs" / "python.md"


def test_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "tools" / "demo.arrow", tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    example = doctest.DocTestParser().get_doctest("".join(blocks), {}, "python.md", str(PAGE), 0)
    shown: list[str] = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(example, out=shown.append)
    assert not failed, "".join(shown)
    assert tried >= 15


def test_what_is_not_run_can_be_read() -> None:
    plain = re.findall(r"^```python\n((?!>>>).*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(plain) == 1
    (block,) = ast.parse(plain[0]).body
    assert isinstance(block, ast.With)
    call = block.items[0].context_expr
    assert isinstance(call, ast.Call)
    import inspect

    import fyke

    inspect.signature(fyke.collect).bind(**{str(k.arg): None for k in call.keywords})
