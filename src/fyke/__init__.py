"""fyke: see where in the Linux kernel each packet went, what changed it, what dropped it and why."""

__version__ = "0.1.0"
