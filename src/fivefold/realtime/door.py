"""Who may do what: the one place where a permission that a route or a call states is held against who is asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from fivefold.access.authenticate import Authenticator, Credentials
from fivefold.access.queue import CheckQueue
from fivefold.core.identity import LOCAL, NOBODY, Forbidden, Principal, Role, Unauthenticated
from fivefold.realtime.http.routes import Permission

ROLES = {Permission.READ: Role.VIEWER, Permission.PREDICT: Role.VIEWER, Permission.OPERATE: Role.OPERATOR}
"""The role that a permission takes; what is not here and not public takes a role that nobody has."""

PATIENCE_SECONDS = 1.0
"""How long somebody who was known a moment ago waits for the catalog, before it counts as one that does not answer."""


class Door:
    """Lets in who may. Without an authenticator it lets in this machine, and nobody else.

    `closed` says whether credentials are asked for. A door that is open can be closed, and not opened again.
    """

    def __init__(self, authenticator: Authenticator | None = None, *, closed: bool = True) -> None:
        self._authenticator = authenticator
        self._queue = None if authenticator is None else CheckQueue(authenticator)
        self.closed = authenticator is not None and closed

    def known(self, permission: Permission, given: Credentials) -> Principal | None:
        """Who is asking, where that is known already; None when it has to be looked up.

        Raises Unauthenticated without credentials, Forbidden for somebody without the role.
        """
        if permission is Permission.PUBLIC:
            return NOBODY
        if not self.closed:
            if not _is_local(given.peer):
                raise Unauthenticated("this server answers to its own machine alone.")
            return LOCAL
        if not given.authorization and not given.certificate:
            raise Unauthenticated("this needs credentials.", hint="Send the header Authorization: Bearer TOKEN.")
        assert self._authenticator is not None
        found = self._authenticator.fresh(self._authenticator.digest(given))
        return None if found is None else _allowed(found, permission)

    async def admit(self, permission: Permission, given: Credentials) -> Principal:
        """Who is asking, looked up. Raises what `known` does, SlowDown, and Unavailable without a catalog."""
        assert self._authenticator is not None
        digest = self._authenticator.digest(given)
        try:
            # others may wait for the same check: whoever leaves does not end it
            waiting = asyncio.shield(asyncio.wrap_future(self._check(given, digest)))
            found = await asyncio.wait_for(waiting, self._patience(digest))
        except TimeoutError:
            prolonged = self._authenticator.prolong(digest)
            if prolonged is None:
                raise
            found = prolonged
        return _allowed(found, permission)

    def admit_waiting(self, permission: Permission, given: Credentials) -> Principal:
        """The same for a thread, which waits."""
        known = self.known(permission, given)
        if known is not None:
            return known
        assert self._authenticator is not None
        digest = self._authenticator.digest(given)
        try:
            found = self._check(given, digest).result(self._patience(digest))
        except TimeoutError:
            prolonged = self._authenticator.prolong(digest)
            if prolonged is None:
                raise
            found = prolonged
        return _allowed(found, permission)

    def _check(self, given: Credentials, digest: bytes) -> Future[Principal]:
        assert self._queue is not None
        return self._queue.check(given, digest)

    def _patience(self, digest: bytes) -> float | None:
        assert self._authenticator is not None
        return PATIENCE_SECONDS if self._authenticator.is_known(digest) else None

    def close_if(self, anybody: Callable[[], bool]) -> None:
        """Ask for credentials from now on, if there is somebody who could have some."""
        if self._authenticator is not None and not self.closed and anybody():
            self.closed = True

    def end(self) -> None:
        """Start no more checks."""
        if self._queue is not None:
            self._queue.close()


OPEN = Door()
"""Lets in this machine alone."""


def _allowed(principal: Principal, permission: Permission) -> Principal:
    role = ROLES.get(permission)
    if role is None or role not in principal.roles:
        raise Forbidden(
            f"this needs the role {role!s} or a greater one; {principal} has {_greatest(principal)}.",
            hint=f"An admin gives it: fivefold grant {principal} {role!s}.",
        )
    return principal


def _greatest(principal: Principal) -> str:
    return max(principal.roles, key=list(Role).index, default=None) or "none"


def _is_local(peer: str) -> bool:
    return peer in ("", "::1") or peer.startswith(("127.", "::ffff:127."))
