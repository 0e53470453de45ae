"""A good configuration file, and ways to break one."""

from atl_sign.config.settings import Settings

GOOD = """\
# Ours, by hand.
[store]
backend = "memory"  # for now

# The old one.
[links.jira]
url = "https://h/jira"  # with the context path
consumer_key = "ann"
timeout_s = 60

# Comments of people
# who explain bamboo.
[links.bamboo]
consumer_key = "ann"
url = "https://b"
"""


def problems(settings: Settings) -> list[str]:
    return [str(problem) for problem in settings.problems]


BROKEN = [
    ('[links.bad]\nurl = "https://x\nconsumer_key = "k"\n', 2, "illegal character"),
    ("[links.bad]\nurl = https://x\n", 2, "invalid value"),
    ("\n\n[links.bad]\nconsumer_key 5\n", 4, "expected '='"),
    ("[links.bad\n", 1, "expected ']'"),
    ('[links."bad" ]\nurl = 1\nurl = 2\n', 3, "cannot overwrite a value"),
    ('[links.bad]\nurl = """https://x\n', 2, "unterminated string"),
    ('[links.jira]\nurl = "https://other"\n', 1, "cannot declare"),
    ('[store]\nbackend = "file"\n', 1, "cannot declare"),
    ("[links.bad]\nurl = " + "[" * 5000, None, "nested too deeply"),
    ("[links.bad]\ntimeout_s = " + "9" * 5000 + "\n", None, "number too long"),
]
