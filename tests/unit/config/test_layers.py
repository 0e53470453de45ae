"""The administrator's file beneath the user's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from atl_sign.config.file import SYSTEM_CONFIG, ConfigFile, system_config_path
from atl_sign.config.placeholders import own_names
from atl_sign.config.reading import FileReading, UntrustedConfigError
from atl_sign.config.settings import Settings, parse_settings
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.unit.config.config_lab import problems

ADMINISTRATORS = """\
audit = "required"

[store]
backend = "file"
lock_after_minutes = 60

[links.jira]
url = "https://jira.example.com"
consumer_key = "builds-{user}-{host}"
timeout_s = 60

[links.wiki]
url = "https://wiki.example.com"
consumer_key = "builds"
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    path = tmp_path / "etc/atl-sign/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(ADMINISTRATORS)
    return path


def make_config(tmp_path: Path, system: Path, text: str | None = None) -> ConfigFile:
    path = tmp_path / "home/config.toml"
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_text(text)
    return ConfigFile(path, SCHEME_SETTINGS, system)


def parse_as_users(text: str) -> Settings:
    return parse_settings(text, SCHEME_SETTINGS)


def test_the_administrators_file_counts_where_the_user_has_none(tmp_path: Path, system: Path) -> None:
    """Links and settings; the consumer key is this user's on this machine."""
    config = make_config(tmp_path, system)

    settings = config.settings()

    names = own_names()
    assert [*settings.links.by_name] == ["jira", "wiki"]
    assert settings.links.get("jira").consumer_key == f"builds-{names['user']}-{names['host']}"
    assert (settings.store_backend, settings.audit, settings.lock_after_minutes) == ("file", "required", 60)
    assert settings.problems == ()
    assert config.file_of("jira") == system
    assert config.files() == [system]


def test_the_user_overrides_by_name_and_whole(tmp_path: Path, system: Path) -> None:
    """A link has nothing of the administrator's of that name; a setting leaves its neighbours."""
    text = 'audit = "off"\n[store]\nlock_after_minutes = 5\n[links.jira]\nurl = "https://other"\nconsumer_key = "ann"\n'
    config = make_config(tmp_path, system, text)

    settings = config.settings()

    assert (settings.store_backend, settings.audit, settings.lock_after_minutes) == ("file", "off", 5)
    assert (str(settings.links.get("jira").url), settings.links.get("jira").timeout_s) == ("https://other", 30)
    assert [*settings.links.by_name] == ["jira", "wiki"]
    assert (config.file_of("jira"), config.file_of("wiki")) == (config.path, system)
    assert config.files() == [system, config.path]


@pytest.mark.parametrize("text", ['[links.jira]\nurl = "nonsense"\nconsumer_key = "ann"\n', "[links]\njira = 5\n"])
def test_a_wrong_link_of_the_user_hides_the_administrators(tmp_path: Path, system: Path, text: str) -> None:
    """It was meant to differ: requests do not go to the other address instead."""
    settings = make_config(tmp_path, system, text).settings()

    assert [*settings.links.by_name] == ["wiki"]
    assert settings.problem_of_link("jira") is not None


def test_a_wrong_setting_of_the_user_is_not_replaced_by_the_administrators(tmp_path: Path, system: Path) -> None:
    """The strictest value, as without a second file."""
    settings = make_config(tmp_path, system, "[store]\nlock_after_minutes = 0\n").settings()

    assert settings.lock_after_minutes == 1


def test_problems_name_their_file_and_line(tmp_path: Path, system: Path) -> None:
    """Both files' are told; a wrong link of one costs nothing of the other."""
    system.write_text('[links.bad]\nurl = "htps://x"\nconsumer_key = "k"\n[links.good]\nurl = "https://x"\nconsumer_key = "k"\n')
    config = make_config(tmp_path, system, "\n[links.mine]\n")

    settings = config.settings()

    assert [*settings.links.by_name] == ["good"]
    assert problems(settings) == [
        "config.toml line 2, links.mine: url is missing",
        f"{system} line 1, links.bad: url: the URL is neither http nor https",
    ]
    assert config.remedy(settings.problems[0]) == f"fix {config.path}"
    assert config.remedy(settings.problems[1]) == f"ask the administrator to fix {system}"


def test_a_change_of_either_file_is_noticed(tmp_path: Path, system: Path) -> None:
    """And what did not change is not put together again."""
    config = make_config(tmp_path, system, "")
    before = config.settings()

    assert config.settings() is before
    system.write_text('[links.new]\nurl = "https://x"\nconsumer_key = "k"\n')
    assert [*config.settings().links.by_name] == ["new"]
    config.path.write_text('[links.mine]\nurl = "https://y"\nconsumer_key = "k"\n')
    assert [*config.settings().links.by_name] == ["mine", "new"]
    system.unlink()
    assert [*config.settings().links.by_name] == ["mine"]
    config.path.unlink()
    assert config.settings().links.by_name == {}


def test_a_broken_administrators_file_costs_only_itself(tmp_path: Path, system: Path) -> None:
    """What it said before stays, as with the user's; the user's own links go on."""
    config = make_config(tmp_path, system, '[links.mine]\nurl = "https://y"\nconsumer_key = "k"\n')
    config.settings()
    system.write_text("[links.jira\n")

    settings = config.settings()

    assert [*settings.links.by_name] == ["mine", "jira", "wiki"]
    assert problems(settings) == [f"{system} line 1, file: expected ']' at the end of a table declaration"]
    assert settings.problem_of_file is not None  # the store that it names is not known
    config.path.write_text('[store]\nbackend = "memory"\n')
    assert config.settings().problem_of_file is None  # this one is
    assert len(config.settings().problems) == 1


def test_a_broken_file_of_the_user_leaves_the_administrators(tmp_path: Path, system: Path) -> None:
    """As it stands now, not as it stood."""
    config = make_config(tmp_path, system, "nonsense")

    assert [*config.settings().links.by_name] == ["jira", "wiki"]
    assert config.settings().problem_of_file is not None


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_others_can_write_is_not_read(tmp_path: Path, system: Path, what: str) -> None:
    """Neither the file nor its folder; with the command that helps."""
    (system if what == "file" else system.parent).chmod(0o777)
    config = make_config(tmp_path, system)

    settings = config.settings()

    assert settings.links.by_name == {}
    assert "it is not read while others may" in problems(settings)[0]
    assert "chmod go-w" in problems(settings)[0]
    (system if what == "file" else system.parent).chmod(0o755)
    assert config.settings().problems == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
@pytest.mark.parametrize(
    ("owner", "group", "cause"), [(65534, 0, "does not belong to root: chown root"), (0, 65534, "others may write")]
)
def test_the_users_own_file_is_not_the_administrators(owner: int, group: int, cause: str) -> None:
    """In /etc nobody but root may have written it: neither the user whose daemon this is, nor the user's group."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.unit.config.test_layers import parse_as_users\n"
        "from atl_sign.config.reading import FileReading\n"
        "os.setegid(65534); os.seteuid(65534)\n"
        "for only_root in (True, False):\n"
        "    reading = FileReading(Path(sys.argv[1]), parse_as_users, shown='it', only_root=only_root)\n"
        "    print([str(each) for each in reading.settings().problems])\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        path = Path(folder) / "config.toml"
        path.write_text("")
        path.chmod(0o664)
        os.chown(path, owner, group)

        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)

    refused, taken = done.stdout.splitlines()
    assert cause in refused
    assert taken == "[]"


def test_the_default_place_is_roots_alone(tmp_path: Path) -> None:
    """A place that the user names is the user's too, as with XDG_CONFIG_HOME."""
    assert system_config_path({}) == system_config_path({"ATL_SIGN_SYSTEM_CONFIG": ""}) == SYSTEM_CONFIG
    assert system_config_path({"ATL_SIGN_SYSTEM_CONFIG": "/x/y.toml"}) == Path("/x/y.toml")
    assert ConfigFile(tmp_path / "c", SCHEME_SETTINGS, SYSTEM_CONFIG)._system._only_root  # type: ignore[union-attr]
    assert not ConfigFile(tmp_path / "c", SCHEME_SETTINGS, tmp_path / "s")._system._only_root  # type: ignore[union-attr]


def test_the_administrators_file_is_never_written(tmp_path: Path, system: Path) -> None:
    """A changed link becomes the user's own, whole; without it the administrator's is back."""
    config = make_config(tmp_path, system)
    link = config.settings().links.get("wiki")

    config.put_link(link)
    assert config.file_of("wiki") == config.path
    config.remove_link("wiki")

    assert config.file_of("wiki") == system
    assert system.read_text() == ADMINISTRATORS


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("builds-{team}", "consumer_key: {team} is not a placeholder; there are {user} and {host}"),
        ("builds-{}", "consumer_key: {} is not a placeholder; there are {user} and {host}"),
        ("builds-{user.name}", "consumer_key: {user.name} is not a placeholder; there are {user} and {host}"),
        ("builds-{{user}}", "consumer_key has a brace that is not part of {user} or {host}"),
        ("builds-{user", "consumer_key has a brace that is not part of {user} or {host}"),
        ("builds-user}", "consumer_key has a brace that is not part of {user} or {host}"),
    ],
)
def test_other_words_in_braces_are_refused(tmp_path: Path, system: Path, key: str, cause: str) -> None:
    """By name; the link is left out."""
    system.write_text(f'[links.a]\nurl = "https://x"\nconsumer_key = "{key}"\n')

    settings = make_config(tmp_path, system).settings()

    assert problems(settings) == [f"{system} line 1, links.a: {cause}"]


def test_the_users_own_file_has_no_placeholders(tmp_path: Path, system: Path) -> None:
    """A key that has braces there is taken as it is: it may be one that a provider has."""
    config = make_config(tmp_path, system, '[links.a]\nurl = "https://x"\nconsumer_key = "k-{user}"\n')

    assert config.settings().links.get("a").consumer_key == "k-{user}"


def test_an_untrusted_file_raises_for_those_who_ask(tmp_path: Path, system: Path) -> None:
    """As at a start."""
    system.chmod(0o666)

    with pytest.raises(UntrustedConfigError, match="others may write"):
        FileReading(system, parse_as_users).check_trusted()


def test_the_administrators_vaults_are_beneath_the_users(tmp_path: Path, system: Path) -> None:
    """By name and whole; a wrong one of the user's hides the administrator's."""
    vaults = '[vaults.ci]\naddress = "https://ci"\nnamespace = "builds"\n[vaults.desk]\naddress = "https://desk"\n'
    system.write_text(f'{vaults}[vaults.old]\naddress = "https://old"\n')
    text = '[vaults.desk]\naddress = "https://mine"\n[vaults.old]\naddress = "http://example.com"\n'

    found = make_config(tmp_path, system, text).settings().vaults

    assert {name: (str(vault.address), vault.namespace) for name, vault in found.items()} == {
        "ci": ("https://ci/", "builds"),
        "desk": ("https://mine/", None),
    }
