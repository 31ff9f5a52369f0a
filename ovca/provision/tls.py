"""A certificate for one run of the boot service; installers pin it, nobody has to trust it otherwise."""

from __future__ import annotations

import datetime as dt
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A key and its self-signed certificate, in files that only this user can read."""

    certificate: Path
    key: Path
    fingerprint: str
    """SHA-256 of the certificate's DER form, in hex."""
    folder: tempfile.TemporaryDirectory[str]
    """Removed with this object."""


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
    folder = tempfile.TemporaryDirectory(prefix='ovca-tls-')
    paths = Path(folder.name, 'certificate.pem'), Path(folder.name, 'key.pem')
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return Certificate(*paths, hashlib.sha256(der).hexdigest(), folder)
