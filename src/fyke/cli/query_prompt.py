"""The prompt of `fyke query`: statements are typed, each is answered; line editing is readline's."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from fyke.errors import FykeError, UsageError

_PROMPT, _MORE = "fyke> ", "  ... "
_HELP = """\
Type SQL; it ends at a ; or an empty line. Views: {views}.
  .tables         the views, and what a row of each is
  .columns VIEW   the columns of a view
  .help           this
  .quit           leave; so does Ctrl-D. Ctrl-C drops what was typed, or stops a query
"""


class Prompt:
    """Asks for statements until the input ends.

    names: of the views. answer: takes the text of statements and writes what they give; its FykeErrors are
    shown, and the prompt goes on.
    """

    def __init__(self, names: tuple[str, ...], answer: Callable[[str], None]) -> None:
        self._names = names
        self._answer = answer

    def run(self) -> None:
        """Go on until Ctrl-D or .quit."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (input() then has a history, for this session)
        print(f"SQL over {', '.join(self._names)}; .help says more, Ctrl-D ends")
        for text in self._statements():
            if text in (".quit", ".exit"):
                return
            try:
                if text.startswith("."):
                    self._command(text)
                else:
                    self._answer(text)
            except FykeError as error:
                hint = f"hint: {error.hint}\n" if error.hint else ""
                sys.stderr.write(f"error: {error.message}\n{hint}")
            except KeyboardInterrupt:
                print("stopped")

    def _statements(self) -> Iterator[str]:
        """Yield statements and commands."""
        lines: list[str] = []
        while True:
            try:
                line = input(_MORE if lines else _PROMPT)
            except EOFError:
                print()
                if lines:
                    yield "\n".join(lines)
                return
            except KeyboardInterrupt:
                print()
                lines = []
                continue
            if not lines and line.lstrip().startswith("."):
                yield line.strip()
            elif line.strip():
                lines.append(line)
            if lines and (not line.strip() or line.rstrip().endswith(";")):
                text, lines = "\n".join(lines), []
                yield text

    def _command(self, text: str) -> None:
        from fyke.journeys.views_columns import VIEWS

        word, *rest = text.split()
        if word == ".help":
            print(_HELP.format(views=", ".join(self._names)), end="")
        elif word == ".tables":
            for view in VIEWS:
                print(f"{view.name:12}  {view.doc}")
        elif word == ".columns":
            self._columns(rest)
        else:
            raise UsageError(f"there is no command {word}", ".help lists them")

    def _columns(self, words: list[str]) -> None:
        from fyke.journeys.views_columns import EVENTS, FLOW_COLUMNS, VIEWS

        view = next((v for v in VIEWS if [v.name] == words), None)
        if view is None:
            raise UsageError(
                f"there is no view {' '.join(words)}" if words else "which view?",
                f".columns and one of {', '.join(self._names)}",
            )
        rows = [(c.name, c.type, c.unit, c.doc) for c in view.columns]
        if view is EVENTS:
            rows += [(f"flow.{c.name}", c.type, c.unit, c.doc) for c in FLOW_COLUMNS]
        wide = max(len(name) for name, *_ in rows)
        for name, kind, unit, doc in rows:
            print(f"{name:{wide}}  {kind:7}  {unit:7}  {doc}")
