"""Times as people write them on a command line: `90s`, `30m`, `2h`, `7d`, `1w`."""

import re
from datetime import timedelta

_DURATION = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta:
    """Return the time that *text* names; raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"this is not a time: {text}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def format_duration(seconds: int) -> str:
    """Return *seconds* in its two largest units: `1h 59m`."""
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
