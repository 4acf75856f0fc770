"""The command line: one module a command, with SUMMARY, add_arguments(parser) and run(args) -> exit code.

A command's module is imported to show its summary, so it imports what it needs inside `run`.
"""
