"""The configuration file: watched, read as far as it can be used, rewritten whole or not at all."""

import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from atl_sign.base.errors import ConfigBrokenError, ConfigUnwritableError
from atl_sign.config.file import ConfigFile
from atl_sign.config.link_fields import link_from_fields
from atl_sign.config.links import Link
from atl_sign.config.reading import FILE_BYTES_MAX, UntrustedConfigError
from atl_sign.config.settings import ConfigProblem, parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.unit.config.config_lab import BROKEN, GOOD, problems


def make(url: str = "https://new", name: str = "new", **settings: object) -> Link:
    return link_from_fields(name, {"url": url, "consumer_key": "ann", **settings}, SCHEME_SETTINGS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


@pytest.fixture
def written(path: Path) -> Path:
    path.parent.mkdir()
    path.write_text(GOOD)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# reading


def test_no_file_is_no_link_and_no_problem(path: Path) -> None:
    """Nobody has to write one first."""
    settings = ConfigFile(path, SCHEME_SETTINGS).settings()

    assert not settings.links.by_name
    assert settings.store_backend is None
    assert settings.problems == ()


def test_a_file_gives_its_links_and_its_store(written: Path) -> None:
    """Every setting comes out as its type; what is left out is the default."""
    settings = ConfigFile(written, SCHEME_SETTINGS).settings()

    assert list(settings.links.by_name) == ["jira", "bamboo"]
    assert str(settings.links.get("jira").url) == "https://h/jira"
    assert settings.links.get("jira").timeout_s == 60.0
    assert settings.links.get("bamboo").timeout_s == 30.0
    assert settings.store_backend == "memory"
    assert settings.problems == ()


@pytest.mark.parametrize("text", ["\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), ("\ufeff" + GOOD).replace("\n", "\r\n")])
def test_files_of_other_editors_are_read(path: Path, text: str) -> None:
    """A byte order mark and Windows' line ends change nothing."""
    path.parent.mkdir()
    path.write_bytes(text.encode())

    settings = ConfigFile(path, SCHEME_SETTINGS).settings()

    assert list(settings.links.by_name) == ["jira", "bamboo"]
    assert settings.problems == ()


@pytest.mark.parametrize(("broken", "line", "cause"), BROKEN)
def test_the_last_good_reading_stays_in_force(written: Path, broken: str, line: int | None, cause: str) -> None:
    """Links, store and all; the problem stands before those that were there, and goes with its cause."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    written.write_text(f"{GOOD}proxi = 1\n")
    before = config.settings()
    assert (list(before.links.by_name), before.problem_of_file) == (["jira"], None)

    written.write_text(f"{GOOD}\n{broken}")
    during = config.settings()

    assert (during.links, during.store_backend) == (before.links, "memory")
    assert during.problems == (during.problem_of_file, *before.problems)
    assert during.problem_of_file is not None
    assert cause in during.problem_of_file.cause.lower()
    assert config.settings() is during  # and is not read for each request
    written.write_text(GOOD)
    assert list(config.settings().links.by_name) == ["jira", "bamboo"]
    assert config.settings().problems == ()


def test_at_a_start_with_a_broken_file_there_is_nothing_to_go_on_with(written: Path) -> None:
    """No link is made of parts of it; the first good reading gives them all."""
    written.write_text(f"{GOOD}nonsense\n")
    config = ConfigFile(written, SCHEME_SETTINGS)

    assert config.settings().links.by_name == {}
    assert config.settings().store_backend is None
    assert problems(config.settings()) == ["config.toml line 16, file: expected '=' after a key in a key/value pair"]
    written.write_text(GOOD)
    assert list(config.settings().links.by_name) == ["jira", "bamboo"]


@pytest.mark.parametrize("content", [b"\xff", b"#" * (FILE_BYTES_MAX + 1), None])
def test_a_file_that_cannot_be_read_changes_nothing(written: Path, content: bytes | None) -> None:
    """Not UTF-8, too large, or no file at all: what it said goes on. The twin: a file that is gone says that there is no link."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    before = config.settings()

    written.unlink()
    if content is None:
        written.mkdir()
    else:
        written.write_bytes(content)

    assert config.settings().links is before.links
    assert config.settings().problem_of_file is not None
    written.rmdir() if content is None else written.unlink()
    assert (config.settings().links.by_name, config.settings().problems) == ({}, ())
    written.write_text("nonsense\n")
    assert config.settings().links.by_name == {}  # what it said before it went is over


def test_a_file_that_is_not_utf_8_is_named(path: Path) -> None:
    """The byte, so that an editor finds it."""
    path.parent.mkdir()
    path.write_bytes(b'[links.a]\nurl = "https://\xff"\n')

    settings = ConfigFile(path, SCHEME_SETTINGS).settings()

    assert settings.problems == (ConfigProblem(None, "file", "byte 25 is not UTF-8"),)
    assert str(settings.problems[0]) == "config.toml, file: byte 25 is not UTF-8"


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("folder", "Is a directory"),
        ("pipe", "it is not a regular file"),
        ("loop", "symbolic links"),
        ("file-above", "Not a directory"),
    ],
)
def test_something_else_in_its_place_is_named(path: Path, kind: str, cause: str) -> None:
    """No exception, no waiting for a pipe's other end, and nothing is written over it."""
    if kind == "file-above":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    config = ConfigFile(path, SCHEME_SETTINGS)

    settings = config.settings()

    assert [problem.part for problem in settings.problems] == ["file"]
    assert cause in settings.problems[0].cause
    with pytest.raises(ConfigBrokenError, match=cause) as refused:
        config.put_link(make())
    assert str(path) in str(refused.value.hint)


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    """The daemon would read it for seconds, and for gigabytes, before it answered anybody."""
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    config = ConfigFile(path, SCHEME_SETTINGS)

    assert problems(config.settings()) == ["config.toml, file: it is larger than 4 MiB"]
    with pytest.raises(ConfigBrokenError, match="it is larger than 4 MiB"):
        config.put_link(make())
    path.write_text("#" * FILE_BYTES_MAX)
    assert config.settings().problems == ()


def test_ten_thousand_links_with_every_setting_are_not_too_large() -> None:
    """What the design promises fits, at a length that settings have."""
    text = (
        '[links.link00000]\nurl = "https://bitbucket-00000.example.com/bitbucket"\nconsumer_key = "atl-sign-ann-desk00000"\n'
        'signing_url = "http://inner-00000.example.com:7990/bitbucket"\nca_bundle = "/etc/ssl/private/authorities-00000.pem"\n'
        'client_cert = "/etc/ssl/private/ann-00000.pem"\nproxy = "http://proxy-00000.example.com:3128"\n'
        "timeout_s = 60\n\n"
    )

    assert parse_settings(text, SCHEME_SETTINGS).problems == ()
    assert 10_000 * len(text) < FILE_BYTES_MAX


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_unreadable_file_is_named_until_it_can_be_read() -> None:
    """Permissions bind only another user than root; making it readable is noticed though nothing else changes."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    written = folder / "config.toml"
    written.write_text(GOOD)
    written.chmod(0o600)
    script = (
        "import os, sys; from pathlib import Path; from atl_sign.config.file import ConfigFile\n"
        "from atl_sign.schemes.registry import SCHEME_SETTINGS\n"
        "config = ConfigFile(Path(sys.argv[1]), SCHEME_SETTINGS)\n"
        "os.seteuid(65534); print([str(problem) for problem in config.settings().problems])\n"
        "os.seteuid(0); os.chmod(sys.argv[1], 0o644)\n"
        "os.seteuid(65534); print(list(config.settings().links.by_name))\n"
    )

    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(written)], capture_output=True, text=True, timeout=30, check=True
        )
    finally:
        shutil.rmtree(folder)

    assert done.stdout.splitlines() == ["['config.toml, file: Permission denied']", "['jira', 'bamboo']"]


def test_a_file_that_goes_while_it_is_opened_is_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and reading somebody can remove it: the state without a file is as good."""
    path.parent.mkdir()
    path.write_text(GOOD)
    config = ConfigFile(path, SCHEME_SETTINGS)
    look = os.stat

    def look_and_remove(name: str, **kwargs: bool) -> os.stat_result:
        found = look(name, **kwargs)
        if name == str(path):  # and nothing else: everything is looked at by this
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "stat", look_and_remove)

    settings = config.settings()

    monkeypatch.undo()
    assert not path.exists()
    assert settings.links.by_name == {}
    assert settings.problems == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (lambda path: path.chmod(0o646), "others may write "),
        (lambda path: subprocess.run(["sh", "-c", f"chgrp 100 {path} && chmod 664 {path}"], check=True), "others may write "),
        (lambda path: os.chown(path, 65534, 65534), "belongs to another user"),
        (lambda path: path.parent.chmod(0o777), "others may rename what is in "),
        (lambda path: path.parent.parent.chmod(0o777), "others may rename what is in "),
        (lambda path: os.chown(path.parent, 65534, 65534), "others may rename what is in "),
    ],
)
def test_a_file_that_others_can_change_is_refused(written: Path, spoil: Callable[[Path], object], cause: str) -> None:
    """What it said while only we could write it goes on, neither reading nor writing obeys it, and the remedy is named."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    before = config.settings()
    config.check_trusted()
    assert set(before.links.by_name) == {"jira", "bamboo"}

    written.write_text('[links.jira]\nurl = "https://h/jira"\nconsumer_key = "ann"\nproxy = "http://evil.example:3128"\n')
    spoil(written)

    after = config.settings()
    assert after.links is before.links
    (problem,) = after.problems
    assert cause in problem.cause
    with pytest.raises(UntrustedConfigError, match=cause):
        config.check_trusted()
    with pytest.raises(ConfigBrokenError, match=cause):
        config.put_link(make())
    assert "evil" in written.read_text()
    assert ConfigFile(written, SCHEME_SETTINGS).settings().links.by_name == {}  # at a start there is nothing to go on with
    os.chown(written.parent, 0, 0)
    os.chown(written, 0, 0)
    for each in (written, written.parent, written.parent.parent):
        each.chmod(0o700)
    assert config.settings().links.by_name["jira"].proxy == "http://evil.example:3128"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_ones_own_group_and_one_behind_a_link_are_taken(written: Path, tmp_path: Path) -> None:
    """People keep such files elsewhere, with the umask 002 of Debian's private groups; another user's link is refused."""
    kept = tmp_path / "dotfiles/config.toml"
    kept.parent.mkdir(mode=0o775)
    written.rename(kept)
    written.symlink_to("../dotfiles/config.toml")
    kept.chmod(0o664)
    assert set(ConfigFile(written, SCHEME_SETTINGS).settings().links.by_name) == {"jira", "bamboo"}
    ConfigFile(written, SCHEME_SETTINGS).put_link(make())
    assert written.is_symlink()

    os.chown(written, 65534, 65534, follow_symlinks=False)

    assert "another user's symbolic link" in ConfigFile(written, SCHEME_SETTINGS).settings().problems[0].cause


# watching


def test_a_change_is_noticed_at_the_next_call(written: Path) -> None:
    """Edited in place, replaced, removed: the next answer is the new one."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    assert len(config.settings().links.by_name) == 2

    with written.open("a") as file:
        file.write('[links.third]\nurl = "https://three"\nconsumer_key = "k"\n')
    assert len(config.settings().links.by_name) == 3

    other = written.with_name("other")
    other.write_text("")
    other.replace(written)
    assert len(config.settings().links.by_name) == 0

    written.unlink()
    assert config.settings().problems == ()


def test_an_unchanged_file_is_not_read_again(written: Path) -> None:
    """The very same object comes back; a touched file gives a new one."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    first = config.settings()

    assert config.settings() is first
    assert config.settings() is first
    os.utime(written, (1, 1))
    assert config.settings() is not first


def test_a_broken_file_that_is_mended_works_again(written: Path) -> None:
    """No restart."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    written.write_text("nonsense\n")
    assert config.settings().problems

    written.write_text(GOOD)

    assert config.settings().problems == ()


# writing


def test_a_new_link_comes_at_the_end_and_nothing_else_changes(written: Path) -> None:
    """Every comment, blank line and the order stay to the byte."""
    ConfigFile(written, SCHEME_SETTINGS).put_link(make(proxy="http://p:3128", timeout_s=2.5))

    added = '\n[links.new]\nurl = "https://new"\nconsumer_key = "ann"\nproxy = "http://p:3128"\ntimeout_s = 2.5\n'
    assert written.read_text() == GOOD + added


def test_the_first_link_makes_file_and_folder_for_us_alone(tmp_path: Path) -> None:
    """0700 and 0600 from the beginning, whatever the umask."""
    path = tmp_path / "a" / "b" / "config.toml"
    before = os.umask(0)
    try:
        ConfigFile(path, SCHEME_SETTINGS).put_link(make())
    finally:
        os.umask(before)

    assert path.read_text() == '[links.new]\nurl = "https://new"\nconsumer_key = "ann"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert names(path.parent) == {"config.toml"}


def test_a_changed_link_keeps_its_place_and_its_comments(written: Path) -> None:
    """Settings change where they stand; new ones come after the last one, before the next table's comment."""
    config = ConfigFile(written, SCHEME_SETTINGS)

    config.put_link(make("https://h2/jira", "jira", signing_url="http://inner:8080"))

    assert written.read_text() == GOOD.replace(
        'url = "https://h/jira"  # with the context path\nconsumer_key = "ann"\ntimeout_s = 60\n',
        'url = "https://h2/jira"  # with the context path\nconsumer_key = "ann"\nsigning_url = "http://inner:8080"\n',
    )
    assert config.settings().links.get("jira").url.host == "h2"


def test_writing_the_same_again_changes_nothing(written: Path) -> None:
    """Not even the file's time."""
    config = ConfigFile(written, SCHEME_SETTINGS)
    before = written.stat()

    config.put_link(config.settings().links.get("jira"))
    config.remove_link("nobody")

    after = written.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_removed_link_leaves_the_next_ones_comments(written: Path) -> None:
    """Its own settings go; what people wrote below them may speak of the next table."""
    config = ConfigFile(written, SCHEME_SETTINGS)

    config.remove_link("jira")

    expected = GOOD.replace(
        '[links.jira]\nurl = "https://h/jira"  # with the context path\nconsumer_key = "ann"\ntimeout_s = 60\n\n', ""
    )
    assert written.read_text() == expected
    config.remove_link("bamboo")
    assert written.read_text() == expected[: expected.index("[links.bamboo]")]
    assert not config.settings().links.by_name
    assert config.settings().problems == ()


def test_comments_at_the_end_stay_when_the_last_link_goes(path: Path) -> None:
    """A commented-out link below the removed one is still somebody's work."""
    path.parent.mkdir()
    path.write_text('[links.a]\nurl = "https://a"\nconsumer_key = "k"\n\n# [links.later]\n# url = "https://l"\n')

    ConfigFile(path, SCHEME_SETTINGS).remove_link("a")

    assert path.read_text() == '# [links.later]\n# url = "https://l"\n'


def test_the_only_link_can_go(path: Path) -> None:
    """An empty file stays, not a broken one."""
    config = ConfigFile(path, SCHEME_SETTINGS)
    config.put_link(make())

    config.remove_link("new")

    assert path.read_text() == ""
    config.put_link(make())
    assert list(config.settings().links.by_name) == ["new"]


LINES_A, LINES_B = 'url = "https://a"\nconsumer_key = "k"\n', 'url = "https://b"\nconsumer_key = "k"\n'
A, B = '{url = "https://a", consumer_key = "k"}', '{url = "https://b", consumer_key = "k"}'


@pytest.mark.parametrize(
    "text",
    [
        f"[links]\na = {A}\nb = {B}\n",
        f"links = {{a = {A}, b = {B}}}\n",
        'links.a.url = "https://a"\nlinks.a.consumer_key = "k"\nlinks.b.url = "https://b"\nlinks.b.consumer_key = "k"\n',
        f'[links.a]\n{LINES_A}[store]\nbackend = "memory"\n[links.b]\n{LINES_B}',
        f'[links]\n[links.a]\n{LINES_A}  [ links . "b" ]\n  url = "https://b"\n  consumer_key = "k"',
    ],
    ids=["inline", "all-inline", "dotted", "apart", "indented"],
)
@pytest.mark.parametrize("change", ["put-new", "put-a", "put-b", "remove-a", "remove-b"])
def test_other_ways_to_write_links_are_changed_rightly_or_not_at_all(path: Path, text: str, change: str) -> None:
    """TOML has many forms: what comes out means exactly what was asked for, else the file stays and the answer says so."""
    path.parent.mkdir()
    path.write_text(text)
    config = ConfigFile(path, SCHEME_SETTINGS)
    before = config.settings()
    wanted = dict(before.links.by_name)
    verb, _, name = change.partition("-")
    link = make("https://changed", name, proxy="http://p:1", timeout_s=7)
    if verb == "put":
        wanted[name] = link
    else:
        del wanted[name]

    try:
        if verb == "put":
            config.put_link(link)
        else:
            config.remove_link(name)
    except ConfigBrokenError:
        assert path.read_text() == text
        assert (change, "links = {" in text) == ("put-new", True)
        return

    after = config.settings()
    assert dict(after.links.by_name) == wanted
    assert after.problems == ()
    assert after.store_backend == before.store_backend


def test_a_broken_link_is_mended_by_putting_it_anew(path: Path) -> None:
    """What PUT leaves out goes: also settings that there are not."""
    path.parent.mkdir()
    path.write_text('[links.new]\nurl = "htps://x"\nproxi = "typo"\nproxy = "http://old:1"\n')
    config = ConfigFile(path, SCHEME_SETTINGS)
    assert config.settings().problem_of_link("new") is not None

    config.put_link(make())

    assert path.read_text() == '[links.new]\nurl = "https://new"\nconsumer_key = "ann"\n'
    assert config.settings().problems == ()


@pytest.mark.parametrize("text", ["links = 5\n", "[links]\nnew = 5\n", "[[links]]\n", "[[links.new]]\n"])
def test_links_of_another_kind_are_not_written_over(path: Path, text: str) -> None:
    """Somebody meant something; the answer names line and cause."""
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(ConfigBrokenError, match=r"config.toml line [12], links"):
        ConfigFile(path, SCHEME_SETTINGS).put_link(make())

    assert path.read_text() == text


@pytest.mark.parametrize("content", [b"nonsense\n", b'[links.a]\nurl = "\xff"\n', (GOOD + "[links.jira]\n").encode()])
@pytest.mark.parametrize("verb", ["put", "remove"])
def test_a_broken_file_is_never_rewritten(path: Path, content: bytes, verb: str) -> None:
    """What a person wrote stays to the byte; the answer says which line to mend."""
    path.parent.mkdir()
    path.write_bytes(content)
    config = ConfigFile(path, SCHEME_SETTINGS)

    change = partial(config.put_link, make()) if verb == "put" else partial(config.remove_link, "jira")

    with pytest.raises(ConfigBrokenError, match=r"config.toml( line \d+)?, ") as refused:
        change()

    assert path.read_bytes() == content
    assert names(path.parent) == {"config.toml"}
    assert refused.value.hint == f"fix {path} by hand, then try again; nothing was changed"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_stay(path: Path, mark: str) -> None:
    """The editor that wrote them reads them again."""
    path.parent.mkdir()
    path.write_bytes((mark + GOOD).replace("\n", "\r\n").encode())

    ConfigFile(path, SCHEME_SETTINGS).put_link(make())

    content = path.read_bytes().decode()
    assert content == (mark + GOOD).replace("\n", "\r\n") + '\r\n[links.new]\r\nurl = "https://new"\r\nconsumer_key = "ann"\r\n'


def test_a_symbolic_link_stays_one(tmp_path: Path, path: Path) -> None:
    """Dotfiles kept elsewhere: the file behind the link changes, in its own folder."""
    real = tmp_path / "dotfiles" / "atl-sign.toml"
    real.parent.mkdir()
    real.write_text(GOOD)
    path.parent.mkdir()
    path.symlink_to(real)
    config = ConfigFile(path, SCHEME_SETTINGS)

    config.put_link(make())

    assert path.is_symlink()
    assert not real.is_symlink()
    assert "[links.new]" in real.read_text()
    assert "new" in config.settings().links.by_name


def test_a_link_to_nothing_gets_its_file(tmp_path: Path, path: Path) -> None:
    """The first run of a person whose dotfiles are not there yet."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "later.toml")
    config = ConfigFile(path, SCHEME_SETTINGS)
    assert config.settings().problems == ()

    config.put_link(make())

    assert path.is_symlink()
    assert (tmp_path / "later.toml").exists()


def test_many_threads_lose_no_link(path: Path) -> None:
    """Each change reads what the one before wrote."""
    config = ConfigFile(path, SCHEME_SETTINGS)
    threads = [threading.Thread(target=config.put_link, args=(make(name=f"link{number}"),)) for number in range(20)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(config.settings().links.by_name) == 20


# failing to write


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount a file system of its own over *folder*; skips where that is not allowed."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not possible here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_changes_nothing(path: Path) -> None:
    """The old file stands, no half-written one beside it, and the words say why."""
    path.parent.mkdir()
    with mounted(path.parent, "size=16k"):
        path.write_text(GOOD)
        with contextlib.suppress(OSError), (path.parent / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 1024)
        before = names(path.parent)

        with pytest.raises(ConfigUnwritableError, match="No space left on device") as refused:
            ConfigFile(path, SCHEME_SETTINGS).put_link(make())

        assert path.read_text() == GOOD
        assert names(path.parent) == before
        assert refused.value.hint == "make room or fix the permissions; nothing was changed"
        (path.parent / "filler").unlink()
        ConfigFile(path, SCHEME_SETTINGS).put_link(make())
        assert "[links.new]" in path.read_text()


def test_a_read_only_folder_changes_nothing(path: Path) -> None:
    """As on a system whose home is read-only."""
    path.parent.mkdir()
    with mounted(path.parent, "size=64k"):
        path.write_text(GOOD)
        subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)

        with pytest.raises(ConfigUnwritableError, match="Read-only file system"):
            ConfigFile(path, SCHEME_SETTINGS).remove_link("jira")

        assert path.read_text() == GOOD


def test_a_file_does_not_grow_too_large_to_be_read_again(path: Path) -> None:
    """The link that would be one too many is refused, and the others work on."""
    path.parent.mkdir()
    text = GOOD + "#" * (FILE_BYTES_MAX - len(GOOD) - 20) + "\n"
    path.write_text(text)
    config = ConfigFile(path, SCHEME_SETTINGS)

    with pytest.raises(ConfigUnwritableError, match="with this it is larger than 4 MiB"):
        config.put_link(make())

    assert path.read_text() == text
    assert "jira" in config.settings().links.by_name


@pytest.mark.parametrize("verb", ["put", "remove"])
@pytest.mark.parametrize("text", [".".join(["a"] * 2000) + " = 1\n", "[links.jira]\nx" + ".a" * 2000 + " = 1\n"])
def test_a_file_that_is_too_deep_to_compare_is_left_as_it_is(path: Path, text: str, verb: str) -> None:
    """Python runs out of calls in calls; the answer says so, and where TOML itself is at fault it would name the line."""
    path.parent.mkdir()
    path.write_text(f"{GOOD.replace('jira', 'other')}\n{text}")
    before = path.read_text()
    config = ConfigFile(path, SCHEME_SETTINGS)

    with pytest.raises(ConfigBrokenError, match=r"^config\.toml is nested too deeply to be changed from here"):
        config.put_link(make()) if verb == "put" else config.remove_link("other")

    assert path.read_text() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A link to nowhere below a file: there is no file, and none can come."""
    (tmp_path / "occupied").write_text("")
    path = tmp_path / "config.toml"
    path.symlink_to(tmp_path / "missing" / "config.toml")
    (tmp_path / "missing").symlink_to("/proc/nowhere")

    with pytest.raises(ConfigUnwritableError, match=f"{path} cannot be written"):
        ConfigFile(path, SCHEME_SETTINGS).put_link(make())


def test_kill_9_at_any_moment_leaves_the_old_or_the_new(path: Path) -> None:
    """A program that does nothing but write is killed again and again."""
    script = (
        "import sys; from pathlib import Path; from atl_sign.config.file import ConfigFile\n"
        "from atl_sign.config.link_fields import link_from_fields; from atl_sign.schemes.registry import SCHEME_SETTINGS\n"
        "config = ConfigFile(Path(sys.argv[1]), SCHEME_SETTINGS)\n"
        "links = [link_from_fields('a', {'url': f'https://{n}', 'consumer_key': 'k' * 200}, SCHEME_SETTINGS)\n"
        "         for n in ('one', 'two')]\n"
        "config.put_link(links[0]); print('ready', flush=True)\n"
        "while True:\n"
        "    for link in links: config.put_link(link)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    chance = random.Random(1)
    seen = set()
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + chance.random() * 0.05
            while time.monotonic() < deadline:
                host = ConfigFile(path, SCHEME_SETTINGS).settings().links.get("a").url.host  # a reader never sees a part of it
                assert host in ("one", "two")
            process.send_signal(signal.SIGKILL)
            process.wait()

        settings = ConfigFile(path, SCHEME_SETTINGS).settings()

        assert settings.problems == ()
        seen.add(settings.links.get("a").url.host)
        assert len(settings.links.get("a").consumer_key) == 200
    assert seen <= {"one", "two"}
    ConfigFile(path, SCHEME_SETTINGS).put_link(make())  # what a killed one left behind does not disturb
    assert "new" in ConfigFile(path, SCHEME_SETTINGS).settings().links.by_name
