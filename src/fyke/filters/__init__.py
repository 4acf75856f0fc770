"""Which packets are meant: expressions compiled in Python, run in the kernel and on recordings."""
