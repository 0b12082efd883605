"""The secure sum against the sum of its bare primitives: what one client and the server compute in a round.

Both sides do the same cryptographic work with the same library: key agreements, key derivations, signatures made and
verified, seals made and opened, shares made and combined, key streams, and additions of vectors. The bare side keeps no
state, checks nothing and packs nothing. Rounds are interleaved, and the ratio is the median of their ratios. Seconds
are those of the processor for the one thread that there is, so that what else runs on the machine matters less.

    python benchmarks/federated/secure_sum.py [--rounds 7] [--length 100000] [--fast]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fivefold.federated.secure_sum.client import SumClient
from fivefold.federated.secure_sum.graph import shape
from fivefold.federated.secure_sum.server import Step, SumServer
from fivefold.federated.secure_sum.shamir import PRIME
from fivefold.federated.secure_sum.terms import Terms, least_modulus_bits

RESULT = Path(__file__).resolve().parents[1] / "results" / "secure_sum.json"
BITS = 16


def setting(clients: int, length: int, corrupt: int, dropout: int) -> Terms:
    return Terms(session=bytes(32), length=length, bits=BITS, modulus_bits=least_modulus_bits(clients, BITS),
                 cohort=clients, min_survivors=2, corrupt=corrupt, dropout=dropout)


class Round:
    """A whole sum with all its clients; `client` and `server` are the seconds of the median client and the server."""

    def __init__(self, terms: Terms, dropped: int) -> None:
        names = [f"c{i:04}" for i in range(terms.cohort)]
        keys = {name: Ed25519PrivateKey.generate() for name in names}
        public = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
        vector = np.arange(terms.length, dtype=np.uint64) % (1 << BITS)
        clients = {name: SumClient(terms, name, vector, sign=keys[name].sign, credential=b"",
                                   identify=lambda name, _: public[name]) for name in names}
        server = SumServer(terms, names, lambda name, _: public[name])
        gone = set(names[len(names) - dropped :]) if dropped else set()
        self.server, self._each = 0.0, dict.fromkeys(names, 0.0)
        outbox: dict[str, Any] = {}
        for name, client in clients.items():
            self._timed(name, lambda name=name, client=client: outbox.update({name: client.advertise()}))
        while server.step is not Step.OVER:
            began = time.thread_time()
            for name, message in outbox.items():
                if not (name in gone and server.step >= Step.MASKED):
                    server.accept(message)
            replies = server.close()
            self.server += time.thread_time() - began
            outbox = {}
            for name, reply in replies.items():
                self._timed(name, partial(answer, outbox, clients, name, reply))
        self.client = statistics.median(self._each.values())
        assert server.result is not None
        survivors = terms.cohort - dropped
        if server.result.values.tolist() != (vector * np.uint64(survivors)).tolist():
            raise AssertionError("the sum is wrong")

    def _timed(self, name: str, work: Callable[[], object]) -> None:
        began = time.thread_time()
        work()
        self._each[name] += time.thread_time() - began


def answer(outbox: dict[str, Any], clients: dict[str, SumClient], name: str, reply: Any) -> None:
    outbox[name] = clients[name].receive(reply)


def stream(key: bytes, into: Any, buffer: bytearray, zeros: bytes) -> None:
    Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update_into(zeros, buffer)
    np.add(into, np.frombuffer(buffer, np.uint32, len(into)), out=into)


def derive(secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, bytes(32), b"bare").derive(secret)


def polynomial(threshold: int, places: range) -> None:
    drawn = os.urandom(48 * threshold)
    coefficients = [int.from_bytes(drawn[i : i + 48]) % PRIME for i in range(0, len(drawn), 48)]
    for place in places:
        value = 0
        for coefficient in coefficients:
            value = value * place + coefficient
        _ = value % PRIME


def bare_client(terms: Terms) -> float:
    degree, threshold = shape(terms.cohort, terms.corrupt, terms.dropout)
    mine, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    signer = Ed25519PrivateKey.generate()
    verifier, signature = signer.public_key(), signer.sign(b"bare")
    into, zeros = np.zeros(terms.length, np.uint32), bytes(4 * terms.length)
    buffer, shares = bytearray(4 * terms.length + 15), bytes(66)
    began = time.thread_time()
    for _ in range(2):
        X25519PrivateKey.generate().public_key()
        signer.sign(b"bare")
        polynomial(threshold, range(1, degree + 2))
    for _ in range(degree):
        verifier.verify(signature, b"bare")
        verifier.verify(signature, b"bare")
        sealing, opening = derive(mine.exchange(theirs)), derive(bytes(32))
        box = ChaCha20Poly1305(sealing).encrypt(bytes(12), shares, b"")
        ChaCha20Poly1305(sealing).decrypt(bytes(12), box, b"")
        stream(derive(mine.exchange(theirs)), into, buffer, zeros)
        del opening
    stream(derive(bytes(32)), into, buffer, zeros)
    return time.thread_time() - began


def bare_server(terms: Terms, dropped: int) -> float:
    degree, threshold = shape(terms.cohort, terms.corrupt, terms.dropout)
    alive, complete = terms.cohort - dropped, degree == terms.cohort - 1
    mine, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate().public_key()
    signer = Ed25519PrivateKey.generate()
    verifier, signature = signer.public_key(), signer.sign(b"bare")
    into, zeros = np.zeros(terms.length, np.uint32), bytes(4 * terms.length)
    buffer, vector = bytearray(4 * terms.length + 15), np.ones(terms.length, np.uint32)
    weights, secrets = [PRIME // 3] * threshold, [PRIME // 5] * threshold
    beside = degree * alive // terms.cohort
    began = time.thread_time()
    for _ in range(terms.cohort + alive):
        verifier.verify(signature, b"bare")
    for _ in range(alive):
        np.add(into, vector, out=into)
        stream(derive(bytes(32)), into, buffer, zeros)
    for _ in range(terms.cohort):
        # on the complete graph all secrets come from the same places, whose weights are made once
        if not complete:
            lagrange(threshold)
        _ = sum(map(int.__mul__, weights, secrets)) % PRIME
    for _ in range(dropped):
        X25519PrivateKey.generate().public_key()
        for _ in range(beside):
            stream(derive(mine.exchange(theirs)), into, buffer, zeros)
    return time.thread_time() - began


def lagrange(threshold: int) -> None:
    places = range(1, threshold + 1)
    for x in places:
        below = 1
        for other in places:
            if other != x:
                below *= other - x
        _ = below % PRIME
    pow(12345, -1, PRIME)


def measured(terms: Terms, dropped: int, rounds: int) -> dict[str, Any]:
    took: dict[str, list[float]] = {"client": [], "bare_client": [], "server": [], "bare_server": []}
    Round(setting(4, 100, 33, 10), 0)
    for number in range(rounds):
        sides: list[Callable[[], None]] = [lambda: bare(terms, dropped, took), lambda: whole(terms, dropped, took)]
        for side in sides if number % 2 else reversed(sides):
            side()
    degree, threshold = shape(terms.cohort, terms.corrupt, terms.dropout)
    return {
        "clients": terms.cohort, "dropped": dropped, "length": terms.length, "neighbours": degree,
        "threshold": threshold, "corrupt_percent": terms.corrupt, "dropout_percent": terms.dropout,
        "rounds": rounds,
        **{f"{side}_ms": 1000 * statistics.median(of) for side, of in took.items()},
        "client_to_bare": statistics.median(map(float.__truediv__, took["client"], took["bare_client"])),
        "server_to_bare": statistics.median(map(float.__truediv__, took["server"], took["bare_server"])),
    }


def whole(terms: Terms, dropped: int, took: dict[str, list[float]]) -> None:
    done = Round(terms, dropped)
    took["client"].append(done.client)
    took["server"].append(done.server)


def bare(terms: Terms, dropped: int, took: dict[str, list[float]]) -> None:
    took["bare_client"].append(bare_client(terms))
    took["bare_server"].append(bare_server(terms, dropped))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=7)
    ask.add_argument("--length", type=int, default=100_000)
    ask.add_argument("--fast", action="store_true", help="a hundred clients only")
    given = ask.parse_args()
    load = os.getloadavg()
    results = [measured(setting(100, given.length, 33, 10), dropped, given.rounds) for dropped in (0, 10)]
    if not given.fast:
        results.append(measured(setting(1000, given.length // 10, 20, 5), 0, max(1, given.rounds // 3)))
    answer = {
        "command": f"python benchmarks/federated/secure_sum.py --rounds {given.rounds} --length {given.length}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": load,
        "load_average_after": os.getloadavg(),
        "versions": {p: importlib.metadata.version(p) for p in ("cryptography", "numpy")},
        "results": results,
    }
    RESULT.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
