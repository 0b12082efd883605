"""The two ways in which a protocol ends before its end."""

from __future__ import annotations

from fivefold.core.errors import Invalid, Unavailable


class Refused(Invalid):
    """The other side broke the protocol: an honest party stops here, and reveals nothing more in this round."""


class Aborted(Unavailable):
    """Too few clients are left for a sum that is exact and safe: nothing was learned, try another round."""
