"""Builds the BPF objects into every wheel, so that the machine it is installed on needs no compiler."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfObjects(BuildHookInterface):  # type: ignore[type-arg]  # the argument was added in hatchling 1.24
    """Runs src/fyke/bpf/build.py, the one home of how an object is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is out of date; without clang, only an editable installation can do without."""
        bpf_build = _load(Path(self.root) / "src" / "fyke" / "bpf" / "build.py")
        try:
            bpf_build.build(announce=self.app.display_info)
        except bpf_build.BuildError as error:
            if version == "editable":
                self.app.display_warning(f"no BPF objects, so that nothing can be collected: {error}")
            else:
                self.app.abort(str(error))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fyke_bpf_build", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"can't load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
