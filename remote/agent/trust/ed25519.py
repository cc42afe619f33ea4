"""Check an ed25519 signature (RFC 8032), with the ``cryptography`` package where the board has it, else right here.

Both ways give the same verdict, the strict one: before either multiplies a point, whatever has a second spelling is
refused (S at or above the group's order, coordinates at or above the field's prime, the sign of a zero), and so are the
eight points of small order, as key and as R. The equation is RFC 8032's without the cofactor, which is OpenSSL's too.
Signing is no part of this: nothing here handles a secret, so nothing needs to take constant time.
"""

import hashlib
from typing import Optional, Tuple

_P = 2**255 - 19
#: Order of the base point.
ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_LOW_255 = (1 << 255) - 1

#: Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z.
Point = Tuple[int, int, int, int]
_IDENTITY = (0, 1, 1, 0)
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Y = 4 * pow(5, _P - 2, _P) % _P
#: The base point.
BASE = (_X, _Y, 1, _X * _Y % _P)
#: A point of order 8 doubles to one with y = 0, so x^2 = -y^2 there, which makes the curve's equation
#: d y^4 + 2 y^2 - 1 = 0. This is a root of it; the other one in the field is its negative.
_Y_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
#: The y of the eight points whose order divides 8: of order 4 (two points), 1, 2, and 8 (four points).
_SMALL_ORDERS = (0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is the one of ``public``'s (32 bytes) owner over ``message``."""
    if not acceptable(public, signature):
        return False
    known = _by_cryptography(public, message, signature)
    return verify_here(public, message, signature) if known is None else known


def acceptable(public: bytes, signature: bytes) -> bool:
    """What must hold before any arithmetic: lengths, one spelling for each number, no point of small order."""
    if len(public) != 32 or len(signature) != 64:
        return False
    return int.from_bytes(signature[32:], "little") < ORDER and sound(public) and sound(signature[:32])


def sound(encoded: bytes) -> bool:
    """Whether 32 bytes may be a point: y below the prime, and not of small order, as both points with x = 0 are."""
    y = int.from_bytes(encoded, "little") & _LOW_255
    return y < _P and y not in _SMALL_ORDERS


def _by_cryptography(public: bytes, message: bytes, signature: bytes) -> Optional[bool]:
    """The package's answer; None where it is missing, or older than its ed25519 (JetPack 4's is)."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key = Ed25519PublicKey.from_public_bytes(public)
    except ValueError:
        return False
    except Exception:  # also a package that is there and broken: what it raises cannot be foreseen
        return None
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def verify_here(public: bytes, message: bytes, signature: bytes) -> bool:
    """The same in plain Python: S B = R + h A, compared as RFC 8032 encodes points."""
    key = decode(public)
    if key is None or not acceptable(public, signature):
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    scalar = int.from_bytes(digest, "little") % ORDER
    x, y, z, t = key
    minus = (_P - x, y, z, _P - t)
    return encode(_sum_of_products(int.from_bytes(signature[32:], "little"), BASE, scalar, minus)) == signature[:32]


def decode(encoded: bytes) -> Optional[Point]:
    """The point that 32 bytes stand for (RFC 8032, 5.1.3); None where there is none, or where they are not its own."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & _LOW_255
    if len(encoded) != 32 or y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x + u) % _P == 0:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (v * x * x - u) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def encode(point: Point) -> bytes:
    """The 32 bytes of a point."""
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(one: Point, other: Point) -> Point:
    """Sum of two points (RFC 8032, 5.1.4); the formula knows no exceptions."""
    a = (one[1] - one[0]) * (other[1] - other[0])
    b = (one[1] + one[0]) * (other[1] + other[0])
    c = 2 * _D * one[3] * other[3]
    d = 2 * one[2] * other[2]
    e, f, g, h = (b - a) % _P, (d - c) % _P, (d + c) % _P, (b + a) % _P
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(point: Point) -> Point:
    a, b = point[0] * point[0], point[1] * point[1]
    c = 2 * point[2] * point[2]
    h = a + b
    e = (h - (point[0] + point[1]) ** 2) % _P
    g = a - b
    f = (c + g) % _P
    g, h = g % _P, h % _P
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _sum_of_products(one: int, point: Point, other: int, second: Point) -> Point:
    """one * point + other * second, both in one walk over the bits."""
    both = add(point, second)
    total = _IDENTITY
    for bit in range(max(one.bit_length(), other.bit_length()) - 1, -1, -1):
        total = _double(total)
        chosen = (one >> bit & 1, other >> bit & 1)
        if chosen == (1, 1):
            total = add(total, both)
        elif chosen == (1, 0):
            total = add(total, point)
        elif chosen == (0, 1):
            total = add(total, second)
    return total
