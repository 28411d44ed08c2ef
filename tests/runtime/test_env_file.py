"""The user's .env: only the asked line changes, whatever the file looks like."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.runtime.env_file import EnvMissing, EnvNotWritable, changes_in, edited, read_env, value_in, write_env

line_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00\x0b\x0c\x1c\x1d\x1e\x85"), max_size=30)
files = st.lists(line_text.filter(lambda line: "MODE" not in line.upper() and not {*"\"'"} & {*line}), max_size=8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"A=1\nMODE=old\nB=2\n", b"A=1\nMODE=new\nB=2\n"),
        (b"MODE=old", b"MODE=new"),
        (b"MODE=\r\nB=2\r\n", b"MODE=new\r\nB=2\r\n"),
        (b"  export MODE = old  # why\nX", b"  export MODE = new  # why\nX"),
        (b"MODE=first\nMODE=second\n", b"MODE=first\nMODE=new\n"),
        (b"# MODE=old\nMODE_2=old\nNOMODE=old\n", b"# MODE=old\nMODE_2=old\nNOMODE=old\nMODE=new\n"),
        (b"A=1", b"A=1\nMODE=new\n"),
        (b"A=1\r\n", b"A=1\r\nMODE=new\r\n"),
        (b"", b"MODE=new\n"),
        (b'MODE="old"\n', b"MODE=new\n"),
        (b"mode=old\nB=2\n", b"mode=new\nB=2\n"),
        (b'MODE="one\ntwo"  # why\nB=2\n', b"MODE=new  # why\nB=2\n"),
        (b"A='x\nMODE=old\ny'\nMODE=old\n", b"A='x\nMODE=old\ny'\nMODE=new\n"),
        (b"\xef\xbb\xbfMODE=old\n", b"\xef\xbb\xbfMODE=new\n"),
    ],
)
def test_the_line_changes_and_every_other_byte_stays(before, after):
    assert edited(before, changes_in(before, {"MODE": "new"})) == after
    assert value_in(after, "MODE") == "new"


@given(files, files, st.sampled_from(["\n", "\r\n"]))
def test_a_change_and_back_leaves_the_file_byte_identical(head, tail, newline):
    content = newline.join([*head, "MODE=old", *tail]).encode()
    there = edited(content, changes_in(content, {"MODE": "new"}))
    assert there != content
    assert edited(there, changes_in(there, {"MODE": "old"})) == content


def test_what_is_as_wanted_is_no_change():
    assert changes_in(b'MODE="new"\n', {"MODE": "new"}) == []


def test_writing_keeps_permissions_and_a_private_copy_of_the_old(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"A=1\n")
    path.chmod(0o640)
    backup = write_env(path, b"A=2\n")
    assert (path.read_bytes(), backup.read_bytes()) == (b"A=2\n", b"A=1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == [".env", ".env.bak"]


def test_a_link_is_followed_not_replaced(tmp_path):
    real, link = tmp_path / "real.env", tmp_path / ".env"
    real.write_bytes(b"A=1\n")
    link.symlink_to(real)
    write_env(link, b"A=2\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"A=2\n"


def test_a_read_only_file_is_left_alone_even_by_root(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"A=1\n")
    path.chmod(0o400)
    with pytest.raises(EnvNotWritable, match="read-only"):
        write_env(path, b"A=2\n")
    assert path.read_bytes() == b"A=1\n"


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(EnvMissing, match=r"restart_all\.sh"):
        read_env(tmp_path / ".env")
    with pytest.raises(EnvMissing, match="cannot be read"):
        read_env(tmp_path)
