"""What counts as an image below a folder, what is left out and said, and which links are followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from data_pipes.sources.image_files import Walk, natural, recognised, some, warn_once
from odd_files import encode, odd_files, picture

JPEG = encode(picture())


def write(root: Path, *paths: str, content: bytes = JPEG) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def images(root: Path, *, follow_links: bool = False) -> tuple[str, ...]:
    walk = Walk(root, follow_links=follow_links)
    found = walk.images(root)
    walk.report()
    return found


def test_natural_order():
    names = ["10.jpg", "2.jpg", "a10b2", "a9b10", "02.jpg", "a9b9", "é1"]
    assert sorted(names, key=natural) == ["02.jpg", "2.jpg", "10.jpg", "a9b9", "a9b10", "a10b2", "é1"]


@given(st.lists(st.text(max_size=8), unique=True))
def test_natural_order_is_total(names):
    backwards = names[::-1]
    assert sorted(names, key=natural) == sorted(backwards, key=natural)


# ---- names and content


def test_every_common_ending_counts(tmp_path, caplog):
    names = [f"1.{ending}" for ending in ("jfif", "JPE", "jif", "dib", "TIFF", "heif", "png", "gif", "avif")]
    assert sorted(images(write(tmp_path, *names, content=b""))) == sorted(names)
    assert not caplog.records


def test_names_without_a_known_ending_count_by_their_content(tmp_path, caplog):
    names = ("a.jpg?w=300", "photo", "photo.2024", "1.2.840")
    assert sorted(images(write(tmp_path, *names))) == sorted(names)
    assert not caplog.records
    write(tmp_path, *names, content=b"no image")
    assert images(tmp_path) == ()
    assert "files that are no images (4): 1.2.840, a.jpg?w=300, photo and 1 more" in caplog.text
    assert ".jfif" in caplog.text


@pytest.mark.parametrize("name", ["1.jpg~", "1.jpg_original", "1.jpg.bak", "1.jpg.part", "1.nef", "1.thm"])
def test_copies_and_raw_photographs_are_no_samples_though_they_look_like_it(tmp_path, caplog, name):
    assert recognised(JPEG[:32])  # negative control: content alone would take it
    assert images(write(tmp_path, "1.jpg", name)) == ("1.jpg",)
    assert f"files that are no images (1): {name}" in caplog.text


def test_companions_are_no_noise(tmp_path, caplog):
    write(tmp_path, "labels.csv", "1.txt", "1.json", "1.xml", "README", "LICENSE", "Thumbs.db", "desktop.ini", "1.xmp")
    assert images(write(tmp_path, "1.jpg", "readme.jpg", "license.png")) == ("1.jpg", "license.png", "readme.jpg")
    assert not caplog.records


def test_all_that_is_left_out_makes_one_warning(tmp_path, caplog):
    write(tmp_path, "1.jpg")
    write(tmp_path, "clip.mp4", "deep/array.npy", content=b"\0\0\0 ftypisom")
    for _ in range(3):
        images(tmp_path)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: left out are files that are no images (2): clip.mp4, deep/array.npy. Images end in .apng, .avif, "
        ".bmp, .dib, .gif, .heic, .heif, .hif, .jfi, .jfif, .jif, .jpe, .jpeg, .jpg, .png, .tif, .tiff, .webp, or are "
        "recognised by their content"
    ]


def test_one_process_of_a_run_warns(monkeypatch, caplog):
    monkeypatch.setenv("RANK", "1")
    warn_once("said by the second process")
    monkeypatch.setenv("RANK", "0")
    warn_once("said by the first process")
    assert [record.message for record in caplog.records] == ["said by the first process"]


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trash"],
)
def test_folders_of_systems_are_passed_over(tmp_path, caplog, folder):
    caplog.set_level("INFO")
    walk = Walk(write(tmp_path, "cat/1.jpg", f"{folder}/1.jpg", f"cat/{folder}/1.jpg"), follow_links=False)
    assert walk.images(tmp_path) == ("cat/1.jpg",) and walk.folders(tmp_path) == ("cat",)
    walk.report()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "ignored are hidden and system entries (2): " in caplog.text and f"cat/{folder}" in caplog.text


def test_pipes_are_never_opened(tmp_path, caplog):
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "link.jpg").symlink_to("pipe")
    assert images(write(tmp_path, "1.jpg")) == ("1.jpg",)
    assert "(3): link.jpg, pipe, pipe.jpg" in caplog.text


@pytest.mark.parametrize("name", sorted(odd_files()))
def test_images_are_recognised_by_their_first_bytes(name):
    assert recognised(odd_files()[name][:32])


@pytest.mark.parametrize("kind", ["GIF", "AVIF"])
def test_formats_that_another_reader_may_refuse_are_recognised(kind):
    assert recognised(encode(picture(), kind)[:32])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"BMW drivers and their photographs",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0 ftypisom",
        b"%PDF-1.7",
        b"PK\3\4",
    ],
)
def test_other_content_is_not(head):
    assert not recognised(head)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path, "cat/1.jpg")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root, who runs tests in containers, may read anything
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        images(tmp_path)


def test_names_for_a_message():
    assert some(["cat", "dog"]) == "cat, dog" and some("abcd", 2) == "a, b and 2 more"
    assert some(["cat ", "a\nb", "café"]) == r"'cat ', 'a\nb', café"


# ---- links


@pytest.fixture
def hub(tmp_path) -> Path:
    """A snapshot as the Hugging Face hub makes it: links to files that lie elsewhere and have no ending."""
    write(tmp_path, "blobs/aa", "blobs/bb")
    for name, blob in (("cat/1.jpg", "aa"), ("cat/2.jpg", "aa"), ("dog/1.jpg", "bb")):
        (tmp_path / "snapshot" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "snapshot" / name).symlink_to(Path("../../blobs") / blob)
    return tmp_path / "snapshot"


def test_links_out_of_the_root_are_followed_when_asked_for(hub):
    with pytest.raises(InputError, match=r"cat/1.jpg links to .*blobs/aa, outside .*; data.follow_links: true follows"):
        images(hub)
    assert images(hub, follow_links=True) == ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")


def test_links_to_folders_are_followed_when_asked_for(tmp_path):
    write(tmp_path, "cache/x/1.jpg", "root/2.jpg")
    (tmp_path / "root/cat").symlink_to("../cache/x")
    assert images(tmp_path / "root", follow_links=True) == ("2.jpg", "cat/1.jpg")
    (tmp_path / "root/cat").unlink()
    (tmp_path / "root/cat").symlink_to(tmp_path / "root")
    with pytest.raises(
        InputError, match=r"cat links to the folder .*; data.follow_links: true follows it, each folder"
    ):
        images(tmp_path / "root")


@pytest.mark.parametrize("target", [".", "..", "../cat", "../dog"])
def test_circles_end_and_no_folder_counts_twice(tmp_path, caplog, target):
    root = write(tmp_path / "root", "cat/1.jpg", "dog/1.jpg", "dog/deep/2.jpg")
    (root / "cat/loop").symlink_to(target)
    found = images(root, follow_links=True)
    assert len(found) == 3 and {(root / path).resolve().relative_to(root).as_posix() for path in found} == {
        "cat/1.jpg",
        "dog/1.jpg",
        "dog/deep/2.jpg",
    }
    assert "links to a folder that is read already" in caplog.text


def test_a_folder_goes_by_its_own_name(tmp_path):
    root = write(tmp_path, "b/1.jpg")
    (root / "a").symlink_to("b")
    assert images(root, follow_links=True) == ("b/1.jpg",)


@pytest.mark.parametrize("follow_links", [False, True])
def test_a_link_to_nothing_is_left_to_the_index_and_one_to_itself_is_none(tmp_path, follow_links):
    root = write(tmp_path, "1.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "self").symlink_to("self")
    assert images(root, follow_links=follow_links) == ("1.jpg", "gone.jpg")
