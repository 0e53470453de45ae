"""The commands that atl-signd carries out: what is long, asks for passphrases or edits other programs' settings."""

from atl_sign.commands.table.lease import LEASE, RUN
from atl_sign.commands.table.rows import LINK, Argument, Command, Form, Option

_STDIN = "read the passphrase from standard input, one line each: the present one, then the new one"

GIT = Command(
    "git",
    "let git authenticate to a Bitbucket",
    "Lets git ask the daemon for a token at a Bitbucket, in git's own global settings. Each form prints the lines that it "
    "changes.",
    (
        Form(
            "have `git-credential-atl-sign` asked for addresses below the link's base URL, and no other helper",
            "setup",
            arguments=(LINK,),
            more="A helper that keeps passwords in a file would keep the token there too.",
        ),
        Form("take these lines out again; no daemon is needed for that", "remove", arguments=(LINK,)),
    ),
    is_handed_over=True,
    more="Git asks `git-credential-atl-sign`, and that asks the daemon, which makes an HTTP access token with a signed "
    "request, keeps it in the store, and hands it to git until it ends. It never asks you anything: without a token it reports "
    "the reason on standard error, and git continues as without it.",
    examples=("atl-sign git setup bitbucket",),
)
UNLOCK = Command(
    "unlock",
    "read the store again",
    "Lets the daemon read its store again. If the store is an encrypted file, this asks for its passphrase: on the terminal, "
    "without a terminal by the program that `SSH_ASKPASS` names, or by pinentry.",
    (
        Form(
            "let the daemon read its store again",
            options=(
                Option("--new", "make the file, with a passphrase of your choice"),
                Option("--change", "give the file another passphrase", excludes="--new"),
                Option(
                    "--key",
                    "unlock the token with the consumer's key by its PIN, or the token of another key",
                    "[REFERENCE]",
                    more="The PIN is asked for in the same way, and tried once.",
                ),
                Option("--try-again", "with --key: try a PIN after a wrong one; the token locks itself after a few"),
                Option("--stdin", _STDIN),
            ),
        ),
    ),
    is_handed_over=True,
    more="After a wrong passphrase the next one must wait, each time longer, up to a minute.",
)
VAULT = Command(
    "vault",
    "print the policy that a vault's operators enter",
    "Prints the policy that the operators of an OpenBao or a Vault enter for machines whose key signs there, or whose tokens are "
    "kept there. It allows what atl-sign does, and nothing else. No daemon is needed.",
    (
        Form(
            "print the policy for a key, a store, or both",
            "policy",
            options=(
                Option("--key", "a key in the transit engine: vault:NAME/MOUNT/KEY", "REFERENCE"),
                Option("--store", "a store in a KV v2 engine: vault:NAME/MOUNT/PREFIX", "BACKEND"),
                Option("--make-key", "with --key: for the person who makes the key there, or moves it there"),
            ),
        ),
    ),
    is_handed_over=True,
    has_json=False,
    examples=("atl-sign vault policy --key vault:ci/transit/atl-sign --store vault:ci/secret/atl-sign",),
)
STORE = Command(
    "store",
    "move the secrets to another store",
    "Moves every secret to another store: copies it, verifies the copy, names the new store in the configuration, and then "
    "removes the secret from the old store. BACKEND is `secret-service`, `file`, `keyring:MODULE.CLASS`, "
    "`vault:NAME/MOUNT/PREFIX` or `memory`.\n\n"
    "To continue a move that was interrupted, run the same command again; to undo it, name the store that is in use.",
    (
        Form(
            "move every secret to BACKEND",
            "move",
            arguments=(Argument("BACKEND", "secret-service file memory keyring: vault:"),),
            options=(
                Option("--volatile", "needed for `memory`, which ends with the daemon"),
                Option(
                    "--stdin",
                    "read the passphrase of the store's file from standard input, one line; makes the file if there is none",
                ),
            ),
        ),
    ),
    is_handed_over=True,
    more="On a machine without a keyring nothing is moved; at a terminal, the first command that finds no keyring offers to keep "
    "the secrets in a file.",
    examples=("atl-sign store move file",),
)
LOG = Command(
    "log",
    "what was signed for whom",
    "Prints the decisions that the daemon has recorded, the oldest first: time, outcome, action, link, peer, request. "
    "The exit status is 1 when nothing was ever recorded.",
    (
        Form(
            "print the decisions",
            options=(
                Option("--follow", "continue with new ones"),
                Option("--link", "only of one link", "NAME", "links"),
                Option("--lease", "only of the lease with this id, with the rules that decided", "ID", "leases"),
                Option("--since", "30m, 2h or 7d ago, or a date or time like 2026-11-25T08:00 (UTC)", "TIME"),
                Option("--json", "the lines as they were recorded"),
            ),
        ),
    ),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
    examples=("atl-sign log --since 1h --link jira",),
)
WHY = Command(
    "why",
    "what was refused last, and what to do about it",
    "Prints the last refusals, the youngest first, each with its cause and what to do: requests that the daemon did not send, "
    "and requests that a product refused. With ID, only those of a lease, and of the leases made from it.\n\n"
    "The daemon keeps the last hundred in memory, without the query of an address; equal ones in a row are counted.",
    (Form("print the last refusals", arguments=(Argument("ID", "leases", is_needed=False),)),),
    is_handed_over=True,
    more="ID is a lease's id or its name. `atl-sign log` has every decision, also those of daemons that have ended.",
    examples=("atl-sign why",),
)
DOCTOR = Command(
    "doctor",
    "find out what is wrong, and which command fixes it",
    "Looks at everything that signing needs: configuration, socket, daemon, service, environment, store, key, audit log, "
    "crypto policy, clock, browser, the programs beside, proxies and certificates; and for each link, or the one called NAME, "
    "the network, TLS, the product, its clock, and how it takes consumer, signature and token. Prints a line for each check, "
    "with the command that fixes what is wrong. The exit status is 1 when something is broken.\n\n"
    "Nothing is changed, nobody is asked for a password, and it ends within a minute.",
    (
        Form(
            "look at everything",
            arguments=(Argument("NAME", "links", is_needed=False),),
            options=(
                Option("--json", "print one object: `version`, `result` and `checks`"),
                Option(
                    "--report",
                    "write a bundle for a bug report, without secrets",
                    "[FILE]",
                    "files",
                    "It is JSON with mode 0600, in the new file FILE, or in one in this folder.",
                ),
                Option("--redact", "with --report: leave hosts and the paths of requests out of the bundle"),
            ),
        ),
    ),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
SETUP = Command(
    "setup",
    "from nothing to the first signed request, step by step",
    "Guides you to the first signed request: product and address, store, key, link and form, dance, check. Shows each command "
    "and skips steps that are done, so you can leave with ^C and continue later. With NAME, it continues with that link.",
    (Form("guide to the first signed request", arguments=(Argument("NAME", "links", is_needed=False),)),),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
SERVE = Command(
    "serve",
    "serve on the Unix socket until SIGTERM",
    "Serves on the Unix socket until SIGTERM or SIGINT. Messages go to standard error.",
    (
        Form(
            "serve on the Unix socket",
            options=(
                Option(
                    "--key-fd",
                    "descriptor that gives the passphrase of the store's file",
                    "N",
                    more="It is read up to its end, less one newline there.",
                ),
                Option("--passed-on", "descriptors from the version that ran before", "N,N", is_hidden=True),
                Option("--report-fd", "for autostart: why there is no daemon", "N", is_hidden=True),
            ),
        ),
    ),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
    more="If systemd has started it, it takes the listening socket from there; otherwise it makes the socket itself, with mode "
    "0600 from the moment it exists, in a folder of mode 0700. A second daemon on the same socket refuses to start and reports "
    "the first one; a socket that a dead daemon left is replaced. A folder that others may write into is refused.\n\n"
    "A broken configuration file does not stop the start: the daemon works with what it can read, and every answer about the "
    "broken part names line and cause. The file is read again whenever it has changed, and on SIGHUP; only the store needs a "
    "new start.\n\n"
    "A daemon that systemd's socket started ends when nobody has needed it for half an hour, or as long as `idle_exit_minutes` "
    "in the configuration says, provided that the next one can read the store without asking anybody; and a few seconds after "
    "another version was installed. The next request starts it again. Without systemd's socket it never ends by itself: when "
    "another version was installed, it goes on as that one, with the same process and socket.",
)
AUTOSTART = Command(
    "autostart",
    "start the daemon when none answers, and wait until it does; what clients call",
    "Returns at once when a daemon answers on the socket; otherwise starts one, and returns when it answers. It is what "
    "clients call, and prints nothing.",
    (Form("start the daemon when none answers"),),
    page="atl-signd",
    has_json=False,
    more="A socket unit that is installed is started by systemd; without one the daemon becomes a background process of its "
    "own, however many ask at once, with its messages in a file.",
)
ASK = Command(
    "ask",
    "ask a person for a token; what atl-sign calls when its standard input brings none",
    "Asks on the terminal without an echo; without a terminal by the program that `SSH_ASKPASS` names, or by pinentry. Prints "
    "the answer, and therefore not to a terminal.",
    (Form("ask a person for a token", arguments=(Argument("QUESTION", ""),)),),
    page="atl-signd",
    has_json=False,
)
QR = Command(
    "qr",
    "print an address as a QR code; what atl-sign calls for the code of another device",
    "Prints the address as a QR code of Unicode blocks, for a telephone's camera. The exit status is 1 if the terminal has too "
    "few columns for it.",
    (Form("print a QR code", arguments=(Argument("ADDRESS", ""),)),),
    page="atl-signd",
    has_json=False,
)
OFFER = Command(
    "offer",
    "offer a store to a person at a terminal; what atl-sign calls when the daemon has none",
    "Asks on the terminal whether to keep the secrets in an encrypted file, and makes it. The exit status is 0 when there is a "
    "store.",
    (Form("offer a store"),),
    page="atl-signd",
    has_json=False,
)
STOP = Command(
    "stop",
    "end the daemon",
    "Ends the daemon and returns when it has ended; the next command starts it again. If systemd listens on the socket, its "
    "service is stopped and the socket stays. If no daemon is running, it reports that, with status 0.",
    (Form("end the daemon"),),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
RESTART = Command(
    "restart",
    "end the daemon and start it",
    "Ends the daemon, starts it with the environment of this command, for another version or another `ATL_SIGN_STORE`, and "
    "prints its state. If systemd starts it, it has the environment of the user manager.",
    (Form("end the daemon and start it"),),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
SERVICE = Command(
    "service",
    "have systemd start the daemon at log-in",
    "Has the daemon started by systemd's socket. Without systemd it reports that, and that clients start the daemon themselves.",
    (
        Form("link, enable and start the units of this installation, and check them with one request", "install"),
        Form("remove everything that `install` made", "uninstall"),
        Form(
            "print the state of the units and the daemon; the exit status is 1 if there is something to do",
            "status",
            options=(Option("--json", "with status: print it as JSON"),),
        ),
    ),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
DEMO = Command(
    "demo",
    "sandbox, daemon, dance and signed curl in a throw-away folder",
    "Shows the main job in a throw-away folder: a sandbox, a daemon, a key, a link, the dance, and signed requests.",
    (Form("show the main job", options=(Option("--no-browser", "approve by itself even where a browser is"),)),),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)
_PRODUCTS = "bamboo jira confluence bitbucket"
SANDBOX = Command(
    "sandbox",
    "a provider to try against",
    "Plays the four products on 127.0.0.1, with OAuth 1.0a and 2.0 and a little of their REST interfaces, all in memory, until "
    "SIGTERM or SIGINT. Prints each product with its base URL. Users are alice, bob and admin; each password is the name.",
    (
        Form(
            "play the products",
            options=(
                Option("--port", "port to listen on; 0, the default, is any free one", "N"),
                Option("--product", "product to play; all four without it", "PRODUCT", _PRODUCTS, may_repeat=True),
                Option(
                    "--product-version",
                    "another version of a product, such as jira=8.13.0, which has no personal access tokens",
                    "PRODUCT=VERSION",
                    may_repeat=True,
                ),
                Option(
                    "--cloud",
                    "play Atlassian Cloud too: a site, its gateway, account pages, Bitbucket Cloud, on the six ports after "
                    "--port",
                    more="The site has Jira and Confluence, and users make API tokens on the account pages. Its users log in "
                    "with alice@example.com and so on.",
                ),
                Option("--scoped-only", "with --cloud: the gateway refuses API tokens without scopes"),
                Option(
                    "--forges",
                    "play GitHub, GitHub Enterprise, GitLab and a generic OAuth 2.0 provider too, on the five ports after those "
                    "of --cloud",
                ),
                Option(
                    "--app",
                    "register an app at each OAuth 2.0 server and print its client ID, secret and redirect URL",
                    "[URL]",
                    more="In the redirect URL, {host} stands for the server's host and port, with a hyphen between them.",
                ),
                Option("--context-path", "instead of /PRODUCT, with a single --product; / for none", "PATH"),
                Option("--base-url", "the configured base URL, when it is to differ from the real address", "URL"),
                Option("--behind-proxy", "check signatures against --base-url, as behind a badly set-up proxy"),
                Option("--clock-offset", "how far the sandbox's clock is ahead", "SECONDS"),
                Option("--token-life", "life of an access token", "SECONDS"),
                Option("--oauth2-token-life", "life of an access token of OAuth 2.0, at every server", "SECONDS"),
                Option("--request-token-life", "life of a request token", "SECONDS"),
                Option("--token-days-max", "for how long at most a user may ask for a personal access token", "DAYS"),
                Option(
                    "--tokens-must-expire",
                    "refuse a personal access token without an end, as an administrator can demand it",
                ),
                Option(
                    "--no-signed-tokens",
                    "refuse a signed request that makes a personal access token, except at Bitbucket",
                ),
                Option("--refusals", "how an OAuth problem arrives", "FORM", "both newline header body page"),
            ),
        ),
    ),
    page="atl-signd",
    is_handed_over=True,
    has_json=False,
)

HANDED_OVER = {
    each.name: each
    for each in (
        *(GIT, LEASE, RUN, UNLOCK, STORE, VAULT, LOG, WHY, DOCTOR, SETUP, SERVE, STOP, RESTART, SERVICE, DEMO, SANDBOX),
        *(AUTOSTART, ASK, QR, OFFER),  # no command of atl-sign's
    )
}
