"""The finding of a check: its stable id, the result, the cause, and the command that fixes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal["ok", "warning", "broken", "skipped"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

# In the order in which they are shown; docs/doctor.md has a row for each.
MACHINE_CHECKS = (
    "config",
    "socket",
    "daemon",
    "version",
    "memory",
    "service",
    "environment",
    "store",
    "key",
    "audit",
    "rsa-sha1",
    "clock",
    "browser",
    "callback",
    "bash",
    "curl",
    "git",
    "proxy",
    "authorities",
)
# Of each vault in the configuration.
VAULT_CHECKS = ("vault.reachable", "vault.login", "vault.policy")
NETWORK_CHECKS = ("link.proxy", "link.dns", "link.tcp", "link.tls", "link.manifest", "link.base-url", "link.clock")
GRANT_CHECKS = ("link.consumer", "link.signature", "link.consent", "link.token", "link.user")
LINK_CHECKS = (*NETWORK_CHECKS, *GRANT_CHECKS)


WarningCode = Literal["config_problem", "store_move", "audit_failing", "memory_open", "tokens_unknown", "token_ends"]


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning about the daemon's state; as text, the hint stands behind a colon."""

    code: WarningCode
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        """Return it as one line."""
        return self.message if self.hint is None else f"{self.message}: {self.hint}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result."""

    check: str  # one of MACHINE_CHECKS, VAULT_CHECKS or LINK_CHECKS
    result: Verdict
    cause: str  # what was found, in words
    hint: str | None = None  # what to do about it; None where nothing is to be done
    link: str | None = None


def skip(checks: Iterable[str], cause: str, link: str | None = None) -> list[Finding]:
    """Return a finding for each of *checks*, none of which could be made for the same *cause*."""
    return [Finding(check, "skipped", cause, link=link) for check in checks]


def worst_of(findings: Iterable[Finding]) -> Verdict:
    """Return "broken" when one is, else "warning" when one is, else "ok"."""
    results = {finding.result for finding in findings}
    return "broken" if "broken" in results else "warning" if "warning" in results else "ok"
