"""Counts of the last hour."""

from atl_sign.base.hourly import HourlyCounts


def test_counts_are_of_the_last_hour() -> None:
    """To the minute; what is older is forgotten."""
    counts = HourlyCounts()
    for minute in range(90):
        counts.add("jira", minute * 60.0)
    counts.add("bamboo", 5340.0)

    assert counts.counts(5340.0) == {"jira": 60, "bamboo": 1}
    assert counts.counts(5340.0 + 1800) == {"jira": 30, "bamboo": 1}
    assert counts.counts(5340.0 + 3600) == {}
    assert HourlyCounts().counts(0.0) == {}
