"""One answer of a provider, read to its end."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

_STRUCK = "<secret>"


class Headers(Mapping[str, str]):
    """Headers by their names, in any case; of several with one name the first counts."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take names and values as they came."""
        self._values: dict[str, str] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        """Return the value."""
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        """Give the names, in small letters."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in any case
    text: str
    clock_offset_s: float | None  # the provider's clock less ours, by its Date header; None without one

    def without(self, secret: str) -> "Answer":
        """Return the same with *secret* struck out, in case the provider repeats what it was sent."""
        if not secret or not (secret in self.text or any(secret in value for value in self.headers.values())):
            return self
        headers = Headers((name, value.replace(secret, _STRUCK)) for name, value in self.headers.items())
        return replace(self, headers=headers, text=self.text.replace(secret, _STRUCK))

    @property
    def is_html(self) -> bool:
        """Tell whether this is a page for people, such as a login page that stands before the product."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.text.lstrip()[:9].lower().startswith(
            ("<!doctype", "<html")
        )

    @property
    def json_object(self) -> dict[str, Any] | None:
        """The JSON object in it; None for any other content."""
        return json_object(self.text)

    @property
    def user(self) -> str | None:
        """The user that X-AUSERNAME (percent-encoded) names; None when it is absent or says anonymous."""
        name = unquote(self.headers.get("X-AUSERNAME", ""))
        return name if name and name != "anonymous" else None


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that *text* is; None for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
