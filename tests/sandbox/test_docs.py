"""docs/sandbox.md names every route, option and problem, and its examples run."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from atl_sign.sandbox import FORGES, HOSTS, PRODUCTS, Faults, Sandbox
from atl_sign.sandbox.__main__ import main
from atl_sign.sandbox.cloud.account import SCOPES
from atl_sign.sandbox.cloud.bitbucket import API_ROUTES
from atl_sign.sandbox.cloud.confluence import CONFLUENCE_ROUTES
from atl_sign.sandbox.cloud.hosts import make_cloud_state
from atl_sign.sandbox.cloud.jira import JIRA_ROUTES
from atl_sign.sandbox.forge.server import KINDS
from atl_sign.sandbox.oauth2.faults import TOKEN_FAULTS
from atl_sign.sandbox.oauth2.routes import make_oauth2_routes
from atl_sign.sandbox.oauth2.server import OAuth2Server
from atl_sign.sandbox.problems import STATUSES
from atl_sign.sandbox.site import list_routes
from tests.sandbox.consumer import KeyPair

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "sandbox.md").read_text()
DOCS_ORIGIN = "http://127.0.0.1:8710"
CHANGING = re.compile(
    r"Date: [^\r\n]+|Content-Length: \d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r'|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00|(?<="rawToken": ")[A-Za-z0-9+/]{44}'
)


def read_examples() -> list[tuple[str, str]]:
    """Return each `$ curl …` with what is printed below it."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", DOCS, re.M)
    text = "".join(re.sub(r"^    ", "", block, flags=re.M) for block in blocks)
    return [
        (command, output)
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
        if command.startswith("curl ")
    ]


LOGIN_PATHS = {product.login_path for product in PRODUCTS.values()}


CLOUD_ROUTES = JIRA_ROUTES + CONFLUENCE_ROUTES + API_ROUTES
SERVERS = [
    *make_cloud_state(lambda: 0.0, "new")[0].oauth2.values(),
    *(OAuth2Server(kind.flavour, lambda: 0.0) for kind in KINDS.values()),
]
OAUTH2_ROUTES = [route for server in SERVERS for route in make_oauth2_routes(server.flavour.endpoints)]
FORGE_ROUTES = [route for kind in KINDS.values() for route in kind.api_routes]
PRODUCT_ROUTES = [route for product in PRODUCTS.values() for route in list_routes(product)]


@pytest.mark.parametrize("path", sorted({route.path for route in (*PRODUCT_ROUTES, *CLOUD_ROUTES)} - LOGIN_PATHS))
def test_every_route_is_named(path: str) -> None:
    """As it stands in the table of routes; a repository's folders are shortened, and so is `.json`."""
    shortened = re.sub(r".*/(browse|raw)/\{path\*\}", r"…/\1/{path*}", path).removesuffix(".json")

    assert re.search(rf"{re.escape(shortened)}[`,]", DOCS)


@pytest.mark.parametrize("name", [*SCOPES, *(f"cloud-{host}" for host in HOSTS)])
def test_every_scope_and_host_of_cloud_is_named(name: str) -> None:
    """As it is spelled."""
    assert f"`{name}`" in DOCS


@pytest.mark.parametrize("path", sorted({route.path for route in (*OAUTH2_ROUTES, *FORGE_ROUTES)}))
def test_every_address_of_oauth2_is_named(path: str) -> None:
    """With its method, in one of the lists of addresses; GitLab's two documents are named together."""
    assert f" {path}`" in DOCS or path.startswith("/.well-known/")


@pytest.mark.parametrize("name", [*vars(SERVERS[0]), *(each.name for each in fields(Faults)), *TOKEN_FAULTS])
def test_every_knob_and_fault_is_named(name: str) -> None:
    """Those that a test turns; what a server remembers stays out."""
    inner = {"flavour", "clock", "apps", "grants", "codes", "device_codes", "refresh_tokens", "_access_tokens"}

    assert name in inner or f"`{name}`" in DOCS or f'`"{name}"`' in DOCS


@pytest.mark.parametrize("kind", FORGES)
def test_every_forge_is_named(kind: str) -> None:
    """With both of its addresses."""
    assert f"`{kind}-site`" in DOCS
    assert f"`{kind}-api`" in DOCS


@pytest.mark.parametrize("problem", STATUSES)
def test_every_problem_is_named(problem: str) -> None:
    """With its word."""
    assert f"`{problem}`" in DOCS


def test_every_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """As the command's own help has it."""
    with pytest.raises(SystemExit):
        main(["--help"])

    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert options
    assert {option for option in options if f"`{option}" not in DOCS} == set()


def test_the_script_registers_a_consumer(key_pair: KeyPair) -> None:
    """With the key from standard input; with a wrong password, it fails and registers none."""
    block = re.search(r'```bash title="register.sh"\n(.*?)```', DOCS, re.S)
    assert block is not None
    with Sandbox(["jira"]) as provider:
        state = provider.state.sites["jira"].state

        def run(script: str, consumer: str) -> int:
            command = ["bash", "-c", script, "register.sh", provider.base_url("jira"), consumer]
            return subprocess.run(command, input=key_pair.public_pem, text=True, capture_output=True, timeout=20).returncode

        statuses = run(block[1], "ann-desk"), run(block[1].replace("admin:admin", "admin:wrong"), "bob-desk")
        made, refused = state.find_consumer("ann-desk"), state.find_consumer("bob-desk")

    assert statuses == (0, 22)
    assert made is not None
    assert made.public_key.public_numbers() == key_pair.private_key.public_key().public_numbers()
    assert refused is None


def test_examples_print_what_they_are_said_to() -> None:
    """All of them, in order, against one sandbox."""
    examples = read_examples()
    with Sandbox() as provider:
        origin = provider.base_url("jira").removesuffix("/jira")

        for command, expected in examples:
            done = subprocess.run(
                ["bash", "-c", command.replace("curl ", "curl -q ").replace(DOCS_ORIGIN, origin)],
                capture_output=True,
                text=True,
                timeout=20,
            )
            printed = (
                done.stdout.replace("\r\n", "\n")
                .replace(origin, DOCS_ORIGIN)
                .replace(origin.replace(":", "%3A").replace("/", "%2F"), DOCS_ORIGIN)
            )
            wanted = expected.replace(DOCS_ORIGIN.replace(":", "%3A").replace("/", "%2F"), DOCS_ORIGIN)
            assert CHANGING.sub("", printed).strip() == CHANGING.sub("", wanted).strip()

    assert len(examples) == 10
