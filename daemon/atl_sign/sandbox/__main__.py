"""The command `atl-sign sandbox`: serves until SIGTERM or SIGINT."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from atl_sign.sandbox.app_lines import REDIRECT, register_apps
from atl_sign.sandbox.cloud.hosts import HOSTS
from atl_sign.sandbox.cloud.server import Cloud
from atl_sign.sandbox.forge.kind import ForgeName
from atl_sign.sandbox.forge.server import FORGES, Forge
from atl_sign.sandbox.problems import REFUSAL_FORMS
from atl_sign.sandbox.server import PRODUCTS, Sandbox
from atl_sign.sandbox.state import REQUEST_TOKEN_LIFE_S, TOKEN_LIFE_S
from atl_sign.sandbox.tokens import DAYS_MAX

_END = (signal.SIGTERM, signal.SIGINT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 after SIGTERM or SIGINT, 1 when it cannot listen. Bad usage exits with 2."""
    parser = _make_parser()
    options = parser.parse_args(argv)
    if options.scoped_only and not options.cloud:
        parser.error("--scoped-only goes with --cloud")
    try:
        sandbox = Sandbox(
            list(dict.fromkeys(options.product)) or tuple(PRODUCTS),
            versions=dict(options.product_version),
            port=options.port,
            context_path=options.context_path,
            base_url=options.base_url,
            is_behind_proxy=options.behind_proxy,
            clock=lambda: time.time() + options.clock_offset,
            token_life_s=options.token_life,
            request_token_life_s=options.request_token_life,
            token_days_max=options.token_days_max,
            tokens_must_expire=options.tokens_must_expire,
            signed_makes_tokens=not options.no_signed_tokens,
            refusals=options.refusals,
        )
        cloud = _make_cloud(options, sandbox.clock) if options.cloud else None
        forges = _make_forges(options, sandbox.clock) if options.forges else {}
    except ValueError as exc:
        parser.error(str(exc))
    # Blocked before the first thread is made, so that none of them gets the signal instead of the one that waits for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _END)
    try:
        with ExitStack() as stack:
            stack.enter_context(sandbox)
            if cloud is not None:
                stack.enter_context(cloud)
            for forge in forges.values():
                stack.enter_context(forge)
            _set_lives(options.oauth2_token_life, sandbox, cloud, forges)
            lines = list(_list_addresses(sandbox, cloud, forges))
            if options.app is not None:
                lines += register_apps(options.app, sandbox, cloud, forges)
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
            signal.sigwait(_END)
    except ValueError as exc:  # a server does not take the redirect URL
        parser.error(str(exc))
    except OSError as exc:
        sys.stderr.write(f"atl-sign sandbox: cannot listen on {exc.filename}: {exc.strerror}\n")
        return 1
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


def _make_cloud(options: argparse.Namespace, clock: Callable[[], float]) -> Cloud:
    port = options.port + 1 if options.port else 0
    return Cloud(port=port, clock=clock, takes_classic_at_gateway=not options.scoped_only)


def _make_forges(options: argparse.Namespace, clock: Callable[[], float]) -> dict[ForgeName, Forge]:
    """Return a forge of each kind; GitHub has two ports, the others one. They follow those of Cloud, served or not."""
    port = options.port + 1 + len(HOSTS) if options.port else 0
    if port + len(FORGES) + 1 > 65_536:
        raise ValueError(f"there are no {len(FORGES) + 1} ports from {port} on")
    forges: dict[ForgeName, Forge] = {}
    for kind in FORGES:
        forges[kind] = Forge(kind, port=port, clock=clock)
        port += (2 if kind == "github" else 1) if port else 0
    return forges


def _list_addresses(sandbox: Sandbox, cloud: Cloud | None, forges: Mapping[ForgeName, Forge]) -> Iterator[str]:
    for product in sandbox.state.sites:
        yield f"{product} {sandbox.base_url(product)}"
    if cloud is not None:
        for host in HOSTS:
            yield f"cloud-{host} {cloud.url(host)}"
    for kind, forge in forges.items():
        yield f"{kind}-site {forge.url('site')}"
        yield f"{kind}-api {forge.url('api')}"


def _set_lives(life_s: float | None, sandbox: Sandbox, cloud: Cloud | None, forges: Mapping[ForgeName, Forge]) -> None:
    servers = [site.oauth2 for site in sandbox.state.sites.values() if site.oauth2 is not None]
    servers += cloud.state.oauth2.values() if cloud is not None else ()
    servers += [forge.oauth2 for forge in forges.values()]
    if life_s is not None:
        for server in servers:
            server.access_token_life_s = life_s


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atl-sign sandbox",
        description="A provider to try against: four products with OAuth 1.0a and 2.0 and tokens, on 127.0.0.1, all in memory.",
        epilog="Users are alice, bob and admin, at Cloud alice@example.com and so on; each password is the name.",
    )
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="port to listen on; 0, the default, is any free one")
    parser.add_argument("--product", action="append", default=[], choices=tuple(PRODUCTS), help="repeatable; all four without it")
    parser.add_argument(
        "--product-version",
        action="append",
        default=[],
        type=_product_version,
        metavar="PRODUCT=VERSION",
        help="another version of a product, such as jira=8.13.0, which has no personal access tokens; repeatable",
    )
    parser.add_argument(
        "--cloud",
        action="store_true",
        help="also a Cloud site, its gateway, account pages and Bitbucket Cloud, on the six ports after --port",
    )
    parser.add_argument(
        "--forges",
        action="store_true",
        help="also GitHub, GitHub Enterprise, GitLab and a generic OAuth 2.0 provider, on the five ports after those of --cloud",
    )
    parser.add_argument(
        "--app",
        nargs="?",
        const=REDIRECT,
        metavar="URL",
        help="register an app at each OAuth 2.0 server and print its client ID, secret and redirect URL; "
        "{host} in URL stands for the server's host and port",
    )
    parser.add_argument("--context-path", metavar="PATH", help="instead of /PRODUCT, with a single --product; / for none")
    parser.add_argument("--base-url", metavar="URL", help="the configured base URL, when it is to differ from the real address")
    parser.add_argument(
        "--behind-proxy", action="store_true", help="check signatures against --base-url, as behind a badly set-up proxy"
    )
    trouble = parser.add_argument_group("trouble")
    trouble.add_argument(
        "--clock-offset", type=float, default=0.0, metavar="SECONDS", help="how far the sandbox's clock is ahead"
    )
    trouble.add_argument("--token-life", type=float, default=TOKEN_LIFE_S, metavar="SECONDS", help="life of an access token")
    trouble.add_argument(
        "--oauth2-token-life", type=float, metavar="SECONDS", help="life of an access token of OAuth 2.0, at every server"
    )
    trouble.add_argument(
        "--request-token-life", type=float, default=REQUEST_TOKEN_LIFE_S, metavar="SECONDS", help="life of a request token"
    )
    trouble.add_argument(
        "--token-days-max",
        type=_days,
        default=DAYS_MAX,
        metavar="DAYS",
        help="for how long at most a user may ask for a personal access token",
    )
    trouble.add_argument("--tokens-must-expire", action="store_true", help="refuse personal access tokens that do not expire")
    trouble.add_argument(
        "--no-signed-tokens",
        action="store_true",
        help="refuse a signed request that makes a personal access token, except at Bitbucket",
    )
    trouble.add_argument("--scoped-only", action="store_true", help="with --cloud: the gateway refuses API tokens without scopes")
    trouble.add_argument(
        "--refusals",
        choices=REFUSAL_FORMS,
        default="both",
        help="how an OAuth problem arrives: in header and body, with a newline after the body, only in one, or with an HTML page",
    )
    return parser


def _product_version(text: str) -> tuple[str, str]:
    product, equals, version = text.partition("=")
    if not equals:
        raise ValueError
    return product, version


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ValueError
    return days


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65_536:
        raise ValueError
    return port


if __name__ == "__main__":
    sys.exit(main())
