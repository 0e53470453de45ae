"""`sign` and `AtlSign` on the real daemon: signatures that a provider takes, threads, forks, restarts."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import atl_sign_client
from atl_sign.server.listening import StartError, socket_path
from atl_sign_client import AtlSign, AtlSignError, SignedHeader, sign
from atl_sign_client.finding import find_socket
from tests.clients.differential.lab import Lab
from tests.clients.python.fake_daemon import SIGNATURE, SIGNED, FakeDaemon
from tests.lab import REPOSITORY, Daemon, wait_for

FORM = "application/x-www-form-urlencoded"


def send(method: str, url: str, header: str, form: str | None = None) -> int:
    """Send it by the standard library; returns the status."""
    headers = {"Authorization": header, **({"Content-Type": FORM} if form is not None else {})}
    request = urllib.request.Request(url, form.encode() if form is not None else None, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return int(response.status)


def test_a_signature_is_taken(lab: Lab) -> None:
    """By the provider, for that method and URL; for another URL it is not."""
    url = f"{lab.recorder.base_url}/rest/api/2/search?jql=project%20%3D%20WEB&x=%C3%A9"

    header = sign("GET", url)
    send("GET", url, header)
    send("GET", url, sign("GET", url + "1"))

    assert [sent.verdict.partition(":")[0] for sent in lab.recorder.take()] == ["signed", "signature_invalid"]
    assert header.startswith("OAuth ")
    assert header.link == "jira"


@pytest.mark.parametrize("kind", ["text", "bytes", "pairs", "mapping"])
def test_a_form_is_signed(lab: Lab, kind: str) -> None:
    """However it is given; without it the provider refuses."""
    url, fields = f"{lab.recorder.base_url}/secure/Create.jspa", {"summary": "a b&é", "pid": "10000"}
    text = urlencode(fields)
    given: Any = {"text": text, "bytes": text.encode(), "pairs": list(fields.items()), "mapping": fields}[kind]

    send("POST", url, sign("POST", url, given), text)
    send("POST", url, sign("POST", url), text)

    assert [sent.verdict.partition(":")[0] for sent in lab.recorder.take()] == ["signed", "signature_invalid"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET\r\nX-Injected: 1", "/x"),
        ("GET /x HTTP/1.1\r\n", "/x"),
        ("G\0T", "/x"),
        ("", "/x"),
        ("GET", "/x HTTP/1.1\r\nX-Injected: 1"),
        ("GET", "/x\ny"),
        ("GET", "/x\0"),
        ("GET", "/a b"),
        ("GET", "/%zz"),
        ("GET", "/../other"),
    ],
)
def test_injected_headers_are_refused(lab: Lab, method: str, path: str) -> None:
    """In the method and in the URL; nothing reaches the provider."""
    with pytest.raises(AtlSignError) as caught:
        sign(method, lab.recorder.base_url + path)

    assert caught.value.code in {"bad_request", "bad_url", "unknown_link"}
    assert caught.value.hint
    assert lab.recorder.take() == []


def test_a_url_with_credentials_is_refused(lab: Lab) -> None:
    """And the password is not in the words."""
    with pytest.raises(AtlSignError) as caught:
        sign("GET", lab.recorder.base_url.replace("://", "://ann:canary@") + "/x")

    assert caught.value.code == "bad_url"
    assert "canary" not in f"{caught.value}{caught.value!r}"


@pytest.mark.parametrize("url", ["https://elsewhere.example.com/", "nonsense", "http://127.0.0.1:1/jira"])
def test_the_daemons_refusals_come_through(lab: Lab, url: str) -> None:
    """With their codes, words and hints."""
    with pytest.raises(AtlSignError) as caught:
        sign("GET", url)

    assert caught.value.code == ("bad_url" if url == "nonsense" else "unknown_link")
    assert str(caught.value) == f"{caught.value.message} (hint: {caught.value.hint})"


@pytest.mark.parametrize(
    ("method", "url", "form"),
    [
        (b"GET", "http://h/", None),
        ("GET", 1, None),
        ("POST", "http://h/", b"\xff"),
        ("POST", "http://h/", 1),
        ("POST", "http://h/", [1]),
    ],
)
def test_what_is_no_text_is_refused(lab: Lab, method: object, url: object, form: object) -> None:
    """With a typed error too."""
    with pytest.raises(AtlSignError, match=r"text|right kind|UTF-8|names and values") as caught:
        sign(method, url, form)  # type: ignore[arg-type]

    assert caught.value.code == "bad_request"


def test_a_link_is_chosen_by_name(lab: Lab) -> None:
    """At the start or for one call; one that does not cover the URL is refused."""
    url = f"{lab.recorder.base_url}/x"

    assert AtlSign(link="jira").sign("GET", url).link == "jira"
    with pytest.raises(AtlSignError, match="other") as caught:
        AtlSign(link="jira").sign("GET", url, link="other")
    assert caught.value.code == "unknown_link"


def test_the_environment_names_a_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ATL_SIGN_LINK` counts as if it were given; a link that is given goes before it, and an empty value is none."""
    url = f"{lab.recorder.base_url}/x"

    monkeypatch.setenv("ATL_SIGN_LINK", "other")

    with pytest.raises(AtlSignError, match="other") as caught:
        AtlSign().sign("GET", url)
    assert caught.value.code == "unknown_link"
    assert AtlSign(link="jira").sign("GET", url).link == AtlSign().sign("GET", url, link="jira").link == "jira"
    monkeypatch.setenv("ATL_SIGN_LINK", "")
    assert AtlSign().sign("GET", url).link == "jira"


def test_a_thousand_calls_in_threads(lab: Lab) -> None:
    """Every one has a signature of its own, over a few connections."""
    daemon = AtlSign()
    url = f"{lab.recorder.base_url}/x"

    with ThreadPoolExecutor(32) as threads:
        headers = set(threads.map(lambda number: str(daemon.sign("GET", f"{url}?n={number}")), range(1_000)))

    assert len(headers) == 1_000
    assert len(daemon._idle) <= 8


def test_one_connection_is_used_again() -> None:
    """By one call after the other."""
    with FakeDaemon(SIGNED) as fake, AtlSign(fake.path) as daemon:
        for _ in range(5):
            daemon.sign("GET", "http://h/")

        assert (fake.connections, len(fake.requests)) == (1, 5)


def test_a_daemon_that_closes_each_connection_is_used_all_the_same() -> None:
    """Whether or not it says so beforehand."""
    with FakeDaemon(SIGNED, closes=True) as fake, AtlSign(fake.path) as daemon:
        assert [str(daemon.sign("GET", "http://h/")) for _ in range(3)] == [SIGNATURE] * 3
    said = SIGNED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with FakeDaemon(said) as fake, AtlSign(fake.path) as daemon:
        daemon.sign("GET", "http://h/")

        assert daemon._idle == []


def test_a_restarted_daemon_is_found_again(daemon: Daemon) -> None:
    """The next call works, though every kept connection is dead; while it is down, the error says so."""
    caller = AtlSign(daemon.socket)
    for _ in range(2):
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda _: refusal(caller), range(8))) == {"unknown_link"}
        daemon.stop()
        assert refusal(caller) == "no_daemon"
        daemon.start()

        assert refusal(caller) == "unknown_link"


def refusal(caller: AtlSign) -> str:
    """The code for an address that no link covers: the daemon answers without a key."""
    with pytest.raises(AtlSignError) as caught:
        caller.sign("GET", "https://elsewhere.example.com/")
    return caught.value.code


def test_parent_and_child_both_go_on_after_a_fork(lab: Lab) -> None:
    """Each over a connection of its own."""
    url = f"{lab.recorder.base_url}/x"
    code = (
        "import os, sys\n"
        "from atl_sign_client import sign\n"
        f"url = {url!r}\n"
        "assert sign('GET', url)\n"
        "child = os.fork()\n"
        "headers = {str(sign('GET', url)) for _ in range(20)}\n"
        "assert len(headers) == 20\n"
        "if child == 0: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert sign('GET', url)\n"
        "print('both')\n"
    )

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=30)

    assert (done.stdout, done.stderr) == ("both\n", "")


def test_the_header_hides_itself() -> None:
    """In `repr`, and so in what a dictionary of headers shows; as a text it is the value."""
    header = SignedHeader(SIGNATURE, "jira")

    assert "canary" not in repr({"Authorization": header})
    assert f"{header}" == str(header) == SIGNATURE
    for twin in (copy.copy(header), copy.deepcopy(header), pickle.loads(pickle.dumps(header))):
        assert (str(twin), twin.link, type(twin)) == (SIGNATURE, "jira", SignedHeader)


def test_an_error_survives_pickling() -> None:
    """As it must to leave a process pool."""
    error = pickle.loads(pickle.dumps(AtlSignError("no_daemon", "there is none", "start it")))

    assert (error.code, error.message, error.hint, str(error)) == (
        "no_daemon",
        "there is none",
        "start it",
        "there is none (hint: start it)",
    )
    assert str(AtlSignError("x", "without a hint")) == "without a hint"


def test_settings_are_shown_and_connections_closed(lab: Lab) -> None:
    """What is not closed by hand is when nobody holds it any more: an open socket would be a warning, which is an error."""
    caller = AtlSign(link="jira")
    caller.sign("GET", f"{lab.recorder.base_url}/x")
    (connection,) = caller._idle

    assert repr(caller) == "AtlSign(socket_path=None, link='jira', timeout_s=5.0)"
    del caller
    gc.collect()
    assert not connection.is_open


def test_nothing_foreign_is_imported() -> None:
    """Neither requests nor httpx before their names are used; the names are there, another is not."""
    code = (
        "import sys, atl_sign_client\n"
        "atl_sign_client.sign\n"
        "assert not {'requests', 'httpx', 'anyio', 'urllib3'} & sys.modules.keys()\n"
        "from atl_sign_client import AtlSignAuth\n"
        "assert 'requests' in sys.modules and 'httpx' not in sys.modules\n"
        "from atl_sign_client import AtlSignHTTPXAuth\n"
        "assert 'httpx' in sys.modules\n"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = atl_sign_client.nonsense


ENVIRONMENTS: list[dict[str, str]] = [
    {"ATL_SIGN_SOCK": "/run/x/agent.sock", "XDG_RUNTIME_DIR": "/run/y"},
    {"ATL_SIGN_SOCK": "relative/agent.sock"},
    {"ATL_SIGN_SOCK": "", "XDG_RUNTIME_DIR": "/run/y"},
    {"ATL_SIGN_SOCK": "", "XDG_RUNTIME_DIR": ""},
    {},
    {"ATL_SIGN_SOCK": "/" + "x" * 106},
    {"ATL_SIGN_SOCK": "/" + "x" * 107},
    {"ATL_SIGN_SOCK": "/" + "é" * 54},
    {"XDG_RUNTIME_DIR": "/" + "x" * 100},
    {"XDG_RUNTIME_DIR": "OWN"},
    {"XDG_RUNTIME_DIR": "THEIRS"},
    {"XDG_RUNTIME_DIR": "FILE"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_the_socket_is_where_the_daemon_puts_it(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rule; a path that is too long for the one is for the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    for name in ("OWN", "THEIRS"):
        (tmp_path / name).mkdir()
    (tmp_path / "FILE").touch()
    if os.geteuid() == 0:
        os.chown("THEIRS", 12_345, 12_345)
        assert "THEIRS" not in find_socket({"XDG_RUNTIME_DIR": "THEIRS"})
    try:
        expected = str(socket_path(environment))
    except StartError:
        with pytest.raises(AtlSignError) as caught:
            find_socket(environment)
        assert caught.value.code == "bad_socket"
    else:
        assert find_socket(environment) == expected


def test_without_a_runtime_folder_it_is_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for the daemon."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 987_654)

    expected = str(tmp_path / ".local/state/atl-sign/agent.sock")
    if len(expected) <= 107:
        assert find_socket({}) == str(socket_path({})) == expected


def test_without_a_folder_to_start_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No home at all, and a relative path in a folder that is gone: typed errors too."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    with pytest.raises(AtlSignError, match="home") as caught:
        find_socket({})
    assert caught.value.code == "bad_socket"

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(AtlSignError, match="removed") as caught:
        find_socket({"ATL_SIGN_SOCK": "agent.sock"})
    assert caught.value.code == "bad_socket"


def test_threads_do_not_wait_for_one_that_hangs() -> None:
    """Each call has a connection of its own."""
    fake = FakeDaemon(FakeDaemon.hang, SIGNED)
    caller = AtlSign(fake.path, timeout_s=3)
    with fake, ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(caller.sign, "GET", "http://h/")
        wait_for(lambda: fake.requests)

        assert caller.sign("GET", "http://h/") == SIGNATURE
        assert not hanging.done()
        fake.stopping.set()
        assert isinstance(hanging.exception(), AtlSignError)


def test_the_package_is_typed_and_complete() -> None:
    """The marker is there, and the version is the daemon's."""
    import atl_sign

    folder = REPOSITORY / "clients/python/src/atl_sign_client"

    assert (folder / "py.typed").is_file()
    assert atl_sign_client.__version__ == atl_sign.__version__


def test_a_form_of_one_mebibyte_is_signed(lab: Lab) -> None:
    """However it is given; of one byte more nothing is."""
    url = f"{lab.recorder.base_url}/x"
    text = "a=" + "é" * ((1 << 19) - 1)
    for form in (text, text.encode(), {"a": text[2:]}, "a=" + "%C3%A9" * 174_762 + "xx"):
        assert sign("POST", url, form).startswith("OAuth ")
    with pytest.raises(AtlSignError) as caught:
        sign("POST", url, text + "x")

    assert (caught.value.code, caught.value.message) == ("too_large", "the form is over 1048576 bytes")


def test_more_parameters_than_many_servers_read_give_a_warning(lab: Lab) -> None:
    """Of Python's own; 1,000 are nothing to warn of."""
    url = f"{lab.recorder.base_url}/x"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sign("POST", url, [("a", "b")] * 1_000)

    with pytest.warns(UserWarning, match=r"the request has 1001 parameters; many servers read only the first 1000 "):
        assert sign("POST", url, [("a", "b")] * 1_001).startswith("OAuth ")
