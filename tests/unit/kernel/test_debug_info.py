"""Debug information as it is read, against what the compiler says of the same source."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fyke.kernel.binaries import debug_files
from fyke.kernel.binaries.debug_files import NoDebugFile, NoDebugInfo, debug_file
from fyke.kernel.binaries.dwarf import DebugInfo
from fyke.kernel.binaries.elf_file import ElfFile

SOURCE = """
#include <stdint.h>
#include <stdio.h>
#include <stddef.h>
typedef const struct inner { char c; uint16_t s; volatile int64_t wide; } inner_t;
struct outer {
    char first;
    enum kind { ONE = 1, SEVEN = 7 } kind;
    struct inner plain;
    union { struct { int32_t a; void *pointer; } deep; char bytes[3]; };
    union { inner_t typed; } u;
    unsigned bits : 3;
};
static inline __attribute__((always_inline)) int small(int x) { return x * 3; }
__attribute__((noinline)) int called(struct outer *one, long other) { return small(one->kind) + other; }
static int twice(void) { return 1; }
int main(int argc, char **argv)
{
    struct outer o = { .kind = argc };
#define AT(path) printf("%s %zu %zu\\n", #path, offsetof(struct outer, path), sizeof(o.path))
    AT(kind); AT(plain.s); AT(plain.wide); AT(deep.pointer); AT(deep); AT(u.typed);
    return called(&o, twice());
}
"""
needs_compiler = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is missing")
pytestmark = needs_compiler


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("debug")
    (folder / "lib").mkdir()
    (folder / "lib" / "one.c").write_text(SOURCE)
    command = ["gcc", "-g", "-O1", "-Wl,--build-id", "-o", "program", "lib/one.c"]
    subprocess.run(command, check=True, cwd=folder)
    return folder / "program"


def test_members_are_where_the_compiler_has_them(program: Path) -> None:
    told = subprocess.run([program], capture_output=True, text=True, check=False).stdout.splitlines()
    assert len(told) == 6
    with DebugInfo(str(program)) as info:
        source = info.sources(("lib/one.c",))["lib/one.c"]
        for line in told:
            path, offset, size = line.split()
            member = source.member("outer", path)
            assert (member.offset, member.size) == (int(offset), int(size)), path
        # A union need not be named.
        assert source.member("outer", "typed.s") == source.member("outer", "u.typed.s")
        assert (source.enumerators["ONE"], source.enumerators["SEVEN"]) == (1, 7)


def test_functions_are_where_the_linker_has_them(program: Path) -> None:
    (symbol,) = ElfFile(str(program)).functions["called"]
    with DebugInfo(str(program)) as info:
        function = info.sources(("one.c",))["one.c"].function("called")
    assert function.address == symbol.address
    assert function.parameters == ("one", "other")
    assert function.inlined == {"small"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nothing", "struct outer has no member nothing there"),
        ("kind.deeper", "struct outer has no member kind.deeper there"),
        ("bits", "it is a bit field"),
    ],
)
def test_what_is_missing_is_named(path: str, why: str, program: Path) -> None:
    with DebugInfo(str(program)) as info:
        source = info.sources(("one.c",))["one.c"]
        with pytest.raises(NoDebugInfo, match=why):
            source.member("outer", path)


def test_functions_and_sources_that_are_missing(program: Path) -> None:
    with DebugInfo(str(program)) as info:
        source = info.sources(("one.c",))["one.c"]
        with pytest.raises(NoDebugInfo, match=r"function small of one\.c is inlined or isn't there"):
            source.function("small")
        with pytest.raises(NoDebugInfo, match="no struct other"):
            source.member("other", "x")
        with pytest.raises(NoDebugInfo, match=r"says nothing of two\.c"):
            info.sources(("one.c", "two.c"))


def test_damaged_files_are_told_in_a_sentence(program: Path, tmp_path: Path) -> None:
    image = program.read_bytes()
    section = ElfFile(str(program)).section(".debug_info")
    assert section is not None
    damaged = tmp_path / "damaged"
    seen = 0
    for n in range(20):
        changed = bytearray(image)
        at = section.offset + n * section.size // 20
        changed[at : at + 8] = bytes([(n * 37 + i * 101) % 256 for i in range(8)])
        damaged.write_bytes(changed)
        try:
            with DebugInfo(str(damaged)) as info:
                source = info.sources(("one.c",))["one.c"]
                source.member("outer", "plain.s")
                source.function("called")
        except NoDebugInfo:
            seen += 1
    assert seen > 2
    damaged.write_bytes(image[:200])
    with pytest.raises(NoDebugInfo):
        DebugInfo(str(damaged))


@pytest.fixture
def stripped(program: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return a program, and the file that its debug information was put into."""
    made, debug = tmp_path / "bin" / "stripped", tmp_path / "kept.debug"
    made.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", str(program), str(debug)], check=True)
    link = f"--add-gnu-debuglink={debug}"
    subprocess.run(["objcopy", "--strip-all", link, str(program), str(made)], check=True)
    return made, debug


def test_where_it_is_looked_for(
    stripped: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, debug = stripped
    monkeypatch.setattr(debug_files, "DEBUG", str(tmp_path / "usr"))
    elf = ElfFile(str(made))
    by_id = tmp_path / "usr" / ".build-id" / elf.build_id[:2] / f"{elf.build_id[2:]}.debug"
    beside = made.parent / debug.name
    hidden = made.parent / ".debug" / debug.name
    below = Path(f"{tmp_path}/usr{made.parent}") / debug.name
    places = (by_id, beside, hidden, below)
    with pytest.raises(NoDebugFile) as error:
        debug_file(elf, str(made), str(made))
    assert str(error.value).endswith(f"neither in it nor in {', '.join(map(str, places))}")
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, place)  # of the same build, and without what is sought
        with pytest.raises(NoDebugFile):
            debug_file(elf, str(made), str(made))
        shutil.copy(debug, place)
        assert debug_file(elf, str(made), str(made)) == str(place)
        place.unlink()
    with DebugInfo(str(debug)) as info:
        assert info.sources(("one.c",))["one.c"].member("outer", "plain.s").size == 2


def test_of_another_build_it_is_not_taken(stripped: tuple[Path, Path], tmp_path: Path) -> None:
    made, debug = stripped
    other = tmp_path / "other"
    (tmp_path / "o.c").write_text("int main(void) { return 3; }")
    subprocess.run(["gcc", "-g", "-Wl,--build-id", "-o", str(other), str(tmp_path / "o.c")], check=True)
    shutil.copy(other, made.parent / debug.name)
    with pytest.raises(NoDebugFile):
        debug_file(ElfFile(str(made)), str(made), str(made))
