"""Where profiles are found, and what is said when they aren't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fyke.errors import UsageError
from fyke.profiles.find import files_in, find_profile


def write(folder: Path, file: str, *names: str, about: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / file
    path.write_text(
        "---\n".join(
            f"version: 1.0\nname: {name}\nabout: {about or path.name}\ncollect: []\n" for name in names
        )
    )
    return path


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    write(tmp_path / "one", "a.yaml", "x", "y")
    write(tmp_path / "one", "b.yml", "z")
    write(tmp_path / "one", "c.txt", "hidden")
    write(tmp_path / "two", "d.yaml", "x", "w")
    return [str(tmp_path / name) for name in ("one", "nowhere", "two")]


def test_the_first_folder_that_has_it_counts(folders: list[str]) -> None:
    found = {name: os.path.basename(find_profile(name, folders).place.path) for name in ("x", "y", "z", "w")}
    assert found == {"x": "a.yaml", "y": "a.yaml", "z": "b.yml", "w": "d.yaml"}
    assert find_profile("x", folders[::-1]).about == "d.yaml"
    assert find_profile("y", folders).place.line == 6


@pytest.mark.parametrize(
    ("name", "hint"),
    [("hidden", "`fyke profile list` lists them"), ("ww", "did you mean w?"), ("a.yml/", None), ("", None)],
)
def test_what_is_not_there(folders: list[str], name: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        find_profile(name, folders)
    assert hint is None or caught.value.hint == hint


def test_two_of_a_name_in_a_folder_are_refused(folders: list[str]) -> None:
    write(Path(folders[0]), "z.yaml", "y")
    with pytest.raises(UsageError, match=r"two profiles y in one folder: .*/a\.yaml:6 and .*/z\.yaml:1"):
        find_profile("y", folders)
    assert find_profile("x", folders)


def test_a_broken_file_hides_no_other_and_is_told_when_it_may_matter(folders: list[str]) -> None:
    Path(folders[0], "0.yaml").write_text("name: [")
    Path(folders[0], "a.yaml").write_text("version: 1.0\nname: x\n---\nname: broken\n")
    assert find_profile("x", folders).place.path.endswith("a.yaml")
    with pytest.raises(UsageError) as caught:
        find_profile("nosuch", folders)
    assert caught.value.hint.startswith("a file can't be read: ")
    assert "0.yaml:1: " in caught.value.hint


def test_only_regular_files_are_read(folders: list[str]) -> None:
    os.mkfifo(Path(folders[0], "pipe.yaml"))
    Path(folders[0], "folder.yaml").mkdir()
    Path(folders[0], "dangling.yaml").symlink_to("nowhere")
    Path(folders[0], "link.yaml").symlink_to(Path(folders[2], "d.yaml"))
    assert [os.path.basename(file.path) for file in files_in(folders[0])] == ["a.yaml", "b.yml", "link.yaml"]


def test_a_path_names_a_file_with_one_profile(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_profile(f"{folders[0]}/b.yml", []).name == "z"
    assert find_profile(f"{folders[0]}/c.txt", []).name == "hidden"
    with pytest.raises(UsageError, match=r"a\.yaml has several profiles \(x, y\)"):
        find_profile(f"{folders[0]}/a.yaml", [])
    empty = tmp_path / "e.yaml"
    empty.write_text("# nothing\n")
    with pytest.raises(UsageError, match=r"e\.yaml has no profile"):
        find_profile(str(empty), [])
    with pytest.raises(UsageError, match=r"can't read the profile .*nosuch\.yaml: No such file"):
        find_profile("nosuch.yaml", folders)
    with pytest.raises(UsageError, match="can't read the profile"):
        find_profile("a\0.yaml", folders)
    # A file of that name where one happens to be is nobody's profile.
    (tmp_path / "x").write_text("version: 1.0\nname: evil\ncollect: [{args: {cmd: evil}}]\n")
    monkeypatch.chdir(tmp_path)
    assert find_profile("x", folders).name == "x"
