"""Real PKCS#11 tokens for tests: SoftHSM's, in a folder of their own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "74-canary-pin-11"
SO_PIN = "so-pin-9876"


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """SoftHSM's tokens in one folder."""

    folder: Path
    module: Path = SOFTHSM

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the module finds the folder."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def prepare(self) -> None:
        """Make the folder, with no token in it."""
        (self.folder / "tokens").mkdir(parents=True)
        lines = f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        (self.folder / "softhsm2.conf").write_text(lines)

    def add_token(self, label: str = "atl", pin: str = PIN) -> None:
        """Make a token."""
        self._run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", SO_PIN)

    def add_key(self, label: str = "key", *options: str, token: str = "atl", id: str = "01", kind: str = "rsa:2048") -> None:
        """Make a key in the token called *token*."""
        self._tool("--token-label", token, "--keypairgen", "--key-type", kind, "--label", label, "--id", id, *options)

    def import_key(self, pem: Path, label: str = "key", token: str = "atl", id: str = "02") -> None:
        """Bring the key in *pem*, PKCS#8, into the token."""
        self._run("softhsm2-util", "--import", str(pem), "--token", token, "--label", label, "--id", id, "--pin", PIN)

    def delete_key(self, id: str, token: str = "atl") -> None:
        """Delete the private key with *id*, and its public one."""
        for kind in ("privkey", "pubkey"):
            self._tool("--token-label", token, "--delete-object", "--type", kind, "--id", id)

    def uri(self, key: str = "key", token: str = "atl") -> str:
        """Return the reference of a key."""
        return f"pkcs11:token={token};object={key}?module-path={self.module}"

    def _tool(self, *arguments: str) -> None:
        self._run("pkcs11-tool", "--module", str(self.module), "--login", "--pin", PIN, *arguments)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
