"""Application links made at their products, by an administrator who gives a password once, or by a script for one."""

import re
from dataclasses import dataclass

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records
from atl_sign.agent.lookup import Lookup
from atl_sign.agent.own_applink import make_own_applink
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadRequestError, ProviderRefusedError
from atl_sign.base.registration_errors import ApplinkExistsError, RegistrationUnsupportedError
from atl_sign.config.links import Link
from atl_sign.grants.live import Grants
from atl_sign.providers.manifest import Manifest
from atl_sign.providers.products import LINKS_PAGE, PRODUCTS
from atl_sign.schemes.oauth1.applink import Applink

_UNKNOWN_CONSUMER = "consumer_key_unknown"
_OTHER_KEY = "signature_invalid"
_USER = re.compile(r"[^:\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,255}")  # RFC 7617 §2: no colon, no control characters


@dataclass(frozen=True, slots=True)
class RegistrationReport:
    """The application link that the product has now."""

    link: Link
    applink: Applink
    is_new: bool  # False: it had it already


class Registering:
    """Makes application links at products."""

    def __init__(self, lookup: Lookup, grants: Grants, records: Records) -> None:
        """Sign with the key of *grants*."""
        self._lookup = lookup
        self._grants = grants
        self._records = records

    def register(self, caller: Caller, name: str, user: str, password: Secret) -> RegistrationReport:
        """
        Make the application link of the link called *name*, unless the product has it, and check that our key is in it.

        Args:
            caller: who wants it.
            name: the link's.
            user: an administrator at the product.
            password: used only for these calls, and kept nowhere.

        Raises:
            BadRequestError: the link is not one of OAuth 1.0a, or the password would travel unencrypted.
            KeyMissingError: there is no key to enter.
            RegistrationUnsupportedError: the product has no such calls.
            ApplinkExistsError: it has our consumer key or address with another key.
            DaemonError: as `Administration.create`, `Lookup.get` and `Manifests.fetch`.
        """
        from atl_sign.schemes.oauth1.registration import Administration

        with self._records.entry("register", caller, name):
            if not _USER.fullmatch(user):
                raise BadRequestError("a user name has 1 to 255 characters, without a colon", "atl-sign help link", link=name)
            link, applink = self._prepare(name)
            _check_encrypted(link)
            self._check_product(link, self._grants.manifests.fetch(link))
            refusal = self._ask_for_consent(link)
            if refusal is None:
                return RegistrationReport(link, applink, is_new=False)
            if refusal.problem != _UNKNOWN_CONSUMER:
                raise refusal
            Administration(link, user, password).create(applink)
            refusal = self._ask_for_consent(link)
            if refusal is not None:
                message = f"the application link is made, but the product does not take it yet: {refusal.reason}"
                raise ProviderRefusedError(message, refusal.hint, link=name, problem=refusal.problem)
            return RegistrationReport(link, applink, is_new=True)

    def show_script(self, caller: Caller, name: str) -> str:
        """Return the script for an administrator; raises as `register`, if the product can be asked what it is."""
        from atl_sign.schemes.oauth1.registration_script import make_script

        del caller
        link, applink = self._prepare(name)
        manifest = self._grants.manifests.find(link)
        if manifest is not None:
            self._check_product(link, manifest)
        return make_script(link, applink, LINKS_PAGE)

    def _prepare(self, name: str) -> tuple[Link, Applink]:
        link = self._lookup.get(name)
        if not self._grants.scheme(link).needs_key:
            message = f"a link of the scheme {link.scheme} has no application link with OAuth 1.0a"
            raise BadRequestError(message, f"atl-sign dance {name}", link=name)
        return link, make_own_applink(link, self._grants.safe.need_key().public)

    def _check_product(self, link: Link, manifest: Manifest) -> None:
        product = self._grants.scheme(link).check_product(link, manifest)
        if product is None or product.type_id not in PRODUCTS:
            names = ", ".join(each.name for each in PRODUCTS.values())
            message = f"{manifest.type_id} {manifest.version} is not a product whose application links can be made: {names}"
            raise RegistrationUnsupportedError(message, f"atl-sign link setup {link.name}", link=link.name)

    def _ask_for_consent(self, link: Link) -> ProviderRefusedError | None:
        """
        Ask for a request token, and forget it: the provider gives one only if its consumer has our key.

        Returns:
            The refusal; None when there is none.

        Raises:
            ApplinkExistsError: the consumer has another key.
        """
        try:
            self._grants.of(link).begin("oob")
        except ProviderRefusedError as exc:
            if exc.problem == _OTHER_KEY:
                message = f"the product knows the consumer key {link.consumer_key} with another public key, or at another address"
                hint = f"delete that application link at {link.url}{LINKS_PAGE}; what differs: atl-sign doctor {link.name}"
                raise ApplinkExistsError(message, hint, link=link.name) from exc
            if exc.problem is None:
                raise
            return exc
        return None


def _check_encrypted(link: Link) -> None:
    """Raise BadRequestError if a password for the product of *link* could be read on its way."""
    if link.url.scheme == "https" or link.url.is_loopback:
        return
    message = "the password would go over the network unencrypted, because the base URL begins with http:"
    raise BadRequestError(message, f"atl-sign link setup {link.name}", link=link.name)
