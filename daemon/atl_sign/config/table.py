"""Every link: which one covers a URL, and whether a URL stays inside it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, count
from shlex import quote
from types import MappingProxyType

from atl_sign.base.errors import AmbiguousLinkError, BadUrlError, UnknownLinkError
from atl_sign.base.urls import Url
from atl_sign.config.base_path import guess_base_path
from atl_sign.config.links import Link, decoded_segments, is_name


class LinkTable:
    """Every link, found by its name or by the URL it covers; both take the same time for one link and for thousands."""

    __slots__ = ("_by_name", "_by_origin", "_path_length_max", "links")

    def __init__(self, links: Iterable[Link]) -> None:
        """Index *links*; of two with one name the later counts."""
        self._by_name = {link.name: link for link in links}
        self.links = tuple(self._by_name.values())  # in the order they were given
        self._by_origin: dict[str, dict[str, list[Link]]] = {}
        for link in self._by_name.values():
            self._by_origin.setdefault(link.url.origin, {}).setdefault(link.url.path, []).append(link)
        self._path_length_max = max((len(link.url.path) for link in self._by_name.values()), default=0)

    @property
    def by_name(self) -> Mapping[str, Link]:
        """The links by name, in the order they were given."""
        return MappingProxyType(self._by_name)

    def choose(self, url: Url, name: str | None = None, among: Collection[str] = ()) -> Link:
        """
        Return the link whose base URL is the longest prefix of *url* on path-segment boundaries.

        Args:
            url: where the signed request will go.
            name: take this link; it must cover *url* all the same.
            among: of several with the same base URL, take one of these names, if one is there.

        Raises:
            UnknownLinkError: no link of this name, or none covers the URL.
            AmbiguousLinkError: several links have the same base URL, not exactly one of them is its default, and *name* is None.
            BadUrlError: the URL climbs out of the link's context path by dot segments or encoded slashes.
        """
        candidates = self._covering(url)
        if name is not None:
            named = self.get(name)
            if named not in candidates and not _covers(named, url):
                raise UnknownLinkError(f"link {name} does not cover this URL", f"its base URL is {named.url}")
            candidates = [named]
        if not candidates:
            raise UnknownLinkError(
                "no application link covers this URL", f"atl-sign link add {self._free_name(url)} {quote(suggest_base_url(url))}"
            )
        candidates = prefer_default([link for link in candidates if link.name in among] or candidates)
        if len(candidates) > 1:
            names = ", ".join(link.name for link in candidates)
            raise AmbiguousLinkError(f"several links have this base URL: {names}", f"atl-sign link default {candidates[0].name}")
        if _climbs_out(url.path, candidates[0].url.path):
            raise BadUrlError(
                "the URL's path climbs out of the link's context path, or may", "take the .. and the encoded slashes out"
            )
        return candidates[0]

    def get(self, name: str) -> Link:
        """Return the link called *name*; raises UnknownLinkError if there is no such link."""
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownLinkError(f"no application link is called {name}", "atl-sign link list") from None

    def _free_name(self, url: Url) -> str:
        """Return a name that no link has, after the host of *url*."""
        first = url.host.partition(".")[0]
        name = first if is_name(first) and not first.isdigit() else "product"
        return next(each for each in chain((name,), (f"{name}-{number}" for number in count(2))) if each not in self._by_name)

    def at_origin(self, url: Url) -> list[Link]:
        """Return the links at the scheme, host and port of *url*, whatever their paths."""
        return [link for links in self._by_origin.get(url.origin, {}).values() for link in links]

    def covering(self, url: Url) -> list[Link]:
        """Return the links with the longest base path that *url* lies under and does not climb out of."""
        links = self._covering(url)
        return [] if links and _climbs_out(url.path, links[0].url.path) else links

    def _covering(self, url: Url) -> list[Link]:
        """Return the links with the longest base path that *url* lies under."""
        by_path = self._by_origin.get(url.origin)
        if by_path is None:
            return []
        for path in _parents(url.path, self._path_length_max):
            if path in by_path:
                return by_path[path]
        return []


def prefer_default(links: list[Link]) -> list[Link]:
    """Return the one of *links* that is the default, if exactly one is; else all of them."""
    defaults = [link for link in links if link.default]
    return defaults if len(defaults) == 1 else links


def suggest_base_url(url: Url) -> str:
    """Return what the base URL of *url* may be: what stands before a product's own page, else its origin."""
    path = guess_base_path(url.path)
    return f"{url.origin}{'' if path == url.path else path}"


def _covers(link: Link, url: Url) -> bool:
    return link.url.origin == url.origin and (url.path + "/").startswith(link.url.path + "/")


def _parents(path: str, length_max: int) -> Iterator[str]:
    """Give "/a/b/c", "/a/b", "/a", "", but none above *length_max*: "https://h/jira" must not cover "https://h/jira-test"."""
    if len(path) > length_max:  # a path of 64 KiB of slashes took a third of a second
        path = path[: path.rindex("/", 0, length_max + 1)]
    while path:
        yield path
        path = path[: path.rindex("/")]
    yield ""


def _climbs_out(path: str, base_path: str) -> bool:
    """Tell whether a server that decodes and squashes *path* (as sent) would leave *base_path* at any point."""
    if "%" not in path and "/." not in path:
        return False
    segments = decoded_segments(path)
    if segments is None:
        return True
    names = [segment.partition(";")[0] for segment in segments[1:]]
    if ".." in names and len(segments) != len(path.split("/")):
        # "/jira/a%2Fb/../.." stays inside where %2F is a slash and leaves where it is not: no single depth holds for both.
        return True
    depth_of_base = base_path.count("/")
    depth = 0
    for name in names:
        if name == "..":
            depth -= 1
            if depth < depth_of_base:
                return True
        elif name not in ("", "."):
            depth += 1
    return False
