"""A wheel carries the BPF objects: where it is installed, there is no compiler."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.host_only


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources that has no objects yet."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "hatch_build.py", "README.md"):
        shutil.copy(CHECKOUT / name, tree)
    shutil.copytree(CHECKOUT / "src", tree / "src", ignore=shutil.ignore_patterns("objects", "__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(tree))
    (found,) = out.glob("*.whl")
    return found


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_has_the_objects_of_both_architectures_with_types_and_without_dwarf(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for machine in ("x86_64", "aarch64"):
            content = archive.read(f"fyke/bpf/objects/fyke.{machine}.bpf.o")
            assert content[:4] == b"\x7fELF"
            assert b".BTF.ext\0" in content
            assert b".debug_info\0" not in content
        assert {f"fyke/profiles/shipped/{name}.yaml" for name in ("drops", "generic", "tcp")} < names
    assert not [name for name in names if name.startswith(("tests", "hatch_build"))]


def test_it_runs_where_there_is_no_compiler(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", str(venv))
    run(str(venv / "bin/pip"), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    nothing_else = {"PATH": str(venv / "bin")}
    assert shutil.which("clang", path=nothing_else["PATH"]) is None
    assert "collect" in run(str(venv / "bin/fyke"), "--help", env=nothing_else)
    find = "from importlib.resources import files; print(files('fyke.bpf') / 'objects')"
    objects = Path(run(str(venv / "bin/python"), "-c", find, env=nothing_else).strip())
    assert objects.is_relative_to(venv)
    assert sorted(path.name for path in objects.iterdir()) == ["fyke.aarch64.bpf.o", "fyke.x86_64.bpf.o"]


def test_without_a_compiler_the_build_says_what_to_install(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "src/fyke/bpf/build.py", tmp_path)
    (tmp_path / "fyke.bpf.c").write_text("")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "build.py")],
        env={"PATH": "/nowhere"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: clang isn't installed")
    assert "Traceback" not in done.stderr
