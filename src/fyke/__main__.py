"""Where the program begins, as `fyke` and as `python -m fyke`: Ctrl-C is harmless from here on."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def entry() -> NoReturn:
    """Run as a program.

    While modules are loaded, Ctrl-C ends the process at once and without a word; after the command it is
    ignored, so that a late one doesn't change the exit code. Where it was ignored already, it stays so.
    """
    minded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if minded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fyke.cli.imports import keep_light
    from fyke.cli.main import main
    from fyke.cli.streams import use_streams

    keep_light()
    use_streams()
    try:
        if minded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # while an error was being told
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    entry()
