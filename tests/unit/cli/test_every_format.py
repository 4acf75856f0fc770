"""What the commands make of a recording is the same whatever format it is kept in."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_samples import CORPUS

from fyke.cli.main import main

SAMPLE = CORPUS / "basic-default" / "events.json"
KEPT = ("a.arrow", "a.json", "a.parquet")
TEXTS = (
    *(("print",), ("print", "-e"), ("print", "--format", "multi-line"), ("print", "-f", "icmp")),
    *(("sort",), ("sort", "-e"), ("sort", "-f", "icmp", "--journeys"), ("stats",)),
)
OUTPUTS = ((), ("-f", "icmp"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kept")
    for name in KEPT:
        assert main(["convert", str(SAMPLE), str(folder / name)]) == 0
    return {name: folder / name for name in KEPT}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("command", TEXTS, ids=" ".join)
def test_text(
    kept: dict[str, Path], capfdbinary: pytest.CaptureFixture[bytes], command: tuple[str, ...], name: str
) -> None:
    def text(path: Path) -> bytes:
        assert main([*command, str(path)]) == 0
        return capfdbinary.readouterr().out

    told = text(SAMPLE)
    assert told.count(b"\n") > 3
    assert text(kept[name]) == told


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("options", OUTPUTS, ids=" ".join)
@pytest.mark.parametrize("out", ["s.json", "s.arrow"])
def test_sorted_files(
    tmp_path: Path, kept: dict[str, Path], options: tuple[str, ...], out: str, name: str
) -> None:
    def made(path: Path, place: Path) -> bytes:
        place.mkdir()
        assert main(["sort", *options, "-o", str(place / out), str(path)]) == 0
        return (place / out).read_bytes()

    one, other = made(SAMPLE, tmp_path / "one"), made(kept[name], tmp_path / "other")
    assert other == one
