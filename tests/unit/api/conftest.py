"""What tests of other layers made is used here too."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / layer) for layer in ("events", "cli")]
