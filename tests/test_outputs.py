import doctest
import errno
import itertools
import os
import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tedi import outputs
from tedi.errors import TediError, UsageError
from tedi.outputs import output_paths, picture_format, slug, write_atomically

ANY_TEXT = st.text(st.characters(), max_size=200)  # lone surrogates and unassigned code points too


def names(out, *, prompts=("a smile",), seeds=(3,), suffix=".png"):
    return [str(path) for path in output_paths(out, prompts=prompts, seeds=seeds, suffix=suffix)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_in_the_docstrings_run():
    results = doctest.testmod(outputs)
    assert (results.attempted >= 5, results.failed) == (True, 0)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A smiling woman,  with BANGS!", "a-smiling-woman-with-bangs"),
        ("the woman's hat", "the-womans-hat"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\temp\\*?.png", "c-temp-png"),
        ("笑顔の女性", "笑顔の女性"),
        ("मुस्कुराती महिला", "मुस्कुराती-महिला"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("\u0301 a \ufe0f❤\ufe0f b", "a-b"),
        ("smile\u202egnp.exe", "smilegnp-exe"),
        ("COM\u00b9", "com1-face"),
        ("nul", "nul-face"),
        ("null", "null"),
        ("", "face"),
        ("😀\x00\ud800 …", "face"),
    ],
)
def test_slug(prompt, name):
    assert slug(prompt) == name


def test_slug_ends_with_a_whole_word():
    assert slug("a woman with a straw hat", limit=18) == "a-woman-with-a"
    assert slug("a woman with a straw hat", limit=20) == "a-woman-with-a-straw"
    assert slug("x" * 100, limit=20) == "x" * 20


@given(ANY_TEXT, st.integers(12, 90))
def test_slug_is_a_file_name_on_every_system(prompt, limit):
    name = slug(prompt, limit=limit)
    assert 0 < len(name) <= limit
    assert len(name.encode()) <= 180
    assert name not in outputs._RESERVED
    assert not name.startswith("-")
    assert not name.endswith("-")
    assert all(c == "-" or unicodedata.category(c)[0] in "LNM" for c in name)


def test_slug_refuses_a_limit_that_fits_no_name():
    with pytest.raises(UsageError, match="limit: expected 12"):
        slug("a smile", limit=11)


@pytest.mark.parametrize("out", [None, "", "faces", "faces/", "a.b/", "deep/er", Path("faces")])
def test_a_folder_gets_names_from_prompt_and_seed(out):
    assert names(out) == [os.path.join(str(out or ""), "a-smile-seed3.png")]


def test_a_folder_that_exists_may_look_like_a_file(folder):
    (folder / "album.v2").mkdir()
    assert names("album.v2") == [os.path.join("album.v2", "a-smile-seed3.png")]


def test_the_suffix_is_that_of_names_made_here():
    assert names(None, suffix=".webp") == ["a-smile-seed3.webp"]
    assert names("x.jpg", suffix=".webp") == ["x.jpg"]
    assert names("{seed}", suffix=".webp") == ["3.webp"]


def test_a_file_is_split_by_seed_and_by_prompt():
    assert names("smile.png") == ["smile.png"]
    assert names("d/smile.jpg", seeds=(3, 5)) == [
        os.path.join("d", "smile-seed3.jpg"),
        os.path.join("d", "smile-seed5.jpg"),
    ]
    assert names("x.png", prompts=("a", "b")) == ["x-a-seed3.png", "x-b-seed3.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{prompt}_{seed}_{index}.png", ["a_3_0.png", "a_4_1.png", "b_3_2.png", "b_4_3.png"]),
        ("{index:04d}", ["0000.png", "0001.png", "0002.png", "0003.png"]),
        ("{{{index}}}.jpg", ["{0}.jpg", "{1}.jpg", "{2}.jpg", "{3}.jpg"]),
        ("{seed}/{prompt}.png", ["3/a.png", "4/a.png", "3/b.png", "4/b.png"]),
        ("{prompt}/", ["a/a-seed3.png", "a/a-seed4.png", "b/b-seed3.png", "b/b-seed4.png"]),
        ("{prompt}.png", ["a.png", "a-2.png", "b.png", "b-2.png"]),
    ],
)
def test_patterns(pattern, expected):
    paths = names(pattern, prompts=("a", "b"), seeds=(3, 4))
    assert [path.replace(os.sep, "/") for path in paths] == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{sed}.png", "unknown --out field 'sed'; did you mean 'seed'"),
        ("{}.png", "choose from index, prompt, seed"),
        ("{prompt.__class__}.png", "unknown --out field 'prompt.__class__'"),
        ("{index[0]}.png", "unknown --out field"),
        ("{index:{seed.__class__}}.png", "a format spec holds no fields"),
        ("{prompt:04d}.png", "Unknown format code"),
        ("{seed.png", "--out '{seed.png'"),
        ("a}b.png", "a brace that opens no field is written twice"),
        ("smile.gif", r"unknown picture suffix '.gif'; choose from .png, .jpg, .jpeg, .webp"),
    ],
)
def test_a_wrong_out_is_refused_before_the_first_picture(pattern, message):
    with pytest.raises(UsageError) as caught:
        output_paths(pattern, prompts=["a"], seeds=[0])  # not iterated
    assert message in str(caught.value)


def test_names_in_a_folder_give_way_to_files_and_others_do_not(folder):
    for name in ("a-smile-seed3.png", "a-smile-seed3-2.png", "x.png", "3.png"):
        (folder / name).touch()
    assert names(None) == ["a-smile-seed3-3.png"]
    assert names("x.png") == ["x.png"]
    assert names("{seed}.png") == ["3.png"]


def test_the_disk_is_looked_at_when_a_path_is_asked_for(folder):
    paths = output_paths(None, prompts=["a"], seeds=range(2))
    next(paths)
    (folder / "a-seed1.png").touch()
    assert str(next(paths)) == "a-seed1-2.png"


def test_no_two_pictures_of_a_run_share_a_path():
    prompts = ["a face", "A face!", "a face", "a face seed0 2", "?", "face"]
    paths = names(None, prompts=prompts, seeds=(0, 0, 2))
    assert len({path.casefold() for path in paths}) == 18
    assert paths[:3] == ["a-face-seed0.png", "a-face-seed0-2.png", "a-face-seed2.png"]
    assert paths[3:6] == ["a-face-seed0-3.png", "a-face-seed0-4.png", "a-face-seed2-2.png"]


def test_a_name_made_by_numbering_counts_as_taken():
    paths = names("{prompt}.png", prompts=("a", "a!", "a 2", "A.", "a 2"))
    assert paths == ["a.png", "a-2.png", "a-2-2.png", "a-3.png", "a-2-3.png"]


def test_a_hundred_thousand_paths_are_made_one_by_one(monkeypatch):
    looks = []
    monkeypatch.setattr(outputs.os.path, "lexists", lambda path: looks.append(path) or False)
    paths = output_paths(None, prompts=["a"], seeds=range(10**15))
    assert [str(path) for path in itertools.islice(paths, 2)] == ["a-seed0.png", "a-seed1.png"]
    assert len(looks) == 2


def test_numbering_goes_on_where_it_stopped(monkeypatch):
    looks = []
    monkeypatch.setattr(outputs.os.path, "lexists", lambda path: looks.append(path) or False)
    paths = list(output_paths(None, prompts=["a"], seeds=[7] * 300))
    assert str(paths[-1]) == "a-seed7-300.png"
    assert len(looks) == 300


def test_picture_format_wants_a_suffix():
    assert picture_format("a/B.JPEG") == "JPEG"
    with pytest.raises(UsageError, match="unknown picture suffix ''"):
        picture_format("a.b/c")


def write(path, text="new", **options):
    write_atomically(path, lambda part: part.write_text(text), **options)


def left(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_written_with_its_folders_and_usual_permissions(folder):
    write("deep/er/a.txt")
    assert Path("deep/er/a.txt").read_text() == "new"
    assert left(folder) == ["a.txt", "deep", "er"]
    Path("plain").touch()
    assert Path("deep/er/a.txt").stat().st_mode == Path("plain").stat().st_mode


def test_the_writer_gets_a_path_of_the_same_folder_and_suffix(folder):
    parts = []
    write_atomically(folder / "a.mp4", lambda part: parts.append(part) or part.touch())
    assert (parts[0].parent, parts[0].suffix) == (folder, ".mp4")
    assert parts[0].name != "a.mp4"


def test_a_file_that_exists_is_kept_unless_told(folder):
    write("a.txt", "old")
    with pytest.raises(TediError, match=r"^a.txt: already exists; pass --overwrite"):
        write("a.txt")
    assert Path("a.txt").read_text() == "old"
    write("a.txt", exist="overwrite")
    assert Path("a.txt").read_text() == "new"
    assert left(folder) == ["a.txt"]


def refuse_link(*_):
    raise OSError(errno.EOPNOTSUPP, "no hard links")


@pytest.mark.parametrize("link", [os.link, refuse_link])
def test_a_file_made_meanwhile_is_kept(folder, monkeypatch, link):
    monkeypatch.setattr(os, "link", link)

    def slow_writer(part):
        part.write_text("mine")
        Path("a.txt").write_text("theirs")

    with pytest.raises(TediError, match="already exists"):
        write_atomically("a.txt", slow_writer)
    assert Path("a.txt").read_text() == "theirs"
    assert left(folder) == ["a.txt"]


def test_a_disk_without_hard_links_does(folder, monkeypatch):
    monkeypatch.setattr(os, "link", refuse_link)
    write("a.txt")
    assert Path("a.txt").read_text() == "new"
    monkeypatch.setattr(os, "replace", refuse_link)
    with pytest.raises(TediError, match="cannot be written"):
        write("b.txt")
    assert left(folder) == ["a.txt"]


@pytest.mark.parametrize("exist", ["error", "overwrite"])
@pytest.mark.parametrize("problem", [KeyboardInterrupt(), RuntimeError("bug"), UsageError("x")])
def test_nothing_half_written_stays(folder, problem, exist):
    def writer(part):
        part.write_text("half")
        raise problem

    with pytest.raises(type(problem)):
        write_atomically("a.txt", writer, exist=exist)
    assert left(folder) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "no permission to write in d"),
        (errno.EROFS, "no permission to write in d"),
        (errno.ENAMETOOLONG, "the name is too long"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_system_refuses_becomes_one_line(code, message):
    def writer(part):
        part.write_text("half")
        raise OSError(code, os.strerror(code))

    path = Path("d/a.txt")
    with pytest.raises(TediError) as caught:
        write_atomically(path, writer)
    assert str(caught.value).startswith(f"{path}: cannot be written: {message}")
    assert "\n" not in str(caught.value)
    assert left(Path("d")) == []


def test_a_folder_is_no_file_and_a_file_no_folder(folder):
    (folder / "d").mkdir()
    with pytest.raises(TediError, match=r"^d: is a folder"):
        write("d", exist="overwrite")
    write("f")
    for path in ("f/a.txt", "f/deep/a.txt"):
        with pytest.raises(TediError, match="is a file, not a folder"):
            write(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_without_permission(folder):
    (folder / "d").mkdir(mode=0o500)
    with pytest.raises(TediError, match="no permission to write in d"):
        write("d/a.txt")


def test_a_name_too_long_is_said(folder):
    with pytest.raises(TediError, match="the name is too long"):
        write("x" * 300 + ".txt")
    assert left(folder) == []


def test_a_file_may_be_read_as_others_are(tmp_path):
    plain, made = tmp_path / "plain", tmp_path / "made.safetensors"
    plain.touch()
    write_atomically(made, lambda path: save_file({"a": torch.zeros(1)}, path))
    assert made.stat().st_mode == plain.stat().st_mode
