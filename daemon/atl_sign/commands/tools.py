"""`atl-sign run --tool NAME`: the variables and files by which one tool finds a lease's port in place of the product."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from atl_sign.commands.calling import CommandError

_NAMES = {"jira": "Jira", "confluence": "Confluence", "bitbucket": "Bitbucket"}


@dataclass(frozen=True, slots=True)
class Tool:
    """
    One tool, and how it is pointed.

    In the texts `{url}` stands for the product's address at the port, `{secret}` for the lease's, `{folder}` for a folder that is
    there while the tool runs.
    """

    name: str  # as people install it
    variables: Mapping[str, Mapping[str, str]]  # by the product they are for
    removed: Sequence[str] = ()  # variables that would name another address or credentials, or lead around the port
    files: Mapping[str, str] = field(default_factory=dict)  # by their paths in the folder; for tools with one product


@dataclass(frozen=True, slots=True)
class LinkOfLease:
    """A link that the lease allows."""

    name: str
    product: str  # the manifest's word: "jira"; "jira-cloud" at Atlassian's own site


@dataclass(frozen=True, slots=True)
class Pointed:
    """The changes to the environment in which a tool is started, beside those for every program of the lease."""

    variables: Mapping[str, str]
    removed: Sequence[str]


# Facts leases-proxy.md section 5.
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "mcp-atlassian",
            {
                "jira": {"JIRA_URL": "{url}", "JIRA_PERSONAL_TOKEN": "{secret}"},
                "confluence": {"CONFLUENCE_URL": "{url}", "CONFLUENCE_PERSONAL_TOKEN": "{secret}"},
            },
            removed=[
                *("ATLASSIAN_OAUTH_ENABLE", "ATLASSIAN_EXTERNAL_AUTH_ENABLE"),
                *("JIRA_USERNAME", "JIRA_API_TOKEN", "JIRA_CUSTOM_HEADERS", "JIRA_CLIENT_CERT"),
                *("JIRA_HTTP_PROXY", "JIRA_HTTPS_PROXY", "JIRA_SOCKS_PROXY"),
                *("CONFLUENCE_USERNAME", "CONFLUENCE_API_TOKEN", "CONFLUENCE_CUSTOM_HEADERS", "CONFLUENCE_CLIENT_CERT"),
                *("CONFLUENCE_HTTP_PROXY", "CONFLUENCE_HTTPS_PROXY", "CONFLUENCE_SOCKS_PROXY"),
            ],
        ),
        Tool(
            "atlassian-dc-mcp",
            {
                product: {f"{product.upper()}_API_BASE_PATH": "{url}/rest", f"{product.upper()}_API_TOKEN": "{secret}"}
                for product in _NAMES
            },
            removed=["JIRA_HOST", "CONFLUENCE_HOST", "BITBUCKET_HOST", "ATLASSIAN_DC_MCP_CONFIG_FILE"],
        ),
        Tool(
            "jira-cli",
            # The variables count more than the file, which must be there all the same.
            {
                "jira": {
                    "JIRA_CONFIG_FILE": "{folder}/config.yml",
                    "JIRA_SERVER": "{url}",
                    "JIRA_LOGIN": "atl-sign",
                    "JIRA_INSTALLATION": "Local",
                    "JIRA_AUTH_TYPE": "bearer",
                    "JIRA_API_TOKEN": "{secret}",
                }
            },
            files={"config.yml": "installation: Local\nserver: {url}\nlogin: atl-sign\nauth_type: bearer\n"},
        ),
        Tool(
            "go-jira",
            # It looks for its file in the home folder, and below the current one, which counts more.
            {"jira": {"HOME": "{folder}", "JIRA_API_TOKEN": "{secret}"}},
            files={".jira.d/config.yml": "endpoint: {url}\nauthentication-method: bearer-token\nlogin: atl-sign\n"},
        ),
        Tool(
            "terraform-bitbucketserver",
            {
                "bitbucket": {
                    "BITBUCKET_SERVER": "{url}",
                    "BITBUCKET_USERNAME": "atl-sign",  # it wants one; Basic has the secret as its password
                    "BITBUCKET_PASSWORD": "{secret}",
                }
            },
        ),
        Tool(
            "terraform-jira",
            {"jira": {"JIRA_URL": "{url}", "JIRA_TOKEN": "{secret}"}},
            removed=["JIRA_USER", "JIRA_PASSWORD"],
        ),
    )
}


def find_tool(name: str) -> Tool:
    """Return the tool called *name*; raises CommandError."""
    tool = TOOLS.get(name)
    if tool is None:
        raise CommandError(f"no tool called {name} is known", f"one of these: {', '.join(sorted(TOOLS))}; or leave --tool out")
    return tool


def choose_links(tool: Tool, links: Sequence[LinkOfLease]) -> dict[str, str]:
    """
    Return the names of the *links* that *tool* is pointed to, by product.

    Raises:
        CommandError: none of them is of a product that it speaks to, or several are of one.
    """
    chosen: dict[str, str] = {}
    for product in tool.variables:
        names = [link.name for link in links if link.product.removesuffix("-cloud") == product]
        if len(names) > 1:
            raise CommandError(
                f"{tool.name} takes one {_NAMES[product]}, and the lease has several: {', '.join(names)}",
                f"choose one of them, as with --link {names[0]}",
            )
        if names:
            chosen[product] = names[0]
    if not chosen:
        wanted = " or ".join(_NAMES[product] for product in tool.variables)
        raise CommandError(f"{tool.name} speaks to {wanted}, and the lease has no such link", "atl-sign link list")
    return chosen


def make_variables(tool: Tool, port_url: str, secret: str, chosen: Mapping[str, str], folder: str) -> dict[str, str]:
    """
    Return the variables that point *tool*.

    Args:
        tool: which.
        port_url: the lease's `url`: `http://127.0.0.1:PORT`.
        secret: the lease's.
        chosen: names of links by product.
        folder: where its files are.
    """
    return {
        name: _fill(text, port_url, chosen[product], secret, folder)
        for product, variables in tool.variables.items()
        if product in chosen
        for name, text in variables.items()
    }


def make_files(tool: Tool, port_url: str, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the contents of the files that point *tool*, by path in its folder; they hold no secret."""
    link = next(iter(chosen.values()))
    return {path: _fill(text, port_url, link) for path, text in tool.files.items()}


@contextmanager
def pointed(tool: Tool, port_url: str, secret: str, links: Sequence[LinkOfLease]) -> Iterator[Pointed]:
    """Give what *tool* is started with; its files are there for the time of the `with`. Raises as `choose_links`, and OSError."""
    chosen = choose_links(tool, links)
    folder = Path(tempfile.mkdtemp(prefix="atl-sign-")) if tool.files else None
    try:
        for path, text in make_files(tool, port_url, chosen).items():
            assert folder is not None  # noqa: S101 - there are files
            file = folder / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(text)
        yield Pointed(make_variables(tool, port_url, secret, chosen, str(folder or "")), tool.removed)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _fill(text: str, port_url: str, link: str, secret: str = "", folder: str = "") -> str:
    return text.format(url=f"{port_url}/{link}", secret=secret, folder=folder)
