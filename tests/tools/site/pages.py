"""
Hooks of mkdocs: which files the site has, and its navigation.

A file is known by its path in the repository, so a link that works in the repository works in the site.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_LINK = re.compile(r"\]\(([^)#:\s]+)[^)\s]*\)")
_PAGES = {"README.md": "index.html", "docs/README.md": "documentation.html"}  # both would be index.html


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of docs/README.md: its headings are the sections, and its links the pages."""
    index = Path(config.docs_dir).resolve() / "README.md"
    root = index.parent.parent
    entries: list[Any] = []
    below, seen = {1: entries}, {index}
    for line in index.read_text().splitlines():
        if heading := re.match(r"(##+) (.+)", line):
            depth = len(heading[1])
            entries = below[depth] = []
            below[depth - 1].append({heading[2]: entries})
        for page in _linked(index, line):
            if page.suffix == ".md" and page not in seen:
                seen.add(page)
                entries.append(str(page.relative_to(root)))
    start, *sections = below[1]
    config.nav = [{"Overview": start}, str(index.relative_to(root)), *sections]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the files of docs/, the pages at the top, and every file of the repository that one of these links to."""
    docs = Path(config.docs_dir).resolve()
    root = docs.parent

    def add(source: str, target: str, inclusion: InclusionLevel) -> None:
        target = _PAGES.get(source, target)
        files.append(File(source, str(root), config.site_dir, False, dest_uri=target, inclusion=inclusion))

    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
        add(f"{docs.name}/{file.src_uri}", file.dest_uri, file.inclusion)
    waiting, taken = [*docs.rglob("*.md"), *root.glob("*.md")], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in taken:
            continue
        taken.add(path)
        is_page = path.suffix == ".md"
        if is_page:
            waiting.extend(_linked(path, path.read_text()))
        if docs not in path.parents:
            source = path.relative_to(root)
            # A browser shows a unit or a program as text if its name says so.
            target = source.with_suffix(".html") if is_page else source.with_name(f"{source.name}.txt")
            add(str(source), f"repository/{target}", InclusionLevel.NOT_IN_NAV)
    return files


def on_post_template(_output: str, **_: object) -> str:
    """Leave out 404.html and sitemap.xml, which are for a site with an address of its own."""
    return ""


def _linked(page: Path, text: str) -> list[Path]:
    """The files that *text* links to as it stands in *page*."""
    paths = [(page.parent / target).resolve() for target in _LINK.findall(text)]
    return [path for path in paths if path.is_file()]
