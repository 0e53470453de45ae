"""`[vaults.NAME]`: each setting, and each wrong one named with its line."""

from pathlib import Path

import pytest

from atl_sign.config.setting import settings_of
from atl_sign.config.settings import Settings, parse_settings
from atl_sign.config.vaults import AUTHS, VaultServer
from atl_sign.schemes.registry import SCHEME_SETTINGS
from tests.unit.config.config_lab import GOOD, problems

ADDRESS = 'address = "https://vault.example.com:8200"'


def parse(*lines: str, name: str = "ci") -> Settings:
    """Return what is read of a file with links, and the vault *name* with *lines*."""
    return parse_settings("\n".join([GOOD, f"[vaults.{name}]", *lines, ""]), SCHEME_SETTINGS)


def vault(*lines: str) -> VaultServer:
    """Return the vault with *lines*, which must be good."""
    settings = parse(*lines)
    assert problems(settings) == []
    return settings.vaults["ci"]


def problem(*lines: str, name: str = "ci") -> str:
    """Return the one problem with *lines*, which costs nothing but the vault."""
    settings = parse(*lines, name=name)
    assert settings.vaults == {}
    assert set(settings.links.by_name) == {"jira", "bamboo"}
    (found,) = problems(settings)
    return found


def test_every_setting() -> None:
    """Each as it is written; there is a test below for each that can be wrong."""
    found = vault(
        ADDRESS,
        'namespace = "teams/build"',
        'ca_bundle = "/etc/vault/ca.pem"',
        'client_cert = "/etc/vault/machine.pem"',
        'server_name = "vault.internal"',
        'auth = "approle"',
        'auth_mount = "ci/machines"',
        'role = "builds"',
        'token_file = "/run/token"',
        'role_id_file = "/etc/vault/role-id"',
        'secret_id_file = "/etc/vault/secret-id"',
        "secret_id_wrapped = true",
        'jwt_file = "/run/jwt"',
    )

    assert found.address is not None
    assert found.address.origin == found.place == "https://vault.example.com:8200"
    assert found.ca_bundle == Path("/etc/vault/ca.pem")
    assert (found.namespace, found.auth, found.auth_mount) == ("teams/build", "approle", "ci/machines")
    assert found.secret_id_wrapped is True
    unset = [name for name in settings_of(VaultServer) if getattr(found, name) is None]
    assert unset == ["socket"]


def test_an_address_is_enough() -> None:
    """The token is in the user's own file then."""
    assert vault(ADDRESS).auth == "token-file"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200", "https://v", "https://192.0.2.1:1/"]
)
def test_addresses(address: str) -> None:
    """Over http nothing leaves the machine."""
    assert vault(f'address = "{address}"').address is not None


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ('"http://vault.example.com:8200"', "address: not https"),
        ('"http://127.0.0.1.example.com"', "address: not https"),
        ('"http://localhost.example.com"', "address: not https"),
        ('"http://192.0.2.1"', "address: not https"),
        ('"https://vault.example.com/v1"', "address: has a path"),
        ('"https://vault.example.com?x=1"', "address: has a path"),
        ('"https://user:canary@vault.example.com"', "address: not an address"),
        ('"vault.example.com:8200"', "address: not an address"),
        ('"https://"', "address: not an address"),
        ('"https://v:99999"', "address: not an address"),
        ('""', "address"),
        ("5", "address: not a text"),
        ('"https://v\\nx"', "address"),
    ],
)
def test_wrong_addresses(value: str, cause: str) -> None:
    """Each is named with the line of its table."""
    found = problem(f"address = {value}")

    line = GOOD.count("\n") + 2
    assert found.startswith(f"config.toml line {line}, vaults.ci: {cause}"), found
    assert "canary" not in found


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('namespace = "a//b"', "namespace: not names with slashes between them"),
        ('namespace = "/a"', "namespace: not names"),
        ('namespace = "a\\r\\nX: y"', "namespace"),
        ("namespace = 5", "namespace: not a text"),
        ('ca_bundle = "ca.pem"', "ca_bundle: "),
        ("ca_bundle = false", "ca_bundle: "),
        ('client_cert = "~/cert.pem"', "client_cert: "),
        ('server_name = "a b"', "server_name: not a host name"),
        ('server_name = "https://v"', "server_name: not a host name"),
        ('auth = "token"', "auth: not one of token-file, approle, jwt, kubernetes, proxy"),
        ("auth = true", "auth: "),
        ('auth_mount = "../sys"', "auth_mount: "),
        ('auth_mount = "a?b"', "auth_mount: not a path with slashes between its names"),
        ('role = "a/b"', "role: not a role's name"),
        ('role = "a b"', "role: not a role's name"),
        ('token_file = "token"', "token_file: "),
        ('role_id_file = "id"', "role_id_file: "),
        ('secret_id_file = "id"', "secret_id_file: "),
        ('secret_id_wrapped = "yes"', "secret_id_wrapped: "),
        ('jwt_file = "jwt"', "jwt_file: "),
        ('token = "canary"', "token: "),
        ('secret_id = "canary"', "secret_id: "),
        ("tls_skip_verify = true", "tls_skip_verify: "),
    ],
)
def test_wrong_values(line: str, cause: str) -> None:
    """The same; a secret that somebody wrote there is not repeated."""
    found = problem(ADDRESS, line)

    assert f", vaults.ci: {cause}" in found, found
    assert "canary" not in found


def test_two_wrong_values() -> None:
    """Both are named."""
    found = problem('namespace = "/"', 'role = "/"')

    assert "namespace: " in found
    assert "role: " in found


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "a vault has either an address or a socket"),
        ([ADDRESS, 'socket = "/run/bao.sock"'], "a vault has either an address or a socket"),
        ([ADDRESS, 'auth = "approle"'], "auth = approle needs role_id_file, secret_id_file"),
        ([ADDRESS, 'auth = "approle"', 'role_id_file = "/x"'], "auth = approle needs secret_id_file"),
        ([ADDRESS, 'auth = "jwt"', 'role = "x"'], "auth = jwt needs jwt_file"),
        ([ADDRESS, 'auth = "jwt"', 'jwt_file = "/x"'], "auth = jwt needs role"),
        ([ADDRESS, 'auth = "kubernetes"'], "auth = kubernetes needs role"),
        ([ADDRESS, 'auth = "proxy"'], "auth = proxy needs a socket, or an address of this machine"),
    ],
)
def test_what_does_not_go_together(lines: list[str], cause: str) -> None:
    """What is missing is named, too."""
    assert problem(*lines).endswith(f", vaults.ci: {cause}")


@pytest.mark.parametrize(
    "lines",
    [
        ['socket = "/run/bao.sock"'],
        ['socket = "/run/bao.sock"', 'auth = "proxy"'],
        ['address = "http://127.0.0.1:8100"', 'auth = "proxy"'],
        [ADDRESS, 'auth = "kubernetes"', 'role = "x"'],
        [ADDRESS, 'auth = "jwt"', 'role = "x"', 'jwt_file = "/x"'],
        [ADDRESS, 'auth = "approle"', 'role_id_file = "/x"', 'secret_id_file = "/y"'],
    ],
)
def test_what_goes_together(lines: list[str]) -> None:
    """Every method, with what it needs and no more."""
    assert vault(*lines).auth in AUTHS


@pytest.mark.parametrize("name", ['"a b"', '""', '"a/b"', '"' + "x" * 65 + '"'])
def test_wrong_names(name: str) -> None:
    """A reference could not name it."""
    assert "a vault's name is 1 to 64 letters, digits, dots, dashes and underscores" in problem(ADDRESS, name=name)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("vaults = 5\n", "config.toml line 1, vaults: vaults is not a table of tables: write [vaults.NAME]"),
        ("[vaults]\n\nci = 5\n", "config.toml line 3, vaults.ci: not a table: write [vaults.ci]"),
        ("[[vaults]]\n", "config.toml line 1, vaults: vaults is not a table of tables"),
    ],
)
def test_what_is_no_table(text: str, cause: str) -> None:
    """The form that is one is in the message."""
    (found,) = problems(parse_settings(text, SCHEME_SETTINGS))

    assert found.startswith(cause)


def test_vaults_are_apart() -> None:
    """A mistake in one costs that one."""
    settings = parse_settings(f'[vaults.one]\n{ADDRESS}\n[vaults.two]\naddress = "x"\n', SCHEME_SETTINGS)

    assert list(settings.vaults) == ["one"]
    assert [each.line for each in settings.problems] == [3]
