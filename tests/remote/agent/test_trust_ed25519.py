"""The verifier of signatures: RFC 8032's vectors, the traps that Wycheproof lists, OpenSSL as the judge of the rest."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jetlane.remote.agent.trust import ed25519
from jetlane.remote.agent.trust.ed25519 import BASE, ORDER, Point, add, decode, encode

P = 2**255 - 19

#: RFC 8032, 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
        "d9bef1177331a704",
    ),
]

#: Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs" (2020): message, public key, signature, our verdict.
MANY_EDDSAS = [
    (  # key of small order; R too
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    (  # key of small order
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        False,
    ),
    (  # R of small order
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
        "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        False,
    ),
    (  # key and R of mixed order, and the equation without the cofactor holds
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
        "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        True,
    ),
    (  # the same, but it holds with the cofactor alone
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        False,
    ),
    (  # key of mixed order, with the cofactor alone
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
        "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        False,
    ),
    (  # S above the order
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
        "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        False,
    ),
    (  # S far above the order
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
        "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        False,
    ),
    (  # R not spelled canonically
        "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
        "454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607",
        False,
    ),
    (  # the same, of another message
        "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
        "084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09",
        False,
    ),
]


@pytest.fixture(params=["cryptography", "plain Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way to a verdict."""
    if request.param == "plain Python":
        monkeypatch.setattr(ed25519, "_by_cryptography", lambda *given: None)
    else:
        monkeypatch.setattr(ed25519, "verify_here", lambda *given: pytest.fail("cryptography is here"))
    return request.param


def times(number: int, point: Point) -> Point:
    total = decode(encode((0, 1, 1, 0))) or pytest.fail("the identity has an encoding")
    for bit in bin(number)[2:]:
        total = add(total, total)
        total = add(total, point) if bit == "1" else total
    return total


def torsion() -> list[Point]:
    """The eight points whose order divides 8: what remains of any point when the large prime is taken out."""
    for y in range(2, 50):
        found = decode(y.to_bytes(32, "little"))
        if found is not None:
            small = times(ORDER, found)
            if encode(times(4, small)) != encode((0, 1, 1, 0)):
                return [times(number, small) for number in range(8)]
    raise AssertionError("no point of order 8 found")


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER


def signed(secret: int, public: Point, nonce: int, r: Point, message: bytes) -> tuple[bytes, bytes]:
    """Public key and signature that somebody who knows the secret can make for points of any order."""
    encoded, key = encode(r), encode(public)
    return key, encoded + little((nonce + challenge(encoded, key, message) * secret) % ORDER)


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(secret: str, public: str, message: bytes, signature: str, way: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.public_key().public_bytes_raw().hex() == public and key.sign(message).hex() == signature
    assert ed25519.verify(bytes.fromhex(public), message, bytes.fromhex(signature))
    assert not ed25519.verify(bytes.fromhex(public), message + b"x", bytes.fromhex(signature))


@pytest.mark.parametrize(("message", "public", "signature", "verdict"), MANY_EDDSAS)
def test_the_cases_on_which_verifiers_differ(
    message: str, public: str, signature: str, verdict: bool, way: str
) -> None:
    given = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert ed25519.verify(*given) is verdict


def traps() -> Iterator[tuple[str, bytes, bytes, bytes]]:
    """Signatures that must be refused, by Wycheproof's classes; each was made from one that is right."""
    secret = Ed25519PrivateKey.from_private_bytes(little(7))
    public, message = secret.public_key().public_bytes_raw(), b"manifest"
    right = secret.sign(message)
    r, s = right[:32], int.from_bytes(right[32:], "little")
    for factor in range(1, 16):
        if s + factor * ORDER < 1 << 256:
            yield f"S + {factor} L", public, message, r + little(s + factor * ORDER)
    for name, other in (("L", ORDER), ("2^255", 1 << 255), ("2^256 - 1", (1 << 256) - 1), ("0", 0)):
        yield f"S = {name}", public, message, r + little(other)
    for size in (0, 1, 31, 32, 33, 63, 65, 96):
        yield f"{size} bytes", public, message, (right * 2)[:size]
    for size in (0, 31, 33):
        yield f"key of {size} bytes", (public * 2)[:size], message, right
    for bit in range(512):
        yield f"bit {bit} of the signature", public, message, flipped(right, bit)
    for bit in range(256):
        yield f"bit {bit} of the key", flipped(public, bit), message, right
    yield "S before R", public, message, right[32:] + r
    yield "all zeros", bytes(32), message, bytes(64)
    yield "R of zeros", public, message, bytes(32) + right[32:]
    yield "the key as R", public, message, public + right[32:]
    for y in range(P, 1 << 255):  # all that is not canonical
        for sign in (0, 1 << 255):
            yield f"R spelled p + {y - P}", public, message, little(y | sign) + right[32:]
            yield f"key spelled p + {y - P}", little(y | sign), message, right
    for number, point in enumerate(torsion()):
        for sign in (0, 1 << 255):
            small = little(int.from_bytes(encode(point), "little") ^ sign)
            for scalar in (0, 1, s):
                yield f"key of small order {number}", small, message, small + little(scalar)
                yield f"R of small order {number}", public, message, small + little(scalar)
            yield f"key of small order {number}, R of large", small, message, right


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_no_adversarial_signature_is_accepted(way: str) -> None:
    checked = 0
    for name, public, message, signature in traps():
        assert not ed25519.verify(public, message, signature), name
        checked += 1
    assert checked > 900


def test_the_points_of_small_order_are_all_known() -> None:
    points = torsion()
    assert len({encode(point) for point in points}) == 8
    for point in points:
        assert encode(times(8, point)) == little(1) and not ed25519.sound(encode(point))
    assert ed25519.sound(encode(BASE)) and encode(times(ORDER, BASE)) == little(1)


def test_both_ways_agree_on_points_of_mixed_order() -> None:
    """A key or an R with a small part may fulfil the equation by luck; then both ways must have the same luck."""
    rng, verdicts = random.Random(1), []
    small = torsion()
    for round_ in range(96):
        secret, nonce, message = rng.randrange(1, ORDER), rng.randrange(1, ORDER), bytes([round_])
        public = add(times(secret, BASE), rng.choice(small))
        key, signature = signed(secret, public, nonce, add(times(nonce, BASE), rng.choice(small)), message)
        verdict = ed25519.verify_here(key, message, signature)
        assert ed25519._by_cryptography(key, message, signature) is verdict
        verdicts.append(verdict)
    assert {True, False} == set(verdicts)


@pytest.mark.parametrize("count", [700, pytest.param(20_000, marks=pytest.mark.slow)])
def test_both_ways_agree_on_whatever_comes(count: int) -> None:
    rng = random.Random(count)
    accepted = 0
    for _ in range(count):
        key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), rng.randbytes(rng.randrange(200))
        signature = key.sign(message)
        damage = rng.randrange(5)
        if damage == 1:
            signature = flipped(signature, rng.randrange(512))
        elif damage == 2:
            public = flipped(public, rng.randrange(256))
        elif damage == 3:
            message += b"x"
        elif damage == 4:
            public, signature = rng.randbytes(32), rng.randbytes(64)
        here = ed25519.verify_here(public, message, signature)
        assert (ed25519.acceptable(public, signature) and ed25519._by_cryptography(public, message, signature)) is here
        assert here is (damage == 0)
        accepted += here
    assert accepted > count // 8


def test_an_older_cryptography_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    _, public, message, signature = RFC_8032[2]
    assert ed25519._by_cryptography(bytes.fromhex(public), message, bytes.fromhex(signature)) is None
    assert ed25519.verify(bytes.fromhex(public), message, bytes.fromhex(signature))


def test_the_same_verdicts_on_python_3_6(repository: Path, python36: str, tmp_path: Path) -> None:
    cases = [(public, message, signature, verdict) for message, public, signature, verdict in MANY_EDDSAS]
    cases += [(public, message.hex(), signature, True) for _, public, message, signature in RFC_8032]
    cases += [(p.hex(), m.hex(), s.hex(), False) for number, (_, p, m, s) in enumerate(traps()) if number % 7 == 0]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import ed25519; b = bytes.fromhex\n"
        "wrong = [c for c in json.load(open('cases.json')) if ed25519.verify(b(c[0]), b(c[1]), b(c[2])) != c[3]]\n"
        "assert not wrong, wrong"
    )
    command = [python36, "-c", code, str(repository / "remote" / "agent" / "trust")]
    subprocess.run(command, check=True, cwd=tmp_path, env={})
