"""Dances as callers begin, finish and cancel them."""

from datetime import datetime

from atl_sign.access.caller import Caller
from atl_sign.access.recording import Records, make_decision
from atl_sign.agent.lookup import Lookup
from atl_sign.base.credentials import Secret
from atl_sign.base.errors import BadRequestError
from atl_sign.grants.dance import CallbackKind, Dance
from atl_sign.grants.dances import Dances
from atl_sign.grants.live import Grants
from atl_sign.grants.states import DanceState


class Dancing:
    """Begins, finishes and cancels dances; the end of each is recorded, however it comes about."""

    def __init__(self, lookup: Lookup, grants: Grants, dances: Dances, records: Records) -> None:
        """Keep those that wait in *dances*."""
        self._lookup = lookup
        self._grants = grants
        self._dances = dances
        self._records = records

    def begin(self, caller: Caller, name: str, callback: CallbackKind) -> Dance:
        """
        Begin a dance with the link called *name*.

        Raises as `Dances.begin`, and what the link and its client lack.
        """
        with self._records.entry("dance", caller, name):
            link = self._lookup.get(name)
            self._grants.safe.check_store(link)  # if it cannot keep the grant, say so before the user consents

            if self._grants.scheme(link).is_pasted:
                callback = "paste"
            elif callback == "paste":
                raise BadRequestError(
                    f"nothing is pasted in a dance of the scheme {link.scheme}", f"atl-sign dance {link.name}", link=link.name
                )

            def record_end(state: DanceState) -> None:
                decision = make_decision("dance", caller, link.name)
                decision.outcome = state.word
                self._records.note(decision)

            return self._dances.begin(self._grants.of(link), callback, on_end=record_end)

    def show(self, caller: Caller, dance_id: str) -> Dance:
        """Return the dance; raises UnknownDanceError."""
        del caller
        return self._dances.get(dance_id)

    def finish(self, caller: Caller, dance_id: str, answer: Secret, expires_at: datetime | None = None) -> Dance:
        """Finish the dance; arguments and errors are those of `Dance.finish`, and UnknownDanceError."""
        dance = self.show(caller, dance_id)
        if dance.callback == "device":
            raise BadRequestError("this dance is answered on the provider's page", "enter the code there, and wait")
        dance.finish(answer, expires_at)
        return dance

    def finish_by_url(self, caller: Caller, dance_id: str, url: Secret) -> Dance:
        """Finish the dance with the address that the browser ended on; raises as `finish`."""
        dance = self.show(caller, dance_id)
        dance.finish_by_url(url)
        return dance

    def cancel(self, caller: Caller, dance_id: str) -> Dance:
        """Cancel the dance if it still waits; raises UnknownDanceError."""
        dance = self.show(caller, dance_id)
        dance.cancel()
        return dance
