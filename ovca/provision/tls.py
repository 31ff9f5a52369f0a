"""A certificate for one run of the boot service; installers pin it, nobody has to trust it otherwise."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Certificate:
    """A key and its self-signed certificate; no file holds them, which would stay when this process is killed."""

    pem: bytes = field(repr=False)
    """Both, the certificate first."""
    fingerprint: str
    """SHA-256 of the certificate's DER form, in hex."""

    def context(self) -> ssl.SSLContext:
        """What a server shows it with. :raises ssl.SSLError: it does not fit to its key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with os.fdopen(os.memfd_create('certificate'), 'wb') as memory:
            memory.write(self.pem)
            memory.flush()
            context.load_cert_chain(f'/proc/self/fd/{memory.fileno()}')  # OpenSSL takes it from a file only
        return context


def self_signed(name: str) -> Certificate:
    """Make a certificate on the curve P-256 for ``name``, valid for ten years: its pin is its life."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)  # clocks of nodes differ
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + secret
    return Certificate(pem, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest())
