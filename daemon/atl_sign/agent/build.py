"""The agent: a record of its parts, each with the verbs of one noun."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from atl_sign.access.audit import AuditLog
from atl_sign.access.caller import DAEMON
from atl_sign.access.recording import Records, make_decision
from atl_sign.agent.checks import Checks
from atl_sign.agent.dances import Dancing
from atl_sign.agent.forgetting import Forgetting
from atl_sign.agent.git import GitCredentials
from atl_sign.agent.git_tokens import GitTokens
from atl_sign.agent.keys import Keys
from atl_sign.agent.leases import Leases
from atl_sign.agent.life import Life
from atl_sign.agent.link_files import LinkFiles
from atl_sign.agent.links import LinkBook
from atl_sign.agent.lookup import Lookup
from atl_sign.agent.own_proxy import OwnProxy
from atl_sign.agent.policy import PolicyChecks
from atl_sign.agent.refusals import Refusals
from atl_sign.agent.registering import Registering
from atl_sign.agent.sign import Signing
from atl_sign.agent.status import StatusReports
from atl_sign.agent.store import StoreKeeper
from atl_sign.agent.tokens import Tokens
from atl_sign.agent.tunnels import Tunnels
from atl_sign.config.file import ConfigFile
from atl_sign.config.links import Link
from atl_sign.custody.keys.places import NO_PLACES, KeyPlaces
from atl_sign.custody.moving import StoreMover
from atl_sign.custody.safe import Safe
from atl_sign.custody.stores.base import Store
from atl_sign.custody.stores.opening import open_store
from atl_sign.grants.dances import Dances
from atl_sign.grants.live import Grants
from atl_sign.providers.clocks import Clocks
from atl_sign.providers.manifest import Manifests
from atl_sign.schemes.registry import SCHEMES


@dataclass(frozen=True, slots=True)
class Agent:
    """The daemon's verbs. Each method that a route calls takes the caller first, and records itself."""

    signing: Signing
    dances: Dancing
    links: LinkBook
    link_files: LinkFiles
    registering: Registering
    keys: Keys
    store: StoreKeeper
    git: GitCredentials
    checks: Checks
    tokens: Tokens
    policy: PolicyChecks
    leases: Leases
    proxy: OwnProxy
    tunnels: Tunnels
    refusals: Refusals
    status: StatusReports
    life: Life  # for the process, not for callers


def make_agent(
    config: ConfigFile,
    safe: Safe,
    dances: Dances,
    audit: AuditLog,
    clock: Callable[[], float] = time.time,
    *,
    open_store: Callable[[str], Store] = open_store,
    store_pinned_by: str | None = None,
    places: KeyPlaces = NO_PLACES,
) -> Agent:
    """
    Return an agent that serves with these edges.

    Args:
        config: the links and every other setting.
        safe: the credentials.
        dances: those that wait.
        audit: where decisions are recorded.
        clock: seconds since 1970-01-01 UTC.
        open_store: returns the store of a name, to move to.
        store_pinned_by: what has named the store in place of *config*; None when nothing has.
        places: where the consumer's key may be besides the store.
    """
    records = Records(audit, lambda: config.settings().audit)

    def record_renewal(link: Link, outcome: str) -> None:
        decision = make_decision("renew", DAEMON, link.name)
        decision.outcome = outcome
        records.note(decision)

    clocks = Clocks(clock)
    manifests = Manifests(lambda link: SCHEMES[link.scheme].describe(link))
    grants = Grants(safe, SCHEMES, clocks, manifests, on_renewal=record_renewal, list_links=lambda: config.settings().links.links)
    lookup = Lookup(config, grants)
    git_tokens = GitTokens(grants)
    forgetting = Forgetting(config, grants, dances, git_tokens)
    signing = Signing(lookup, grants, records)
    mover = StoreMover(config, safe, open_store, store_pinned_by)
    leases = Leases(lookup, SCHEMES, records)
    store = StoreKeeper(config, safe, dances, grants.renewals, records, mover=mover, leases=leases, places=places)
    return Agent(
        signing=signing,
        dances=Dancing(lookup, grants, dances, records),
        links=LinkBook(
            config=config,
            lookup=lookup,
            grants=grants,
            dances=dances,
            git_tokens=git_tokens,
            forgetting=forgetting,
            records=records,
        ),
        link_files=LinkFiles(config, lookup, grants, forgetting, records),
        registering=Registering(lookup, grants, records),
        keys=Keys(safe, places, records),
        store=store,
        git=GitCredentials(config, lookup, grants, git_tokens, records),
        checks=Checks(lookup, grants, records),
        tokens=Tokens(lookup, grants, records),
        policy=PolicyChecks(lookup),
        leases=leases,
        proxy=OwnProxy(),
        tunnels=Tunnels(records),
        refusals=Refusals(lookup, leases),
        status=StatusReports(
            config=config, lookup=lookup, safe=safe, dances=dances, signing=signing, mover=mover, records=records, clocks=clocks
        ),
        life=Life(
            config=config,
            safe=safe,
            dances=dances,
            renewals=grants.renewals,
            git_tokens=git_tokens,
            store=store,
            mover=mover,
            leases=leases,
            places=places,
        ),
    )
