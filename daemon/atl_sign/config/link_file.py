"""A file of links, for other machines and other users: TOML with `[links.NAME]` tables and nothing else, without secrets."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from atl_sign.config import toml_edit
from atl_sign.config.link_fields import chosen_fields
from atl_sign.config.links import Link, Schemes
from atl_sign.config.placeholders import DEFAULT_CONSUMER_KEY, expand_text, has_braces
from atl_sign.config.settings import BrokenFileError, ConfigProblem, line_finder, load, read_links


@dataclass(frozen=True, slots=True)
class LinkFile:
    """The content of a file of links."""

    links: tuple[Link, ...]
    problems: tuple[ConfigProblem, ...]
    find_line: Callable[[str], int | None]  # of a part


def read_link_file(text: str, schemes: Schemes, names: Mapping[str, str]) -> LinkFile:
    """Read *text*; whatever is wrong in it becomes a problem. Arguments as of `parse_settings`."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        data = load(text)
    except BrokenFileError as exc:
        return LinkFile((), (exc.problem,), lambda _: None)
    problems: list[ConfigProblem] = []
    find_line = line_finder(text)

    def complain(part: str, cause: str) -> None:
        problems.append(ConfigProblem(find_line(part), part, cause))

    links = read_links(data.pop("links", {}), schemes, complain, names)
    for name in data:
        complain(name, "a file of links has only [links.NAME] tables")
    if not links and not problems:
        complain("file", "there is no link in it")
    return LinkFile(tuple(links), tuple(problems), find_line)


def write_link_file(
    links: Iterable[Link], names: Mapping[str, str], templates: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, tuple[str, ...]]:
    """
    Return *links* as a file's text, and the names of those that no such file can hold: with a brace in the consumer key.

    A consumer key of *templates* is written as it is there, by its link's name. One that the daemon made for this user and
    machine, who are *names*, becomes one for each user and machine.
    """
    tables: dict[str, dict[str, str | float]] = {}
    left = []
    for link in links:
        fields = chosen_fields(link)
        key = link.consumer_key
        if link.name in templates:
            fields["consumer_key"] = templates[link.name]
        elif has_braces(key):
            left.append(link.name)
            continue
        elif key == expand_text(DEFAULT_CONSUMER_KEY, names):
            fields["consumer_key"] = DEFAULT_CONSUMER_KEY
        tables[link.name] = fields
    return toml_edit.put_links("", tables) if tables else "", tuple(left)
