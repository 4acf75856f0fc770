"""Profiles: sets of options in YAML files, in Retis' format, chosen by name and by what the kernel has."""
