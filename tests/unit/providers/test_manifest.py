"""What a product says of itself, when the first answer is none."""

from dataclasses import replace

import pytest

from atl_sign.base.errors import DaemonError, ProviderRefusedError, ProviderUnreachableError
from atl_sign.providers.manifest import fetch_manifest
from tests.unit.provider_lab import make_link
from tests.unit.raw_server import RawServer, reply


@pytest.mark.parametrize(("scheme", "kind"), [("oauth1", ProviderRefusedError), ("basic", ProviderUnreachableError)])
def test_a_404_is_not_hidden_by_the_question_after_it(scheme: str, kind: type[DaemonError]) -> None:
    """Where a proxy drops unknown requests, an application link's first answer says more; a token's link needs the second."""
    with RawServer(reply("", 404), b"") as server, pytest.raises(kind):
        fetch_manifest(replace(make_link(server.url), scheme=scheme))
