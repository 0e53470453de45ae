"""One request that a program is about to send."""

from dataclasses import dataclass

from atl_sign.base.urls import Pairs, Url


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it will be sent, without its Authorization header."""

    method: str  # any case
    url: Url
    form: Pairs | None = None  # decoded names and values of a form body; None for every other body
