"""A product's manifest: what it says of itself to anybody (facts section 7)."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atl_sign.base.errors import BadUrlError, DaemonError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.base.urls import Url
from atl_sign.config.base_path import possible_base_paths
from atl_sign.config.links import SCHEME_DEFAULT, Link, parse_base_url
from atl_sign.providers.cloud import fetch_cloud_id, find_bitbucket_api, is_confluence
from atl_sign.providers.products import MANIFEST_PATH, Product, find_product

if TYPE_CHECKING:  # requests takes 150 ms to load: when the first product is asked
    from atl_sign.providers.answer import Answer


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest: a product's description of itself, for anybody (facts section 7)."""

    type_id: str
    version: str
    url: str  # the configured base URL
    cloud_id: str | None = None  # of a site of Atlassian Cloud
    api: Url | None = None  # where a Bitbucket Cloud has its REST interface

    own_product: Product | None = None  # of a provider that is not one of Atlassian's

    @property
    def product(self) -> Product | None:
        """The product, when it is known."""
        return self.own_product or find_product(self.type_id)

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The version for comparing; a great one for a text that is not numbers."""
        found = re.match(r"\d{1,6}(\.\d{1,6})*", self.version)
        return tuple(map(int, found[0].split("."))) if found else (10**6,)

    @property
    def is_cloud(self) -> bool:
        """Whether it is Atlassian's own, rather than a server that somebody runs."""
        return self.cloud_id is not None or self.api is not None

    def is_at(self, base_url: Url) -> bool:
        """Tell whether the product is configured with *base_url*, or does not say."""
        try:
            return not self.url or parse_base_url(self.url) == base_url
        except BadUrlError:
            return False


class Manifests:
    """The manifests that were fetched since the start, by base URL."""

    def __init__(self, describe: Callable[[Link], Manifest | None] = lambda _: None) -> None:
        """Begin with none; *describe* tells what the provider of a link is when nobody needs to ask it."""
        self._describe = describe
        self._manifests: dict[Url, Manifest] = {}

    def fetch(self, link: Link) -> Manifest:
        """Ask the product of *link* who it is, and remember the answer; raises as `fetch_manifest`."""
        described = self._describe(link)
        if described is not None:
            return described
        manifest = fetch_manifest(link)
        self._manifests[link.url] = manifest
        return manifest

    def find_product(self, link: Link) -> Product | None:
        """Return the product of *link* when its manifest is known or can be had."""
        manifest = self.find(link)
        return None if manifest is None else manifest.product

    def find(self, link: Link) -> Manifest | None:
        """Return what the product of *link* says of itself, when that is known or can be had."""
        if not self.knows(link):
            with suppress(DaemonError):
                self.fetch(link)
        return self._describe(link) or self._manifests.get(link.url)

    def knows(self, link: Link) -> bool:
        """Tell whether the product of *link* is known without asking it."""
        return link.url in self._manifests or self._describe(link) is not None


def fetch_manifest(link: Link) -> Manifest:
    """Ask the product who it is, anonymously; raises ProviderRefusedError or ProviderUnreachableError."""
    return show_product(link)[0]


def show_product(link: Link) -> "tuple[Manifest, Answer]":
    """Return as `fetch_manifest`, with the answer to the first question, whatever it was."""
    answer = _fetch_answer(link)
    # A Cloud site has no application links, so for a link of another scheme a refusal at their address says nothing yet.
    if answer.status == 404 or (answer.status != 200 and link.scheme != SCHEME_DEFAULT):
        try:
            cloud = _ask_cloud(link)
        except ProviderUnreachableError:
            if link.scheme != SCHEME_DEFAULT:
                raise
            cloud = None  # the first answer says more
        if cloud is not None:
            return cloud, answer
    return _read_manifest(link, answer), answer


def _ask_cloud(link: Link) -> Manifest | None:
    """Return the product of Atlassian Cloud at the address of *link*, or None; raises ProviderUnreachableError."""
    cloud_id = fetch_cloud_id(link)
    if cloud_id is not None:
        product = "confluence-cloud" if is_confluence(link) else "jira-cloud"
        return Manifest(product, "Cloud", str(link.url), cloud_id)
    api = find_bitbucket_api(link)
    return None if api is None else Manifest("bitbucket-cloud", "Cloud", str(link.url), api=api)


def find_above(link: Link, fetch: Callable[[Link], Manifest]) -> tuple[Url, Manifest] | None:
    """
    Return the address above that of *link* where a product answers, with what it says; None when there is none.

    Args:
        link: whose address is that of a page.
        fetch: asks the product of a link, as `fetch_manifest` does; what it raises beside ProviderRefusedError is raised.
    """
    for path in possible_base_paths(link.url.path):
        url = replace(link.url, path=path)
        with suppress(ProviderRefusedError):
            return url, fetch(replace(link, url=url))
    return None


def _fetch_answer(link: Link) -> "Answer":
    """Return whatever answers where the manifest should be; raises ProviderUnreachableError."""
    from atl_sign.providers.exchange import fetch, within_deadline

    return within_deadline(link, lambda: fetch(link, MANIFEST_PATH, {"Accept": "application/xml"}, time.time))


def _read_manifest(link: Link, answer: "Answer") -> Manifest:
    """Return the manifest that *answer* holds; raises ProviderRefusedError."""
    from atl_sign.providers.unexpected import unexpected_answer

    manifest = _parse_manifest(answer.text) if answer.status == 200 else None
    if manifest is None:
        raise unexpected_answer(link, answer, "it has no application-link manifest")
    return manifest


def _parse_manifest(text: str) -> Manifest | None:
    from xml.etree import ElementTree  # here: only a product's answer needs it

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None  # a manifest has neither, and entities can be made to explode
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no entities, bounded size
    except ElementTree.ParseError:
        return None
    # Parts of the document may carry a namespace.
    found = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root}
    type_id, version, url = (found.get(name, "")[:500] for name in ("typeId", "version", "url"))
    return Manifest(type_id, version, url) if type_id else None
