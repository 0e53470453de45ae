"""The command that gives away a piece of the right."""

from atl_sign.access.presets import NAMES
from atl_sign.commands.table.rows import Argument, Command, Form, Option

LEASE = Command(
    "lease",
    "try out rules that limit a program",
    "Tries out rules that limit a program to a part of your right. Leases are not implemented yet.\n\n"
    "A rule is one line, METHODS PATH [?name=value]: methods with commas between, or `*`; a path below the link's base URL, in "
    "which `*` stands for something within a segment, and `**` at the end for any number of segments; and a parameter that "
    "the request must have. The name of a preset stands for its rules.",
    (
        Form(
            "print whether rules would allow a request, and which rule decides; the exit status is 0 if they would, 1 if not, "
            "2 for a bad rule or request",
            "check",
            arguments=(Argument("REQUEST"),),
            options=(
                Option("--allow", "a rule or preset that allows; without it, read", "RULE", " ".join(NAMES), may_repeat=True),
                Option("--deny", "a rule or preset that denies", "RULE", " ".join(NAMES), may_repeat=True),
                Option("--link", "the link that the rules are for, when several cover the URL", "NAME", "links"),
            ),
            more="REQUEST is method and URL in one argument. Nothing is sent or signed.",
        ),
        Form(
            "print the presets, or the rules of one",
            "presets",
            arguments=(Argument("PRESET", " ".join(NAMES), is_needed=False),),
        ),
    ),
    is_handed_over=True,
    more="Denials come before what is allowed, and what no rule allows is refused. An address that servers could read "
    "differently is refused, whatever the rules are. `docs/commands.md` in the sources lists these spellings, and the paths "
    "that only a rule without wildcards allows.",
    examples=(
        "atl-sign lease check 'POST https://jira.example.com/rest/api/2/issue/WEB-1/comment' --allow read --allow jira:comment",
    ),
)
