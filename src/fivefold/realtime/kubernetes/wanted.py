"""What manifests are made of: a project in an environment, and how much of it there is to be."""

from __future__ import annotations

import re

import msgspec

from fivefold.core.errors import Invalid
from fivefold.realtime.processes.autoscaler import Policy

HTTP_PORT, GRPC_PORT = 8000, 8001
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_LONGEST = 50


class Wanted(msgspec.Struct, frozen=True):
    """One deployment. `state` is the environment's folder in the image, `secrets` the variables that a Secret holds.

    `tls_secret` is the name of a Secret of type kubernetes.io/tls, empty where a proxy in front encrypts. `extras` are
    those of our package that the image needs.
    """

    name: str
    env: str
    settings: str
    """The text of fivefold.toml."""
    state: str
    image: str
    endpoints: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    least: int = 2
    most: int = 4
    cpu: str = "1"
    memory: str = "1Gi"
    grpc: bool = False
    tls_secret: str = ""
    policy: Policy = Policy()

    def __post_init__(self) -> None:
        for what, text in (("cpu", self.cpu), ("memory", self.memory)):
            if _QUANTITY.fullmatch(text) is None:
                raise Invalid(f"--{what} {text!r} is no quantity (accepted: such as 500m, 2, 512Mi, 2Gi).")
        if self.tls_secret and label(self.tls_secret) != self.tls_secret:
            raise Invalid(f"--tls-secret {self.tls_secret!r} is no name of a Secret (accepted: a-z, 0-9, -).")
        if not self.image or any(c.isspace() for c in self.image):
            raise Invalid(f"--image {self.image!r} is no name of an image.", hint="Write REGISTRY/NAME:TAG.")

    @property
    def labels(self) -> dict[str, str]:
        """What its pods are known by."""
        return {"app.kubernetes.io/name": "fivefold", "app.kubernetes.io/instance": self.name}


def label(text: str) -> str:
    """A name as Kubernetes takes it: a-z, 0-9 and -, at most 50. Raises Invalid where nothing is left of it."""
    made = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-")
    if not made or not made[0].isalpha():
        made = f"ff-{made}".strip("-")
    if made == "ff":
        raise Invalid(f"{text!r} makes no name for Kubernetes (accepted: letters and digits).")
    return made
