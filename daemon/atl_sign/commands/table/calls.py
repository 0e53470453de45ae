"""The commands of the bash program: each is one call of the daemon. And the list of all commands."""

from atl_sign.commands.table.handed_over import HANDED_OVER
from atl_sign.commands.table.rows import LINK, REFERENCE, Argument, Command, Form, Option
from atl_sign.config.setting import Choice, Setting
from atl_sign.schemes.registry import LINK_SETTINGS

_LINK_OPTION = Option("--link", "the link to sign for, when several cover the URL", "NAME", "links")
_URL = Argument("URL", "urls")


def _option_of(row: Setting) -> Option:
    """Return the option of `link add` for the setting *row*."""
    takes = "files" if row.metavar == "FILE" else " ".join(row.kind.words) if isinstance(row.kind, Choice) else ""
    return Option(row.flag, row.help, row.metavar, takes)


LINK_ADD_SETTINGS = tuple(row for row in LINK_SETTINGS.values() if row.flag)

LINK_COMMAND = Command(
    "link",
    "keep application links",
    "Keeps application links. A link is a product's base URL, with its context path, under a name that you choose: up to 64 "
    "letters, digits, dots, dashes and underscores. Requests to addresses under the base URL are signed with the link's token.",
    (
        Form(
            "register a link, make the consumer's key if there is none, and print what is entered at the provider",
            "add",
            arguments=(Argument("NAME"), Argument("URL")),
            options=(
                *(_option_of(row) for row in LINK_ADD_SETTINGS),
                Option("--replace", "change the link if there is one of this name", more="Without it that is refused."),
            ),
            more="If no product answers at URL, the link is kept, the last lines report why, and the exit status is 1; if URL "
            "is a page's address, the hint is the command with the base URL.",
        ),
        Form("print every link and the state of its token: `none`, `active` or `expired`", "list", ("ls",)),
        Form("print the settings of one link", "show", arguments=(LINK,)),
        Form("forget the link and its token", "remove", ("rm",), (LINK,)),
        Form("print again what is entered at the provider", "setup", arguments=(LINK,)),
        Form(
            "keep the secret of the link's app, which is read from standard input and not shown",
            "secret",
            arguments=(LINK,),
            more="At a terminal the command asks for it; if nothing comes on standard input, the program that `SSH_ASKPASS` "
            "names asks, or pinentry. Never write a secret on a command line.",
        ),
        Form("make this link the default among those with its base URL", "default", arguments=(LINK,)),
    ),
    examples=("atl-sign link add bamboo https://bamboo.example.com",),
)
KEY = Command(
    "key",
    "the public key that application links are given",
    "Prints the public key, which an administrator enters for every application link. The store holds the private key, or the "
    "key stays in a vault or in a PKCS#11 token and signs there. REFERENCE then names it: vault:NAME/MOUNT/KEY, or a pkcs11: URI "
    "without a PIN.",
    (
        Form("print the public key"),
        Form(
            "make a key",
            "new",
            options=(
                Option("--bits", "2048 (the default), 3072 or 4096", "N", "2048 3072 4096"),
                Option("--in", "where to make it instead of the store", "REFERENCE"),
                Option(
                    "--replace",
                    "replace the existing key; every application link then needs the new one",
                    more="No product accepts a signature before that.",
                ),
            ),
        ),
        Form(
            "sign with a key that is in a vault or a token",
            "use",
            arguments=(REFERENCE,),
            options=(Option("--replace", "replace another key; every application link then needs the new one"),),
        ),
        Form("move the key from the store to a vault or a token; no provider sees a change", "import-to", arguments=(REFERENCE,)),
    ),
)
DANCE = Command(
    "dance",
    "consent in the browser, once for each link",
    "Requests an access token from the product, which asks for your consent on a page in your browser. Opens the browser, waits "
    "until you have pressed Allow or Deny, and prints the outcome; ^C cancels. For a link with the scheme bearer or basic, it "
    "prints the address of the page where you make a token, and asks you for the token without showing it; a script passes the "
    "token on standard input.",
    (
        Form(
            "ask for an access token",
            arguments=(LINK,),
            options=(
                Option("--oob", "let the product show a code that you type here; the default over SSH and without a browser"),
                Option(
                    "--device",
                    "show a code that you enter on any device, for a provider that supports it",
                    more="GitHub, GitLab and servers of the flavour generic do. It needs no browser on this machine, and at "
                    "GitHub no secret.",
                    excludes="--oob",
                ),
                Option("--no-browser", "print the address, open nothing, and wait until you have opened it on this machine"),
                Option("--expires", "the last day of a token that you paste, for products that do not report it", "DATE"),
            ),
        ),
    ),
    aliases=("login",),
    more="Over SSH, and if no browser can be opened, the product shows a code instead, and the command asks for it; you can also "
    "paste the whole address that the browser ended on.",
    examples=("atl-sign dance bamboo",),
)
CHECK = Command(
    "check",
    "who am I there",
    "Asks the product with a signed request who you are, and warns if something looks wrong: an anonymous answer, a login page, "
    "a clock that differs, another base URL.",
    (Form("ask who you are", arguments=(LINK,)),),
)
TOKEN = Command(
    "token",
    "personal access tokens made for you",
    "`rotate` replaces the personal access token of a bearer link with a new one, and removes the old one at the product; Jira, "
    "Confluence and Bamboo support this. `make` gets the first token with a request that is signed for another link.",
    (
        Form(
            "replace the token with a new one",
            "rotate",
            arguments=(LINK,),
            options=(Option("--days", "how long the new token is valid (default: 90)", "DAYS"),),
        ),
        Form(
            "get a token with a signed request, without pasting one",
            "make",
            arguments=(LINK,),
            options=(
                Option("--from", "the link of the scheme oauth1, to the same product, that signs", "NAME", "links"),
                Option("--days", "how long the new token is valid (default: 90)", "DAYS"),
            ),
        ),
    ),
    examples=("atl-sign token rotate jira",),
)
LOGOUT = Command(
    "logout",
    "forget the token",
    "Deletes the link's token from the store, and has the provider revoke it, or prints the page where you do that. It "
    "also revokes the token that was made there for git.",
    (
        Form(
            "forget the token",
            arguments=(LINK,),
            options=(
                Option("--keep-grant", "do not ask the provider to revoke the token"),
                Option("--keep-git-token", "leave git its token, which is valid until it expires"),
            ),
        ),
    ),
    more="Only revoking makes a copied token useless.",
)
HEADER = Command(
    "header",
    "one Authorization header, good for one request",
    "Prints the line `Authorization: OAuth ...` for one request. It is valid once, for that method and URL, for five minutes.",
    (
        Form(
            "print the header",
            arguments=(Argument("METHOD", "GET POST PUT DELETE HEAD PATCH OPTIONS"), _URL),
            options=(
                Option(
                    "--form",
                    "the body, if it is application/x-www-form-urlencoded; @FILE and @- (standard input) are read as they are",
                    "BODY|@FILE|@-",
                    "form",
                    "Pass it byte for byte as you will send it, with line endings. Leave any other body out: OAuth does not "
                    "sign it.",
                ),
                Option(
                    "--with-url",
                    "print the address to send the request to on a second line",
                    more="If a token is valid only at a gateway, the header is refused without this option.",
                ),
                _LINK_OPTION,
            ),
        ),
    ),
    examples=('curl -H @<(atl-sign header GET "$url") "$url"',),
)
CURL = Command(
    "curl",
    "curl, signed",
    "Runs your curl with the daemon's proxy in its environment. The daemon signs each request on its way to the product, and "
    "curl never sees a token or a signature.",
    (
        Form(
            "run curl, signed",
            arguments=(Argument("CURL-ARGUMENT..."),),
            options=(
                Option(
                    "--link",
                    "the link to sign for; otherwise that of `ATL_SIGN_LINK`, or the one that covers the URL",
                    "NAME",
                    "links",
                ),
                Option("--dry-run", "print method, URL, form, link and signature base string, and send nothing"),
            ),
        ),
    ),
    has_json=False,
    more="These two come before all of curl's arguments. All options of the installed curl work, and output, exit status, "
    "signals and the progress meter are curl's own.",
    after="If the daemon refuses a request, it does not send it: curl reports an empty reply, the reason and mostly a hint "
    "follow on standard error, and the exit status is 125. If the product refuses the signature, or treats a signed request as "
    "anonymous, the remedy is printed too, unless `-s` is there.\n\n"
    "- The daemon makes the connection to the product. Options about it, such as `-k`, `--cacert`, `--cert`, `-x` and "
    "`--resolve`, are refused, also in `~/.curlrc` and in a file of `-K`: the link has settings for them.\n\n"
    "- Other credentials, in an option or in an `Authorization` header, are refused.\n\n"
    "- An address outside every link is refused, unless a redirect of a link leads there; then curl's own request goes there, "
    "unsigned.\n\n"
    "- A line break in a value is refused, except in a body: it could add a header.\n\n"
    "`docs/commands.md` in the sources lists what differs from plain curl.",
    examples=("atl-sign curl -sS https://jira.example.com/rest/api/2/myself",),
)
STATUS = Command(
    "status",
    "how the daemon is, and which links need a dance",
    "Prints version, process, store and audit log of the daemon, then each link, or the one called NAME, with its token's "
    "state, user and end, and warnings.",
    (
        Form(
            "print how the daemon is",
            arguments=(Argument("NAME", "links", is_needed=False),),
            options=(
                Option(
                    "--exit-code",
                    "1 when a link may not sign without a dance (or the store does not say), 0 when none needs one",
                ),
            ),
        ),
    ),
    more="`store_state` says whether the store can be used: `ready`, `locked` or `unavailable`.",
)
LOCK = Command(
    "lock",
    "forget every secret in memory",
    "Makes the daemon forget every secret in its memory: nothing is signed until `unlock`. Dances that wait are cancelled.",
    (Form("forget every secret"),),
    more="The `memory` store cannot be locked, because nothing could bring its secrets back.",
)
HELP = Command(
    "help",
    "the commands, or one command in full",
    "Lists the commands, or prints what one of them does.",
    (Form("list the commands", arguments=(Argument("COMMAND", "commands", is_needed=False),)),),
    has_json=False,
)

CALLS = (LINK_COMMAND, KEY, DANCE, CHECK, TOKEN, LOGOUT, HEADER, CURL, STATUS, LOCK, HELP)
_ORDER = (
    *(
        "setup",
        "link",
        "key",
        "dance",
        "check",
        "token",
        "logout",
        "git",
        "header",
        "curl",
        "lease",
        "run",
        "status",
        "log",
        "why",
        "doctor",
    ),
    *("lock", "unlock", "store", "serve", "stop", "restart", "service", "demo", "sandbox", "help"),
)
_BY_NAME = {each.name: each for each in CALLS} | HANDED_OVER
COMMANDS = tuple(_BY_NAME[name] for name in _ORDER)
