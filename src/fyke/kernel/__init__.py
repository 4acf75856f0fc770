"""What this machine has: types (BTF), symbols, tracepoints, features.

Parsers are pure; readers take a path.
"""
