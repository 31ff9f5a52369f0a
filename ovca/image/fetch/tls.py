"""Contexts for TLS: whom we trust, and the certificate that we show."""

from __future__ import annotations

import ssl
from pathlib import Path

from ovca.conf import secrets
from ovca.exceptions import ConfigError


def context(ca_file: str | None, certificate: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """A context for clients: the authorities in ``ca_file``, or else the system's, and what we show if asked.

    :raises ConfigError: a file cannot be used.
    """
    made = ssl.create_default_context(cafile=_authorities(ca_file))
    if certificate:
        _show(made, certificate, key)
    return made


def _authorities(ca_file: str | None) -> str | None:
    if ca_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
        except OSError as exc:  # ssl's own errors among them
            raise ConfigError(
                f'[update] ca_file {ca_file} holds no CA certificates that can be read: {exc.strerror or exc}; '
                f'write PEM',
                id='ca-file',
            ) from exc
        return ca_file
    paths = ssl.get_default_verify_paths()
    try:
        none = paths.cafile is None and (paths.capath is None or not any(Path(paths.capath).iterdir()))
    except OSError as exc:
        raise ConfigError(
            f'{paths.capath}, with the authorities that this system trusts, cannot be read: {exc.strerror}; see to it, '
            f'or set [update] ca_file',
            id='ca-file',
        ) from exc
    if none:
        import certifi  # a system without authorities of its own

        return certifi.where()
    return None


def _show(made: ssl.SSLContext, certificate: str, key: str | None) -> None:
    private = key or certificate
    try:
        mode = Path(private).stat().st_mode
    except OSError as exc:
        raise ConfigError(
            f'[update] client_key {private} cannot be read: {exc.strerror}; see to the file', id='client-certificate'
        ) from exc
    if problem := secrets.openness(private, mode):
        raise ConfigError(f'[update] client_key {problem}', id='secret-file-open')
    try:
        # A key that needs a pass phrase would ask for it on the terminal; a wrong one ends that.
        made.load_cert_chain(certificate, key, password=lambda: '-')
    except OSError as exc:
        raise ConfigError(
            f'[update] client_certificate {certificate} and client_key {private} cannot be used: '
            f'{exc.strerror or exc}; write PEM without a pass phrase, and the key that belongs to the certificate',
            id='client-certificate',
        ) from exc
