"""Certificates and a bearer token become a TLS context and a yes or no about a header."""

import hmac
import ssl
from pathlib import Path

from cotenant.core.errors import Unauthorized, WorkloadError


class Token:
    """The bearer token that clients must show, if any."""

    def __init__(self, token: str | None) -> None:
        self._expected = None if token is None else b"bearer " + token.encode()

    def check(self, authorization: bytes | None) -> None:
        """Raise `Unauthorized` unless the header carries the token."""
        if self._expected is None:
            return
        scheme, _, credentials = (authorization or b"").partition(b" ")
        # Constant time: how long a wrong token takes must not tell how much of it was right.
        if not hmac.compare_digest(scheme.lower() + b" " + credentials.strip(), self._expected):
            raise Unauthorized(
                "missing or wrong token; send the header 'authorization: Bearer TOKEN'"
            )


def read_token(path: Path) -> str:
    """The token in a file, without the line's end."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"cannot read token file {str(path)!r}: {error}") from error
    if not token or not token.isascii() or any(letter.isspace() for letter in token):
        raise WorkloadError(f"token file {str(path)!r} must hold one ASCII word; write one there")
    return token


class Certificate:
    """A server certificate with its key, both in PEM form, ready for either transport."""

    def __init__(self, certificate: Path, key: Path) -> None:
        try:
            self.context = _context(certificate, key)
            self.grpc_context = _context(certificate, key)
            self.grpc_context.set_alpn_protocols(["h2"])
        except (OSError, ssl.SSLError) as error:
            raise WorkloadError(
                f"cannot use certificate {str(certificate)!r} with key {str(key)!r}: {error}; "
                "give --tls-cert and --tls-key a matching pair of PEM files"
            ) from error


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
