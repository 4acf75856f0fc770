"""Lets tests of one layer use what those of another made: BTF blobs, whole kernels, records."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent / layer) for layer in ("kernel", "capture")]
