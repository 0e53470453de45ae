"""The commands that give away a piece of the right."""

from atl_sign.access.presets import NAMES
from atl_sign.commands.table.rows import LEASE_ID, Argument, Command, Form, Option
from atl_sign.commands.table.tools import TOOLS

_PRESETS = " ".join(NAMES)
_LINKS = Option("--link", "a link that the program may use; without it, every link", "NAME", "links", may_repeat=True)
_ALLOW = Option("--allow", "a rule or preset that allows; without it, read", "RULE", _PRESETS, may_repeat=True)
_DENY = Option("--deny", "a rule or preset that denies", "RULE", _PRESETS, may_repeat=True)
_READ_ONLY = Option("--read-only", "allow only the preset read, which is also the default", excludes="--allow")
_FOR = Option("--for", "how long: 90s, 30m, 2h or 7d; without it 1h, and at most 30d", "TIME")
_USES = Option("--uses", "how many requests; without it, any number", "N")
_ALLOW_REUSABLE = Option("--allow-reusable", "with --sign: give out tokens that can be used again, for links without signatures")
_TERMS = (_LINKS, _ALLOW, _DENY, _READ_ONLY, _FOR, _USES)
_LEASES = Argument("ID", "leases", is_needed=False, may_repeat=True)
_ALL = Option("--all", "every lease that is open")

LEASE = Command(
    "lease",
    "give a program a limited part of your right",
    "Opens leases, and shows, changes and revokes them. A lease is a part of your right for a program, a container or an agent: "
    "some links, methods and paths, for a limited time. The program uses it through a socket or a port of its own.\n\n"
    "A rule is one line, METHODS PATH [?name=value]: methods with commas between, or `*`; a path below the link's base URL, in "
    "which `*` stands for something within a segment, and `**` at the end for any number of segments; and a parameter that "
    "the request must have. The name of a preset stands for its rules.",
    (
        Form(
            "open a lease, and print its id, its sockets and its end",
            "new",
            options=(
                *_TERMS,
                Option("--sign", "add a socket that gives out signed headers, for scripts that send requests themselves"),
                Option("--port", "add a port on 127.0.0.1, which takes the lease's secret"),
                Option("--peers", "the users that may use the sockets: own, any, or uids", "own|any|UID,...", "own any"),
                Option("--tunnel", "let the program also reach addresses of no link, unsigned"),
                _ALLOW_REUSABLE,
                Option("--name", "a name to use instead of the id", "NAME"),
                Option("--purpose", "a note for you, up to 200 characters", "TEXT"),
                Option("--env", "print the environment as lines for a shell, such as export NAME='value'"),
                Option("--docker", "print options for docker run", excludes="--env"),
            ),
            more="The secret of the port is printed this once.",
        ),
        Form("print every lease, and those that ended in the last hour", "list"),
        Form("print one lease", "show", arguments=(LEASE_ID,)),
        Form("change the time or the number of uses", "change", arguments=(LEASE_ID,), options=(_FOR, _USES)),
        Form(
            "refuse the requests of a lease until it is resumed",
            "suspend",
            arguments=(_LEASES,),
            options=(_ALL,),
        ),
        Form(
            "allow the requests of a lease again",
            "resume",
            arguments=(_LEASES,),
            options=(_ALL,),
        ),
        Form(
            "end a lease, and cut its connections",
            "revoke",
            arguments=(_LEASES,),
            options=(_ALL,),
        ),
        Form(
            "print the decisions on a lease and its requests, with the rule that decided",
            "log",
            arguments=(LEASE_ID,),
            options=(Option("--follow", "continue with new ones"),),
        ),
        Form(
            "print whether rules would allow a request, and which rule decides; the exit status is 0 if they would, 1 if not, "
            "2 for a bad rule or request",
            "check",
            arguments=(Argument("REQUEST"),),
            options=(
                _ALLOW,
                _DENY,
                Option("--link", "the link that the rules are for, when several cover the URL", "NAME", "links"),
            ),
            more="REQUEST is method and URL in one argument. Nothing is sent or signed.",
        ),
        Form(
            "print the presets, or the rules of one",
            "presets",
            arguments=(Argument("PRESET", _PRESETS, is_needed=False),),
        ),
    ),
    is_handed_over=True,
    more="ID is a lease's id, or the name that `--name` gave it. Leases end with the daemon.\n\n"
    "Denials come before what is allowed, and what no rule allows is refused. An address that servers could read "
    "differently is refused, whatever the rules are. `docs/commands.md` in the sources lists these spellings, and the paths "
    "that only a rule without wildcards allows.\n\n"
    "A lease does not bind programs that run as you and can open the daemon's own socket.",
    examples=(
        "atl-sign lease new --link jira --allow read --allow jira:comment --for 2h",
        "atl-sign lease check 'POST https://jira.example.com/rest/api/2/issue/WEB-1/comment' --allow read --allow jira:comment",
    ),
)
RUN = Command(
    "run",
    "run a program with a lease of its own",
    "Runs COMMAND with a lease that ends with it. The environment of COMMAND has the proxy and the certificates that lead its "
    "requests through the lease.",
    (
        Form(
            "run a program with a lease",
            arguments=(Argument("COMMAND", "programs", may_repeat=True),),
            options=(
                *_TERMS,
                Option("--no-tunnel", "do not let COMMAND reach addresses of no link through the lease"),
                Option("--sign", "add a socket that gives out signed headers, named by `ATL_SIGN_SOCK`"),
                _ALLOW_REUSABLE,
                Option(
                    "--tool",
                    "set the variables by which COMMAND, a tool that wants a base URL and a token, finds the lease's port",
                    "NAME",
                    " ".join(TOOLS),
                    f"NAME is one of {', '.join(TOOLS)}.",
                ),
            ),
        ),
    ),
    is_handed_over=True,
    has_json=False,
    starts_program=True,
    more="COMMAND has a process group of its own, and the terminal if this command has it. Signals are passed on to the group. "
    "The exit status is that of COMMAND, 128+N if signal N ended it, 125 if it was not started because there is no daemon or no "
    "lease, 126 if it cannot be run, and 127 if it is not found. The lease is revoked before this command returns.",
    examples=("atl-sign run --link jira --read-only --for 2h -- python3 report.py",),
)
