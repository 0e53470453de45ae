"""Where the base URL ends in the address of a product's own page."""

from collections.abc import Iterator

# How the paths of the products' own pages and calls begin below the base URL, and how some of them end.
_PAGES = {"admin", "browse", "display", "plugins", "projects", "repos", "rest", "scm", "secure", "spaces", "users"}
_PAGE_ENDINGS = (".action", ".jsp", ".jspa")


def guess_base_path(path: str) -> str:
    """Return what stands in *path* before a product's own page begins; *path* itself where no page is known in it."""
    segments = path.split("/")
    for place, segment in enumerate(segments):
        # A context path may have such a name too, but then nothing follows it in a base URL.
        if segment.endswith(_PAGE_ENDINGS) or (segment in _PAGES and place + 1 < len(segments)):
            return "/".join(segments[:place])
    return path


def possible_base_paths(path: str) -> Iterator[str]:
    """Give the shorter paths that a product's base URL may have if *path* is not one: the likeliest first, down to ""."""
    guess = guess_base_path(path)
    if guess != path:
        yield guess
    for _ in range(path.count("/")):
        path = path.rpartition("/")[0]
        if path != guess:
            yield path
