"""Completion of command lines: what there is, as argparse knows it, and a script for each shell."""
