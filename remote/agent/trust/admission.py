"""May this release be on this board: who signed its manifest, and is it as new as what the board has seen.

``manifest.sig`` is JSON, ``{"format": 1, "key": public key, "signature": ...}`` in hex, over the manifest's exact
bytes. The key in it is a claim, good for an error that names it; only the board's own keys count. It is written in one
way alone, so that there is one file for one signature: what says the same in another way is refused.
"""

import errno
import json
import os
from typing import Any, Dict, Iterable, Optional, Tuple

from .. import strict_json
from ..errors import AgentError
from ..manifest import SIGNATURE
from ..safe_files import read_bytes, read_object, write_json
from . import ed25519, keys

#: Longest content of ``manifest.sig`` that is read.
LONGEST = 4096
FORMAT = 1
_SERIALS = "serials.json"


def written(public: bytes, proof: bytes) -> bytes:
    """Content of the ``manifest.sig`` that holds a signature."""
    claim = {"format": FORMAT, "key": public.hex(), "signature": proof.hex()}
    return (json.dumps(claim, indent=1, sort_keys=True) + "\n").encode("ascii")


def signer(raw: bytes, signature: Optional[bytes], release: str) -> Optional[bytes]:
    """The public key that signed a manifest's bytes; None where there is no signature.

    Args:
        signature: Content of ``manifest.sig``.

    Raises:
        AgentError: It is not a signature of these bytes; kind ``signature``.
    """
    if signature is None:
        return None
    try:
        if len(signature) > LONGEST:
            raise ValueError("it is too long")
        claim = strict_json.loads(signature)
        if claim["format"] != FORMAT:
            raise ValueError("format %r is not known" % (claim["format"],))
        public, proof = bytes.fromhex(claim["key"]), bytes.fromhex(claim["signature"])
    except (ValueError, KeyError, TypeError) as error:
        raise _refused(release, "its signature cannot be read", str(error))
    if not ed25519.verify(public, raw, proof):
        raise _refused(release, "its signature is not one of its manifest", "the one or the other was altered")
    if signature != written(public, proof):
        raise _refused(release, "its signature is not written as jetlane writes it", "something was added to it")
    return public


def check(root: str, release: str, raw: bytes, signature: Optional[bytes]) -> Optional[bytes]:
    """Whether the board takes a manifest.

    Args:
        root: The agent's folder.
        signature: Content of ``manifest.sig``.

    Returns:
        The board's key that signed it; None on a board without keys, which takes any release.

    Raises:
        AgentError: It is not signed, not rightly, or by a key the board does not have; kind ``signature``.
    """
    known, public = keys.enrolled(root), signer(raw, signature, release)
    if not known:
        return None
    if public is None:
        raise _refused(release, "it is not signed", "this board takes releases of %s only" % _fingerprints(known))
    if public not in known:
        why = "%s signed it, this board takes releases of %s" % (keys.fingerprint(public), _fingerprints(known))
        raise _refused(release, "it is signed by a key that is not enrolled on this board", why)
    return public


def signature_in(folder: str) -> Optional[bytes]:
    """Content of the ``manifest.sig`` in a release's folder; None where there is none."""
    try:
        return read_bytes(os.path.join(folder, SIGNATURE), LONGEST)
    except OSError as error:
        return None if error.errno == errno.ENOENT else b""  # what is no file is no signature


def refuse_older(root: str, release: str, manifest: Dict[str, Any], accepted: Iterable[Dict[str, Any]]) -> None:
    """Refuse a release with a lower serial than the board has accepted of its project.

    Args:
        root: The agent's folder.
        accepted: Manifests of the releases on the board.

    Raises:
        AgentError: kind ``serial``.
    """
    project, serial = _serial(manifest)
    highest = _highest(root, project, accepted)
    if serial < highest:
        raise AgentError(
            "release %s is older than what this board has accepted of %s" % (release, project),
            "its serial is %d, the highest accepted here is %d: an old release may bring back a corrected mistake"
            % (serial, highest),
            "to go back to a release that is still on the board: `jetlane rollback`; to ship this one as a new one: "
            "`jetlane renew %s --above %d`, then run again" % (project, highest),
            "serial",
        )


def remember_serial(root: str, manifest: Dict[str, Any]) -> None:
    """Keep the serial of a release that was accepted."""
    project, serial = _serial(manifest)
    remembered = _remembered(root)
    if serial > remembered.get(project, 0):
        remembered[project] = serial
        write_json(os.path.join(root, _SERIALS), {"format": FORMAT, "serials": remembered})


def _serial(manifest: Dict[str, Any]) -> Tuple[str, int]:
    """A manifest without a serial counts as older than any."""
    return str(manifest.get("project", manifest["name"])), manifest.get("serial", 0)


def _highest(root: str, project: str, accepted: Iterable[Dict[str, Any]]) -> int:
    """The highest serial accepted: what is remembered, and, should that have been lost, what is on the board."""
    found = [serial for other, serial in map(_serial, accepted) if other == project]
    return max([_remembered(root).get(project, 0)] + found)


def _remembered(root: str) -> Dict[str, int]:
    serials = read_object(os.path.join(root, _SERIALS)).get("serials")
    if not isinstance(serials, dict):
        return {}
    return {name: serial for name, serial in serials.items() if strict_json.is_whole(serial)}


def _fingerprints(public: Any) -> str:
    return " and ".join(map(keys.fingerprint, public))


def _refused(release: str, what: str, why: str) -> AgentError:
    return AgentError(
        "release %s is refused: %s" % (release, what),
        why,
        "sign it with a key of this board, by making it again; or, if the project has a new key, and only if you know "
        "why: `jetlane device enroll NAME`",
        "signature",
    )
