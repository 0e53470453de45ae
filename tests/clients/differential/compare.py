"""What has to be the same, and what may never be: the rules that every command line is held to."""

from collections import Counter
from dataclasses import dataclass, field, replace

from tests.clients.differential.lab import REFUSED, Lab, Run
from tests.clients.differential.lines import Line
from tests.clients.differential.server import Sent
from tests.clients.differential.vocabulary import COOKIES

NOTHING_WAS_SENT = b"atl-sign: nothing was sent: "
# Where lines with --stderr let it go; from 8.16 on a config file's `--stderr="…"` keeps the quotes.
STDERR_FILES = {"out.err", '"out.err"', '"-"'}


@dataclass
class Tally:
    """How many lines were signed and sent, and how many refused; lines that curl itself sends nothing for do not count."""

    signed: int = 0
    refused: int = 0
    void: int = 0
    by_option: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The signed ones' share."""
        return self.signed / max(1, self.signed + self.refused)

    def add(self, line: Line, outcome: str) -> None:
        """Count one line."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        for option in line.options:
            self.by_option.setdefault(option, Counter())[outcome] += 1

    def describe(self) -> str:
        """Return the figures in one line."""
        count = self.signed + self.refused + self.void
        return (
            f"{count} lines: {self.signed} signed, {self.refused} refused, {self.void} that send nothing; {self.share:.0%} signed"
        )


def judge(line: Line, lab: Lab) -> tuple[str, list[str], Run, Run]:
    """
    Run *line* both ways.

    Returns:
        "signed", "refused" or "void"; what is wrong, if anything; and both runs.
    """
    plain = lab.plain(line)
    lab.recorder.cuts.clear()
    signed = lab.signed(line)
    faults = [*_leaks(signed, lab)]
    if signed.status == REFUSED:
        if signed.sent or lab.recorder.cuts:
            faults.append("refused, but a request was sent")
        # --stderr may have led the words elsewhere.
        words = signed.stderr + b"".join(signed.files.get(name, b"") for name in STDERR_FILES)
        if "stderr" in line.options:
            words += signed.stdout
        elif signed.stdout:
            faults.append("refused, but there is output")
        if set(signed.files) - STDERR_FILES:
            faults.append("refused, but there are files")
        if NOTHING_WAS_SENT not in words:
            faults.append("refused in other words")
        return ("refused" if plain.sent and not line.is_forbidden else "void"), faults, plain, signed
    if line.is_forbidden and signed.sent:
        faults.append("an option that is never taken was taken")
    if not plain.sent:
        if signed.sent:
            faults.append("curl alone sends nothing")
        elif signed.status != plain.status:
            faults.append("neither sends anything, but the status differs and is not 125")
        return "void", faults, plain, signed
    faults += _differences(line, plain, signed)
    return "signed", faults, plain, signed


def _leaks(signed: Run, lab: Lab) -> list[str]:
    places = {"standard output": signed.stdout, "standard error": signed.stderr, **signed.files}
    faults = [f"{place} holds the token" for place, content in places.items() for secret in lab.secrets() if secret in content]
    faults += [
        f"request {number} holds the token outside its Authorization header"
        for number, sent in enumerate(signed.sent, 1)
        for secret in lab.secrets()
        if secret in b"\n".join((sent.target, *sent.headers, sent.body))
    ]
    nonces = [value for sent in signed.sent for value in sent.authorization]
    if len(set(nonces)) != len(nonces):
        faults.append("a signed header was sent twice")
    return faults


def _differences(line: Line, plain: Run, signed: Run) -> list[str]:
    faults = []
    if len(plain.sent) != len(signed.sent):
        faults.append(f"curl sends {len(plain.sent)} requests, we send {len(signed.sent)}")
    # Side by side, curl's own order is not fixed.
    parallel = "parallel" in line.options
    ours = sorted(signed.sent, key=lambda sent: repr(sent.less_signature)) if parallel else signed.sent
    theirs = sorted(plain.sent, key=lambda sent: repr(sent.less_signature)) if parallel else plain.sent
    followed = False
    port = 0  # where the first of a chain of redirects goes
    for number, (sent, got) in enumerate(zip(theirs, ours, strict=False), 1):
        port = port if followed else sent.port
        wanted = _less_given_cookies(sent) if sent.port != port and "cookie" in line.options else sent
        for what in ("port", "method", "target", "version", "headers", "body"):
            if getattr(wanted, what) != getattr(got, what):
                faults.append(
                    f"request {number}: another {what}: {getattr(wanted, what)!r} by curl, {getattr(got, what)!r} by us"
                )
        if got.is_inside:
            if got.verdict != "signed" or len(got.authorization) != 1:
                faults.append(f"request {number}: {got.verdict}")
        elif got.authorization:
            faults.append(f"request {number}: a signature goes where no link is")
        elif not followed:
            faults.append(f"request {number}: outside the link, and sent all the same")
        followed = got.was_redirected
    if plain.status != signed.status:
        faults.append(f"status {plain.status} by curl, {signed.status} by us")
    if "stderr" in line.options:
        # The progress meter's figures are never the same twice.
        if set(plain.files) != set(signed.files):
            faults.append("other files")
        return faults
    if plain.stdout != signed.stdout:
        faults.append("another standard output")
    faults += [
        f"another content of {name}"
        for name in sorted(plain.files.keys() | signed.files)
        if plain.files.get(name) != signed.files.get(name)
    ]
    return faults


def _less_given_cookies(sent: Sent) -> Sent:
    """Return *sent* without the cookies of `-b NAME=VALUE`, which curl alone sends to every server and we to the first."""
    given = {pair.encode() for value in COOKIES for pair in value.split("; ")}
    headers = []
    for line in sent.headers:
        name, _, text = line.partition(b": ")
        kept = [pair for pair in text.split(b"; ") if pair not in given]
        if name != b"Cookie":
            headers.append(line)
        elif kept:
            headers.append(b"Cookie: " + b"; ".join(kept))
    return replace(sent, headers=tuple(headers))
