"""A vault as operators run it: sealed, restarted, behind TLS with a CA of its own, and with an audit log."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path
from resource import RLIMIT_FSIZE, prlimit

import pytest

from atl_sign.base.credentials import Secret
from atl_sign.base.errors import KeyUnavailableError, StoreUnavailableError
from atl_sign.base.urls import parse_url
from atl_sign.custody.keys.transit import TransitPlace
from atl_sign.custody.stores.kv import KvStore
from atl_sign.custody.vaults.client import VaultClient
from tests.openbao import RaftBao
from tests.unit.raw_server import make_certificate
from tests.vault.conftest import Lab
from tests.vault.test_client import BACKEND, CANARY, ITEM, KEY, refusal

MOUNT = "sys/internal/ui/mounts/secret"


@pytest.fixture
def unsealed(raft_bao: RaftBao) -> Iterator[RaftBao]:
    """The server, which is unsealed again after the test."""
    yield raft_bao
    raft_bao.unseal()


def client_with(lab: Lab, address: str | None = None, **settings: object) -> VaultClient:
    """Return the machine's client with other *settings*."""
    if address is not None:
        settings["address"] = parse_url(address)
    lab.servers["ci"] = lab.server(**settings)
    return lab.vaults.client("ci")


def test_a_sealed_vault(raft_lab: Lab, unsealed: RaftBao) -> None:
    """Is no locked store: this machine's user cannot open it. What was there is there when its operators have unsealed it."""
    raft_lab.make_key()
    key = TransitPlace(raft_lab.vaults).find(KEY)
    store = KvStore(BACKEND, raft_lab.vaults)
    store.write("token:jira", Secret(CANARY))
    client = raft_lab.vaults.client("ci")
    assert client.health(3.0) is None
    unsealed.seal()

    with pytest.raises(StoreUnavailableError, match="the vault ci is sealed") as read:
        store.read("token:jira")
    with pytest.raises(StoreUnavailableError, match="is sealed"):
        store.write("token:jira", Secret("two"))
    with pytest.raises(KeyUnavailableError, match="the vault ci is sealed") as signed:
        key.sign_sha1(b"message")

    assert read.value.hint == signed.value.hint == "its operators must unseal it"
    assert (store.state(), key.state()) == ("unavailable", "unavailable")
    sealed = client.health(3.0)
    assert sealed is not None
    assert (sealed.message, sealed.hint) == ("the vault ci is sealed", "its operators must unseal it")
    unsealed.unseal()
    item = store.read("token:jira")
    assert item is not None
    assert item.value.reveal() == CANARY
    key.sign_sha1(b"message")
    assert client.health(3.0) is None


def test_a_login_at_a_sealed_vault(raft_lab: Lab, unsealed: RaftBao) -> None:
    """Is not refused for good: the login is as good as before."""
    raft_lab.space.call("POST", "sys/auth/approle", {"type": "approle"})
    for name in ("role", "secret"):
        raft_lab.space.token_file(raft_lab.folder / name, "anything")
    role, secret = raft_lab.folder / "role", raft_lab.folder / "secret"
    client = client_with(raft_lab, auth="approle", role_id_file=role, secret_id_file=secret)
    unsealed.seal()

    error = refusal(client)

    assert (error.kind, error.message, error.hint) == ("unavailable", "the vault ci is sealed", "its operators must unseal it")


def test_a_restarted_vault(raft_lab: Lab, unsealed: RaftBao) -> None:
    """Kept connections are dead, and the login lives on: after the unsealing everything goes on by itself."""
    raft_lab.make_key()
    key = TransitPlace(raft_lab.vaults).find(KEY)
    store = KvStore(BACKEND, raft_lab.vaults)
    store.write("token:jira", Secret("one"))
    unsealed.restart()

    with pytest.raises(StoreUnavailableError, match="is sealed"):
        store.read("token:jira")
    unsealed.unseal()

    assert store.read("token:jira") is not None
    key.sign_sha1(b"message")


def test_a_certificate_of_another_authority(raft_lab: Lab, raft_bao: RaftBao, tmp_path: Path) -> None:
    """Is refused before the token goes out; with the vault's own authority it works, and with the system's it does not."""
    wrong = make_certificate(tmp_path, "wrong")
    for bundle in (wrong, None):
        error = refusal(client_with(raft_lab, ca_bundle=bundle))
        assert (error.kind, error.was_sent) == ("unavailable", False)
        assert "its TLS certificate is not trusted (" in error.message
        assert error.hint == "set ca_bundle of [vaults.ci] to its CA certificates, or correct its address"

    assert client_with(raft_lab, ca_bundle=raft_bao.ca).call("GET", MOUNT, timeout_s=3.0).status == 200


def test_what_the_environment_says_of_authorities(raft_lab: Lab, raft_bao: RaftBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as for a link, for a vault without a bundle of its own; what is meant for other programs does not."""
    for name in ("VAULT_CACERT", "BAO_CACERT"):
        monkeypatch.setenv(name, str(raft_bao.ca))
    for name in ("VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"):
        monkeypatch.setenv(name, "true")
    assert "is not trusted" in refusal(client_with(raft_lab, ca_bundle=None)).message
    monkeypatch.setenv("SSL_CERT_FILE", str(raft_bao.named_ca))
    assert client_with(raft_lab).call("GET", MOUNT, timeout_s=3.0).status == 200

    monkeypatch.setenv("SSL_CERT_FILE", str(raft_bao.ca))

    assert client_with(raft_lab, ca_bundle=None).call("GET", MOUNT, timeout_s=3.0).status == 200


@pytest.mark.parametrize("content", ["", "no certificate", None])
def test_a_bundle_that_is_none(raft_lab: Lab, tmp_path: Path, content: str | None) -> None:
    """Named, with its setting."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)

    error = refusal(client_with(raft_lab, ca_bundle=bundle))

    assert error.message == f"the certificates for the vault ci cannot be used: {bundle}"
    assert error.hint == "correct ca_bundle and client_cert of [vaults.ci]"


def test_http_to_the_tls_port(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """The vault says so, in words and not in JSON."""
    error = refusal(client_with(raft_lab, raft_bao.address.replace("https", "http")))

    assert error.message == f"the vault ci at http://127.0.0.1:{raft_bao.port} speaks TLS"
    assert error.hint == "write https in the address of [vaults.ci]"


def test_https_to_the_plain_port(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """TLS fails before anything is sent."""
    address = raft_bao.plain_address.replace("http", "https")

    error = refusal(client_with(raft_lab, address))

    assert error.message == f"the vault ci at {address} cannot be reached: TLS failed"
    assert not error.was_sent
    assert client_with(raft_lab, raft_bao.plain_address).call("GET", MOUNT, timeout_s=3.0).status == 200


def test_a_client_certificate(raft_lab: Lab, raft_bao: RaftBao, tmp_path: Path) -> None:
    """The one that the vault takes; none and another one are refused with the setting's name."""
    address = raft_bao.mutual_address
    for certificate in (None, make_certificate(tmp_path, "another")):
        error = refusal(client_with(raft_lab, address, client_cert=certificate))
        assert error.kind == "unavailable"
        assert error.hint is not None
        assert "client_cert" in error.hint, error.message

    good = client_with(raft_lab, address, client_cert=raft_bao.machine_certificate)
    assert good.call("GET", MOUNT, timeout_s=3.0).status == 200


@pytest.mark.parametrize("kind", ["encrypted", "absent", "without a key"])
def test_a_client_certificate_that_cannot_be_used(raft_lab: Lab, raft_bao: RaftBao, tmp_path: Path, kind: str) -> None:
    """Nobody is asked for a passphrase: a daemon has no terminal."""
    path = make_certificate(tmp_path, "machine", password=b"canary passphrase")
    if kind == "absent":
        path.unlink()
    elif kind == "without a key":
        path.write_text(path.read_text().partition("-----BEGIN ENCRYPTED")[0])

    error = refusal(client_with(raft_lab, raft_bao.mutual_address, client_cert=path))

    assert error.message == f"the certificates for the vault ci cannot be used: {raft_bao.ca} or {path}"
    assert not error.was_sent


def test_the_name_in_the_certificate(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """If it is not that of the address, it is a setting; a wrong one is refused."""
    address, bundle = raft_bao.named_address, raft_bao.named_ca

    for name in (None, "other.internal"):
        error = refusal(client_with(raft_lab, address, ca_bundle=bundle, server_name=name))
        assert "is not trusted" in error.message

    good = client_with(raft_lab, address, ca_bundle=bundle, server_name=raft_bao.NAME)
    assert good.call("GET", MOUNT, timeout_s=3.0).status == 200


def test_the_audit_log_has_no_secret(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """Neither token nor item, nor the digest that was signed: the log shows what was done, and nothing to do it with."""
    raft_lab.make_key()
    key = TransitPlace(raft_lab.vaults).find(KEY)
    store = KvStore(BACKEND, raft_lab.vaults)
    store.write("token:jira", Secret(CANARY))
    assert store.read("token:jira") is not None
    key.sign_sha1(b"canary-base-string")

    log = raft_bao.audit_log.read_text()

    assert f"{ITEM.replace('%3A', ':')}" in log
    assert "transit/sign/atl-sign/sha1" in log
    digest = sha1(b"canary-base-string").digest()
    for secret in (raft_lab.token, CANARY, "canary-base-string", b64encode(digest).decode(), digest.hex()):
        assert secret not in log


def test_a_vault_that_cannot_write_its_audit_log(raft_lab: Lab, raft_bao: RaftBao) -> None:
    """Answers nothing any more, and says only that it failed: the hint names the likely reason."""
    client = client_with(raft_lab)
    assert client.call("GET", MOUNT, timeout_s=3.0).status == 200
    assert raft_bao.process is not None
    limit = _file_limit(raft_bao.process.pid, raft_bao.audit_log.stat().st_size)
    try:
        error = refusal(client, path=MOUNT)
    finally:
        _file_limit(raft_bao.process.pid, limit)

    assert error.kind == "unavailable"
    assert error.message.startswith(f"the vault ci failed at {MOUNT} (status 500): ")
    assert error.hint == "ask its operators: it answers so when its audit device fails, too"
    assert client.call("GET", MOUNT, timeout_s=3.0).status == 200


def _file_limit(pid: int, size: int) -> int:
    """Let the process *pid* make no file longer than *size* bytes; returns what it was."""
    old, most = prlimit(pid, RLIMIT_FSIZE)
    prlimit(pid, RLIMIT_FSIZE, (size, most))
    return old
