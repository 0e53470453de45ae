"""A vault: a server of OpenBao or HashiCorp Vault that keeps keys and tokens for many machines, and how to get in there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from atl_sign.base.errors import BadFieldsError, BadUrlError
from atl_sign.base.urls import Url, parse_url
from atl_sign.config.setting import AbsolutePath, Choice, Switch, Text, read_line, setting

Auth = Literal["token-file", "approle", "jwt", "kubernetes", "proxy"]
AUTHS: tuple[Auth, ...] = ("token-file", "approle", "jwt", "kubernetes", "proxy")
KUBERNETES_JWT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # no ".." among them
_SEGMENTS = rf"{_NAME}(/{_NAME})*"


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """The address of a vault: a scheme, a host and a port."""

    type: Any = str

    def read(self, name: str, value: object) -> Url:
        """Return it taken apart; raises BadFieldsError."""
        try:
            url = parse_url(read_line(name, value))
        except BadUrlError as exc:
            raise BadFieldsError(f"{name} is not an address: {exc.message}") from None
        if url.path not in ("", "/") or url.query is not None:
            raise BadFieldsError(f"{name} has a path", "give only scheme, host and port, such as https://vault.example.com:8200")
        if url.scheme != "https" and not url.is_loopback:
            raise BadFieldsError(
                f"{name} is not https", "keys and tokens go over it; http is only for an address of this machine"
            )
        return url


@dataclass(frozen=True, slots=True)
class VaultServer:
    """One vault. Each of its fields but the name is a setting, with its row."""

    name: str
    address: Url | None = setting(
        VaultAddress(), docs="scheme, host and port; `https`, or `http` for an address of this machine", example="https://v:8200"
    )
    socket: Path | None = setting(
        AbsolutePath(),
        docs="the Unix socket of a `bao proxy` or `vault proxy` on this machine, instead of `address`; an absolute path",
    )
    namespace: str | None = setting(
        Text(_SEGMENTS, "is not names with slashes between them"),
        docs="the namespace with the keys, the items and the login; the root namespace by default",
    )
    ca_bundle: Path | None = setting(
        AbsolutePath(), docs="PEM file of the CA certificates to trust for this vault instead of the system's; an absolute path"
    )
    client_cert: Path | None = setting(
        AbsolutePath(), docs="PEM file with the certificate and unencrypted key for TLS client authentication; an absolute path"
    )
    server_name: str | None = setting(
        Text(r"[A-Za-z0-9.-]+", "is not a host name"),
        docs="the host name in the vault's certificate, if it differs from the one in `address`",
    )
    auth: Auth = setting(
        Choice(AUTHS, f"is not one of {', '.join(AUTHS)}"),
        default="token-file",
        docs="how to log in: `token-file` (the default), `approle`, `jwt`, `kubernetes`, or `proxy` if a proxy on "
        "this machine does it",
    )
    auth_mount: str | None = setting(
        Text(_SEGMENTS, "is not a path with slashes between its names"),
        docs="the path at which `approle`, `jwt` or `kubernetes` is mounted, if it is not the method's name",
    )
    role: str | None = setting(Text(r"[^/\s]+", "is not a role's name"), docs="for `jwt` and `kubernetes`: the name of the role")
    token_file: Path | None = setting(
        AbsolutePath(), docs="for `token-file`: the file with the token; `~/.vault-token` by default"
    )
    role_id_file: Path | None = setting(AbsolutePath(), docs="for `approle`: the file with the role id")
    secret_id_file: Path | None = setting(AbsolutePath(), docs="for `approle`: the file with the secret id")
    secret_id_wrapped: bool = setting(
        Switch(),
        default=False,
        docs="for `approle`: if `true`, `secret_id_file` holds a wrapping token, which is exchanged for the "
        "secret id once; `false` by default",
    )
    jwt_file: Path | None = setting(
        AbsolutePath(),
        docs=f"for `jwt` and `kubernetes`: the file with the JSON Web Token; for `kubernetes`, `{KUBERNETES_JWT}` by default",
    )

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.socket is not None:
            return str(self.socket)
        return "nowhere" if self.address is None else self.address.origin

    def check(self) -> None:
        """Raise BadFieldsError unless the settings are enough to get in, and do not contradict each other."""
        if (self.address is None) == (self.socket is None):
            raise BadFieldsError("a vault has either an address or a socket")
        needed = {"approle": ("role_id_file", "secret_id_file"), "jwt": ("role", "jwt_file"), "kubernetes": ("role",)}
        missing = [name for name in needed.get(self.auth, ()) if getattr(self, name) is None]
        if missing:
            raise BadFieldsError(f"auth = {self.auth} needs {', '.join(missing)}")
        if self.auth == "proxy" and self.socket is None and (self.address is None or not self.address.is_loopback):
            raise BadFieldsError("auth = proxy needs a socket, or an address of this machine")
