"""`atl-sign run --tool NAME`: the variables and files by which one tool finds a lease's port in place of the product."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from atl_sign.commands.calling import PROVIDER_S, CommandError, Conversation
from atl_sign.commands.table.tools import PRODUCT_NAMES, TOOLS, Tool


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


def find_tool(name: str) -> Tool:
    """Return the tool called *name*; raises CommandError."""
    tool = TOOLS.get(name)
    if tool is None:
        raise CommandError(f"no tool called {name} is known", f"one of these: {', '.join(sorted(TOOLS))}; or leave --tool out")
    return tool


def show_products(daemon: Conversation, tool: Tool, names: Sequence[str]) -> list[LinkOfLease]:
    """
    Return the links called *names*, of every link if there are none, each with its product.

    Raises:
        CommandError: a product does not say what it is. It could be one that *tool* would have to be pointed to.
        RefusedError, NoAnswerError: the daemon does not say.
    """
    chosen = names or [str(each["name"]) for each in daemon.fields_of("/links")["links"]]
    found = []
    for name in dict.fromkeys(chosen):
        product = daemon.fields_of(f"/links/{quote(name, safe='')}?product=true", PROVIDER_S)["product"]
        if product is None:
            others = "" if names else f", or choose the links for {tool.name} with --link"
            raise CommandError(f"link {name} does not lead to a product that is known", f"atl-sign doctor {name}{others}")
        found.append(LinkOfLease(name, product))
    return found


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
                f"{tool.name} takes one {PRODUCT_NAMES[product]}, and the lease has several: {', '.join(names)}",
                f"choose one of them, as with --link {names[0]}",
            )
        if names:
            chosen[product] = names[0]
    if not chosen:
        wanted = " or ".join(PRODUCT_NAMES[product] for product in tool.variables)
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
    """Give what *tool* is started with; its files are there for the time of the `with`. Raises as `choose_links`."""
    chosen = choose_links(tool, links)
    with _files_of(tool, make_files(tool, port_url, chosen)) as folder:
        yield Pointed(make_variables(tool, port_url, secret, chosen, folder), tool.removed)


@contextmanager
def _files_of(tool: Tool, texts: Mapping[str, str]) -> Iterator[str]:
    """Write the files of *texts* into a folder of ours for the time of the `with`, and give it; "" for none."""
    if not texts:
        yield ""
        return
    try:
        folder = Path(tempfile.mkdtemp(prefix="atl-sign-"))
    except OSError as exc:
        raise _unwritable(tool, exc) from exc
    try:
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(text)
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise _unwritable(tool, exc) from exc
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unwritable(tool: Tool, exc: OSError) -> CommandError:
    cause = f"the configuration file for {tool.name} cannot be written: {exc.strerror}"
    return CommandError(cause, "make room for temporary files, or set TMPDIR to another folder")


def _fill(text: str, port_url: str, link: str, secret: str = "", folder: str = "") -> str:
    return text.format(url=f"{port_url}/{link}", secret=secret, folder=folder)
