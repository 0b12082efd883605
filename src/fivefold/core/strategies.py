"""How the sites of a federation train: what each does in a round, and how the server moves the model by their sum."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.noun import define
from fivefold.core.ranges import real, whole


class Descent(msgspec.Struct, frozen=True, kw_only=True):
    """Local training: `epochs` passes over the site's rows in random batches of `batch_size` (None: all rows at once),
    each a step of `lr` down the gradient of the mean loss."""

    epochs: int = 1
    batch_size: int | None = None
    lr: float = 0.1

    def __post_init__(self) -> None:
        where = type(self).__name__
        whole(where, "epochs", self.epochs)
        if self.batch_size is not None:
            whole(where, "batch_size", self.batch_size)
        define(self, lr=real(where, "lr", self.lr, above=0))


class FedAvg(Descent, frozen=True, kw_only=True):
    """Sites train locally; the model moves by the mean of their changes, weighted by rows (McMahan et al. 2017).

    The server may take steps of `server_lr` with `momentum` (Hsu et al. 2019). With `epochs=1, batch_size=None` it is
    one step of gradient descent on all rows of all sites.
    """

    server_lr: float = 1.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, server_lr=real(type(self).__name__, "server_lr", self.server_lr, above=0))
        define(self, momentum=real(type(self).__name__, "momentum", self.momentum, most=0.999))


class FedProx(FedAvg, frozen=True, kw_only=True):
    """FedAvg whose local loss adds `mu / 2` times the squared distance from the model sent (Li et al. 2020)."""

    mu: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, mu=real("FedProx", "mu", self.mu))


class Scaffold(Descent, frozen=True, kw_only=True):
    """Local steps corrected by how a site's gradient differs from everyone's (Karimireddy et al. 2020, option II)."""

    server_lr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, server_lr=real("Scaffold", "server_lr", self.server_lr, above=0))


class FedNova(Descent, frozen=True, kw_only=True):
    """The mean of changes per local step, so that a site with more steps pulls no harder (Wang et al. 2020)."""

    server_lr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, server_lr=real("FedNova", "server_lr", self.server_lr, above=0))


class FedAdam(Descent, frozen=True, kw_only=True):
    """The mean change of the sites is a gradient to Adam on the server (Reddi et al. 2021); `tau` bounds its steps."""

    server_lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, server_lr=real("FedAdam", "server_lr", self.server_lr, above=0))
        define(self, tau=real("FedAdam", "tau", self.tau, above=0))
        for name in ("beta1", "beta2"):
            define(self, **{name: real("FedAdam", name, getattr(self, name), most=0.9999)})


class Newton(msgspec.Struct, frozen=True):
    """Newton's method on the sums of gradients and Hessians: the model that all rows in one place would give.

    For the learner logistic only. It ends by itself when a step changes no weight by more than the learner's tolerance.
    """


class Ditto(FedAvg, frozen=True, kw_only=True):
    """FedAvg, and beside it a model of its own for each site, drawn to the common one by `pull` (Li et al. 2021)."""

    pull: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, pull=real("Ditto", "pull", self.pull))


class SharedBody(FedAvg, frozen=True, kw_only=True):
    """FedAvg of all arrays but those named `head`, which each site keeps to itself (FedPer, Arivazhagan et al. 2019).

    A name stands for all arrays that begin with it: `head="out"` for `out.weight` and `out.bias`.
    """

    head: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, head=(self.head,) if isinstance(self.head, str) else tuple(self.head))
        if not self.head:
            raise Invalid("SharedBody: no head is named.", hint="Name the arrays that stay: ff.SharedBody(head='out').")


Strategy = FedAvg | FedProx | Scaffold | FedNova | FedAdam | Newton | Ditto | SharedBody
