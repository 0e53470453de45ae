"""What has to be the same, and what may never be: the rules that every command line is held to."""

from dataclasses import replace

from tests.clients.differential.lab import REFUSED, Lab, Run
from tests.clients.differential.lines import Line
from tests.clients.differential.server import Sent

NOTHING_WAS_SENT = b"atl-sign: nothing was sent: "


def judge(line: Line, lab: Lab) -> tuple[str, list[str], Run, Run]:
    """
    Run *line* both ways.

    Returns:
        "signed", "partly" when one of several was refused, "refused" or "void"; what is wrong, if anything; and both runs.
    """
    plain = lab.plain(line)
    lab.recorder.cuts.clear()
    signed = lab.signed(line)
    faults = [*_leaks(signed, lab)]
    if signed.status == REFUSED:
        if any(not sent.is_inside and sent.authorization for sent in signed.sent):
            faults.append("a signature goes where no link is")
        if signed.sent:  # one of several was refused
            return "partly", faults, plain, signed
        words = signed.stderr
        if signed.stdout and "write-out" not in line.options:
            faults.append("refused, but there is output")
        if NOTHING_WAS_SENT not in words:
            faults.append("refused in other words")
        return ("refused" if plain.sent else "void"), faults, plain, signed
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
    for number, (wanted, got) in enumerate(zip(map(plainly, theirs), map(plainly, ours), strict=False), 1):
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
    if theirs_of(plain.stdout) != theirs_of(signed.stdout):
        faults.append("another standard output")
    faults += [
        f"another content of {name}"
        for name in sorted(plain.files.keys() | signed.files)
        if theirs_of(plain.files.get(name)) != theirs_of(signed.files.get(name))
    ]
    return faults


def theirs_of(output: bytes | None) -> bytes | None:
    """Return *output* without the header that is about the connection, which leads to the daemon."""
    return None if output is None else output.replace(b"Connection: close\r\n", b"")


def plainly(sent: Sent) -> Sent:
    """Return *sent* without what the proxy changes: it speaks HTTP/1.1, decides on Expect, and adds a header for the products."""
    changed = (b"x-atlassian-token: no-check", b"upgrade:", b"http2-settings:", b"connection:", b"expect:", b"te:")
    headers = []
    for line in sent.headers:
        name, _, value = line.partition(b":")
        if not line.lower().startswith(changed):
            headers.append(name + b": " + value.strip())
    return replace(sent, headers=tuple(headers), version=b"HTTP/1.1")
