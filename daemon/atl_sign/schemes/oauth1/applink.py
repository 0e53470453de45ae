"""The application link that we ask a product for, by its form, by REST or by a script, and the bodies of the two REST calls."""

from dataclasses import dataclass

from atl_sign.config.links import Link

LINKS_PATH = "/rest/applinks/3.0/applicationlink"


@dataclass(frozen=True, slots=True)
class Applink:
    """An application link with its incoming consumer; all of it may be seen by anybody."""

    name: str
    url: str  # of our side; nothing answers there
    consumer_key: str
    consumer_name: str  # the consent page's word for us
    public_key: str  # SubjectPublicKeyInfo PEM

    @property
    def link_fields(self) -> dict[str, object]:
        """The body of the call that makes the link (facts section 1.2)."""
        return {"name": self.name, "rpcUrl": self.url, "displayUrl": self.url, "typeId": "generic"}

    @property
    def consumer_fields(self) -> dict[str, object]:
        """The body of the call that gives the link its consumer (facts section 1.2)."""
        return {
            "key": self.consumer_key,
            "name": self.consumer_name,
            "description": "",
            "publicKey": self.public_key,
            "outgoing": False,
            "twoLOAllowed": False,
            "executingTwoLOUser": None,
            "twoLOImpersonationAllowed": None,
        }


def make_applink(link: Link, public_key: str, consumer_name: str, owner: str) -> Applink:
    """
    Return the application link for *link*.

    Args:
        link: whose consumer key it has.
        public_key: SubjectPublicKeyInfo PEM.
        consumer_name: the consent page's word for us.
        owner: user and machine in one word. A product refuses a second link with the same application URL or name.
    """
    url = f"https://atl-sign.invalid/{owner}/{link.name}"
    return Applink(f"atl-sign {link.name} {owner}", url, link.consumer_key, consumer_name, public_key)


def consumer_path(link_id: str) -> str:
    """Return the path of the call that gives the application link *link_id* its consumer."""
    return f"/rest/applinks-oauth/1.0/applicationlink/{link_id}/authentication/consumer"
