"""Files are opened at once, replaced whole or not at all, and locked for a bounded time."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from atl_sign.base.files import locked, open_without_waiting, replace_whole, take_lock


def test_a_pipe_is_opened_at_once(tmp_path: Path) -> None:
    """Nobody writes into it; an ordinary `open` would wait for that."""
    os.mkfifo(tmp_path / "pipe")

    descriptor = open_without_waiting(tmp_path / "pipe", os.O_RDONLY)

    assert os.read(descriptor, 1) == b""
    os.close(descriptor)


def test_a_symbolic_link_is_an_error_unless_it_is_wanted(tmp_path: Path) -> None:
    """ELOOP, as open(2) has it; the twin follows it."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")

    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        open_without_waiting(tmp_path / "link", os.O_RDONLY)

    descriptor = open_without_waiting(tmp_path / "link", os.O_RDONLY, follow=True)
    assert os.read(descriptor, 10) == b"text"
    os.close(descriptor)


def test_a_made_file_is_ours_and_no_child_inherits_it(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask allows, and closed in programs that we start."""
    before = os.umask(0)
    try:
        descriptor = open_without_waiting(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    finally:
        os.umask(before)

    assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("temporary", [None, ".fixed.new"])
def test_a_replaced_file_has_the_new_content_alone(tmp_path: Path, temporary: str | None) -> None:
    """The mode is 0600 also when it was another one, nothing else is left, and the status is that of the file as it is."""
    path = tmp_path / "file"
    path.write_text("the old one, which is longer")
    path.chmod(0o644)

    status = replace_whole(path, b"new", None if temporary is None else tmp_path / temporary)

    assert path.read_bytes() == b"new"
    assert path.stat() == status
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_replaced_and_no_link_followed(tmp_path: Path) -> None:
    """Whatever lies at the temporary name."""
    path, victim, temporary = tmp_path / "file", tmp_path / "victim", tmp_path / ".file.new"
    victim.write_text("untouched")
    temporary.symlink_to(victim)

    replace_whole(path, b"new", temporary)

    assert victim.read_text() == "untouched"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the content goes there."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_whole(path, b"new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_synchronised_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems refuse it; the file is there all the same."""
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    replace_whole(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_lock_is_held_by_one_and_passes_on_when_it_ends(tmp_path: Path) -> None:
    """The second one gives up after its time, or comes in once the first has gone."""
    path = tmp_path / "lock"
    with locked(path, 0) as first, locked(path, 0.02) as second:
        assert (first, second) == (True, False)

    entered = threading.Event()

    def enter() -> None:
        with locked(path, 10) as is_mine:
            assert is_mine
            entered.set()

    with locked(path, 0):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
    thread.join(10)
    assert entered.is_set()


@pytest.mark.parametrize("name", [None, "missing/lock"])
def test_without_a_file_there_is_nobody_to_wait_for(tmp_path: Path, name: str | None) -> None:
    """No folder for it, or none that can be written: the block runs."""
    with locked(None if name is None else tmp_path / name, 10) as is_mine:
        assert is_mine


def test_a_descriptor_that_cannot_be_locked_is_an_error(tmp_path: Path) -> None:
    """It is closed; the twin waits out its time for one that another holds."""
    descriptor = open_without_waiting(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.close(descriptor)

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        take_lock(descriptor, 10)

    began = time.monotonic()
    with locked(tmp_path / "lock", 0):
        other = open_without_waiting(tmp_path / "lock", os.O_RDWR)
        assert not take_lock(other, 0.05)
        os.close(other)
    assert time.monotonic() - began >= 0.05
