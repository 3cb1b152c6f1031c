"""Certificates of a broker with something wrong."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID


def reissue(directory: Path, *, address: str = "127.0.0.1", begins: float = -1, ends: float = 1) -> None:
    """Sign `server.crt` anew, for this address, valid from so many days from now until so many."""
    ca = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    signer, key = (load_pem_private_key((directory / f"{name}.key").read_bytes(), None) for name in ("ca", "server"))
    assert isinstance(signer, EllipticCurvePrivateKey)
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    (directory / "server.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
