"""The secure sum once more, slowly and by itself: nothing but integers and the standard library's hashes.

Written from the RFCs (7748, 8032, 8439, 5869), FIPS 197 and the decision record 0011; it shares no code with the
product. `python tests/federated/secure_sum/sum_reference.py` writes `vectors.json` beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).with_name("vectors.json")
P25519 = 2**255 - 19
SHARING = 2**256 + 297


# X25519, RFC 7748 section 5
def x25519(scalar: bytes, u: bytes = (9).to_bytes(32, "little")) -> bytes:
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & ~(1 << 255)) | (1 << 254)
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for i in range(254, -1, -1):
        bit = k >> i & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = pow(da + cb, 2, P25519), x1 * pow(da - cb, 2, P25519) % P25519
        x2, z2 = aa * bb % P25519, (aa - bb) * (aa + 121665 * (aa - bb)) % P25519
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, -1, P25519) % P25519).to_bytes(32, "little")


# Ed25519, RFC 8032 section 5.1, in affine coordinates
D = -121665 * pow(121666, -1, P25519) % P25519
ORDER = 2**252 + 27742317777372353535851937790883648493
BASE = (15112221349535400772501151409588531511454012693041857206046113283949847762202, 4 * pow(5, -1, P25519) % P25519)


def ed_add(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = p, q
    t = D * x1 * x2 * y1 * y2
    return ((x1 * y2 + x2 * y1) * pow(1 + t, -1, P25519) % P25519, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P25519) % P25519)


def ed_times(k: int) -> bytes:
    total, power = (0, 1), BASE
    while k:
        if k & 1:
            total = ed_add(total, power)
        power, k = ed_add(power, power), k >> 1
    return (total[1] | (total[0] & 1) << 255).to_bytes(32, "little")


def ed_expand(seed: bytes) -> tuple[int, bytes]:
    h = hashlib.sha512(seed).digest()
    return (int.from_bytes(h[:32], "little") & ~7 & ~(1 << 255)) & ((1 << 255) - 1) | 1 << 254, h[32:]


def ed_public(seed: bytes) -> bytes:
    return ed_times(ed_expand(seed)[0])


def ed_sign(seed: bytes, message: bytes) -> bytes:
    a, prefix = ed_expand(seed)
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ORDER
    point = ed_times(r)
    k = int.from_bytes(hashlib.sha512(point + ed_times(a) + message).digest(), "little") % ORDER
    return point + ((r + k * a) % ORDER).to_bytes(32, "little")


# AES-256, FIPS 197, on columns of bytes
def _times2(b: int) -> int:
    return (b << 1 ^ 0x1B) & 0xFF if b & 0x80 else b << 1


def _gf(a: int, b: int) -> int:
    out = 0
    while b:
        if b & 1:
            out ^= a
        a, b = _times2(a), b >> 1
    return out


def _sbox() -> list[int]:
    box = []
    for value in range(256):
        inverse = next((i for i in range(256) if _gf(value, i) == 1), 0)
        box.append(0x63 ^ inverse ^ (0xFF & (inverse << 1 | inverse >> 7)) ^ (0xFF & (inverse << 2 | inverse >> 6))
                   ^ (0xFF & (inverse << 3 | inverse >> 5)) ^ (0xFF & (inverse << 4 | inverse >> 4)))
    return box


SBOX = _sbox()


def aes256_rounds(key: bytes) -> list[bytes]:
    words, rcon = [key[i : i + 4] for i in range(0, 32, 4)], 1
    while len(words) < 60:
        last = words[-1]
        if len(words) % 8 == 0:
            last = bytes(SBOX[b] for b in last[1:] + last[:1])
            last, rcon = bytes([last[0] ^ rcon]) + last[1:], _times2(rcon)
        elif len(words) % 8 == 4:
            last = bytes(SBOX[b] for b in last)
        words.append(bytes(x ^ y for x, y in zip(words[-8], last, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes256_block(rounds: list[bytes], block: bytes) -> bytes:
    state = [x ^ y for x, y in zip(block, rounds[0], strict=True)]
    for number, key in enumerate(rounds[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                a = state[c : c + 4]
                mixed += [_times2(a[i]) ^ _times2(a[(i + 1) % 4]) ^ a[(i + 1) % 4] ^ a[(i + 2) % 4] ^ a[(i + 3) % 4] for i in range(4)]
            state = mixed
        state = [x ^ y for x, y in zip(state, key, strict=True)]
    return bytes(state)


def aes256_ctr(key: bytes, size: int) -> bytes:
    rounds = aes256_rounds(key)
    return b"".join(aes256_block(rounds, i.to_bytes(16)) for i in range(-(-size // 16)))[:size]


# ChaCha20-Poly1305, RFC 8439
def chacha_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    start = [int.from_bytes((b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce)[i : i + 4], "little") for i in range(0, 64, 4)]
    s = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            mixed = s[z] ^ s[x]
            s[z] = (mixed << turn | mixed >> 32 - turn) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join((x + y & 0xFFFFFFFF).to_bytes(4, "little") for x, y in zip(s, start, strict=True))


def seal(key: bytes, nonce: bytes, plain: bytes, beside: bytes) -> bytes:
    stream = b"".join(chacha_block(key, i + 1, nonce) for i in range(-(-len(plain) // 64)))
    box = bytes(x ^ y for x, y in zip(plain, stream, strict=False))
    once = chacha_block(key, 0, nonce)
    r = int.from_bytes(once[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    padded = beside + bytes(-len(beside) % 16) + box + bytes(-len(box) % 16) + len(beside).to_bytes(8, "little") + len(box).to_bytes(8, "little")
    total = 0
    for i in range(0, len(padded), 16):
        total = (total + int.from_bytes(padded[i : i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return nonce + box + (total + int.from_bytes(once[16:32], "little") & (1 << 128) - 1).to_bytes(16, "little")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def over(purpose: str, *parts: bytes) -> bytes:
    return b"".join(len(p).to_bytes(8) + p for p in (f"fivefold secure sum 1 {purpose}".encode(), *parts))


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Drawn:
    """Bytes of a client that look random and are the same every time."""

    def __init__(self, name: str) -> None:
        self.name, self.at = name, 0

    def __call__(self, count: int) -> bytes:
        self.at += count
        return hashlib.shake_256(self.name.encode()).digest(self.at)[-count:]


def share(secret: bytes, threshold: int, places: list[int], random: Drawn) -> dict[int, bytes]:
    drawn = random(48 * (threshold - 1))
    high_first = [int.from_bytes(drawn[48 * i : 48 * i + 48]) for i in range(threshold - 1)]
    powers = list(enumerate([int.from_bytes(secret), *reversed(high_first)]))
    return {x: (sum(c * x**i for i, c in powers) % SHARING).to_bytes(33) for x in places}


def pack(values: list[int], bits: int) -> bytes:
    return sum(v << bits * i for i, v in enumerate(values)).to_bytes(-(-len(values) * bits // 8), "little")


def play(case: dict[str, Any]) -> dict[str, Any]:
    """All messages of a sum on the complete graph; `gone` send shares and then nothing more."""
    session, names, bits = bytes.fromhex(case["session"]), sorted(case["vectors"]), case["modulus_bits"]
    n, R, width = len(names), 1 << bits, 4 if bits <= 32 else 8
    threshold = (n + n * case["corrupt"] // 100) // 2 + 1
    random = {u: Drawn(u) for u in names}
    seeds = {u: sha(u.encode()) for u in names}
    cipher, mask = {u: random[u](32) for u in names}, {u: random[u](32) for u in names}
    C, S = {u: x25519(cipher[u]) for u in names}, {u: x25519(mask[u]) for u in names}
    signed = {u: ed_sign(seeds[u], over("advert", session, u.encode(), C[u], S[u])) for u in names}
    digests = b"".join(sha(over("advert", session, u.encode(), C[u], S[u], b"", signed[u])) for u in names)
    root = sha(over("roster", session, digests))

    def stream(key: bytes) -> list[int]:
        raw = aes256_ctr(key, width * case["length"])
        return [int.from_bytes(raw[i : i + width], "little") % R for i in range(0, len(raw), width)]

    b, held, sealed = {}, {}, {}
    for u in names:
        b[u] = random[u](32)
        of_b, of_s = (share(secret, threshold, list(range(1, n + 1)), random[u]) for secret in (b[u], mask[u]))
        held[u] = (of_b, of_s)
        for v in names:
            if v != u:
                key = hkdf(x25519(cipher[u], C[v]), root, over("share", session, u.encode(), v.encode()))
                sealed[u, v] = seal(key, random[u](12), of_b[names.index(v) + 1] + of_s[names.index(v) + 1], root)
    alive = [u for u in names if u not in case["gone"]]
    masked = {}
    for u in alive:
        y = [x + m for x, m in zip(case["vectors"][u], stream(hkdf(b[u], root, over("self", session, u.encode()))), strict=True)]
        for v in names:
            if v != u:
                low, high = sorted((u, v))
                m = stream(hkdf(x25519(mask[u], S[v]), root, over("mask", session, low.encode(), high.encode())))
                y = [value + (1 if u == low else -1) * part for value, part in zip(y, m, strict=True)]
        masked[u] = pack([value % R for value in y], bits)
    bitmap = sum(1 << names.index(u) for u in alive).to_bytes(-(-n // 8), "little")
    return {
        "public_identities": {u: ed_public(seeds[u]).hex() for u in names},
        "adverts": {u: [C[u].hex(), S[u].hex(), signed[u].hex()] for u in names},
        "root": root.hex(),
        "threshold": threshold,
        "commitments": {u: sha(over("seed", session, u.encode(), b[u])).hex() for u in names},
        "sealed": {u: {v: sealed[u, v].hex() for v in names if v != u} for u in names},
        "masked": {u: masked[u].hex() for u in alive},
        "alive": bitmap.hex(),
        "consents": {u: ed_sign(seeds[u], over("consent", session, root, bitmap)).hex() for u in alive},
        "unmask": {u: {v: held[v][0 if v in alive else 1][names.index(u) + 1].hex() for v in names} for u in alive},
        "sum": [sum(case["vectors"][u][i] for u in alive) for i in range(case["length"])],
    }


def ring(case: dict[str, Any]) -> list[list[int]]:
    """The neighbours of each client on a ring of the degree given."""
    n, session, root = case["clients"], bytes.fromhex(case["session"]), bytes.fromhex(case["root"])
    drawn = hashlib.shake_256(over("ring", session, root)).digest(8 * n)
    circle = sorted(range(n), key=lambda i: (drawn[8 * i : 8 * i + 8], i))
    found = []
    for i in range(n):
        at = circle.index(i)
        found.append(sorted(circle[(at + step) % n] for step in range(-case["degree"] // 2, case["degree"] // 2 + 1) if step))
    return found


def cases() -> dict[str, Any]:
    def vectors(names: str, length: int, most: int) -> dict[str, list[int]]:
        return {u: [int.from_bytes(sha(f"{u}{i}".encode())) % (most + 1) for i in range(length)] for u in names.split()}

    sums = [
        {"session": sha(b"one").hex(), "corrupt": 33, "bits": 16, "modulus_bits": 19, "length": 21, "gone": ["dee"],
         "vectors": vectors("ada bob cyd dee eve", 21, 2**16 - 1)},
        {"session": sha(b"two").hex(), "corrupt": 0, "bits": 40, "modulus_bits": 43, "length": 70, "gone": ["bob", "fay"],
         "vectors": vectors("ada bob cyd dee eve fay", 70, 2**40 - 1)},
        {"session": sha(b"three").hex(), "corrupt": 33, "bits": 30, "modulus_bits": 32, "length": 9, "gone": [],
         "vectors": vectors("x y z", 9, 2**30 - 1)},
    ]
    rings = [{"session": sha(b"ring").hex(), "root": sha(b"root").hex(), "clients": 128, "degree": 88}]
    return {"sums": [{"given": c, "wanted": play(c)} for c in sums], "rings": [{"given": c, "wanted": ring(c)} for c in rings]}


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(cases(), indent=0) + "\n")
