"""What runs in the kernel: C sources, and the objects built from them for each architecture."""
