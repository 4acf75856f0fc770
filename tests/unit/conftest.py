"""Lets tests of one layer use what those of another made: BTF blobs, whole kernels, records.

How long an example takes, to make or to test, says how busy the machine is: none has a deadline.
"""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fyke", max_examples=50, deadline=None, suppress_health_check=(HealthCheck.too_slow,)
)
settings.load_profile("fyke")
sys.path += [str(Path(__file__).parent / layer) for layer in ("kernel", "capture", "events")]
