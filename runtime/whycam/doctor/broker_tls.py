"""Why TLS fails with a broker, in the words of its certificate."""

from __future__ import annotations

import socket
import ssl
import time

from whycam.doctor.report import Finding, failure
from whycam.mqtt.server import Server, tls_context

_ALERT_SECONDS = 2.0
_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_NAME = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_UNTRUSTED = (18, 19, 20, 21)
"""Signed by itself, by an authority that is not trusted, or by one that is not there."""


def tls_problem(server: Server, deadline: float) -> str | Finding:
    """What stands in the way of TLS with the broker, else the version of TLS that is spoken."""
    try:
        context = tls_context(server)
    except ssl.SSLError as error:
        file = server.certificate_file or server.ca_file
        fix = f"openssl x509 -in {server.certificate_file or server.ca_file} -noout -subject -dates"
        reason = "the key is not the certificate's" if "MISMATCH" in (error.reason or "") else error.reason
        return failure("broker.tls", f"{file}: cannot be used ({reason or 'no certificate in PEM'})", fix)
    except OSError as error:
        fix = f"ls -l {error.filename}    # the files that [broker] names: ca_file, certificate_file, key_file"
        return failure("broker.tls", f"{error.filename}: {(error.strerror or 'cannot be read').lower()}", fix)
    try:
        seconds = max(deadline - time.monotonic(), 0.5)
        with socket.create_connection((server.host, server.port), seconds) as plain:
            plain.settimeout(seconds)
            with context.wrap_socket(plain, server_hostname=server.host) as wrapped:
                return wrapped.version() or "TLS"
    except ssl.SSLCertVerificationError as error:
        return _certificate_problem(error, server)
    except ssl.SSLError as error:
        return _protocol_problem(error, server)
    except TimeoutError:
        why = f"port {server.port} says nothing to TLS: does it speak it?"
        return failure("broker.tls", why, "port = 8883    # in [broker]: the broker's port with TLS")
    except OSError as error:
        why = f"the broker ends the connection during TLS ({(error.strerror or 'closed').lower()})"
        return failure("broker.tls", why, f"openssl s_client -connect {server.host}:{server.port}")


def late_alert(server: Server, deadline: float) -> str:
    """OpenSSL's name of what the broker says after the handshake, where it ends the connection; empty for nothing."""
    try:
        seconds = max(min(deadline - time.monotonic(), _ALERT_SECONDS), 0.5)
        with (
            socket.create_connection((server.host, server.port), seconds) as plain,
            tls_context(server).wrap_socket(plain, server_hostname=server.host) as wrapped,
        ):
            wrapped.recv(1)
    except ssl.SSLError as error:
        return error.reason or ""
    except OSError:
        pass
    return ""


def client_certificate_problem(reason: str, server: Server) -> tuple[str, str] | None:
    """What the broker's alert says of the device's own certificate, which TLS 1.3 tells after the handshake."""
    mine = server.certificate_file
    if "CERTIFICATE_REQUIRED" in reason or (mine is None and "HANDSHAKE_FAILURE" in reason):
        fix = 'certificate_file = "/etc/whycam/device.crt"\nkey_file = "/etc/whycam/device.key"    # in [broker]'
        return "the broker wants a certificate of the device", fix
    if mine is None:
        return None
    if "CERTIFICATE_EXPIRED" in reason:
        return f"the device's certificate {mine} has expired", f"openssl x509 -in {mine} -noout -dates    # renew it"
    if "CERTIFICATE_REVOKED" in reason:
        why = f"the broker has revoked the device's certificate {mine}"
        return why, f"openssl x509 -in {mine} -noout -serial -subject    # make a new one, where the authority is"
    if any(word in reason for word in ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")):
        why = f"the broker does not trust the device's certificate {mine}"
        return why, f"openssl x509 -in {mine} -noout -issuer    # its authority goes into the broker's cafile"
    return None


def _certificate_problem(error: ssl.SSLCertVerificationError, server: Server) -> Finding:
    show = f"openssl s_client -connect {server.host}:{server.port} </dev/null 2>/dev/null | openssl x509 -noout"
    code = error.verify_code
    if code == _EXPIRED:
        return failure(
            "broker.tls", "the broker's certificate has expired", f"{show} -dates    # renew it on the broker"
        )
    if code == _NOT_YET_VALID:
        why = "the broker's certificate is not valid yet: is this clock right?"
        return failure("broker.tls", why, "sudo timedatectl set-ntp true && timedatectl")
    if code in _OTHER_NAME:
        fix = f'{show} -ext subjectAltName    # write one of these names: host = "..." in [broker]'
        return failure("broker.tls", f"the broker's certificate is for another name than {server.host}", fix)
    if code in _UNTRUSTED:
        known = f"{server.ca_file} has not signed it" if server.ca_file else "no authority of this system has signed it"
        fix = 'ca_file = "/etc/whycam/ca.crt"    # in [broker]: the authority that signed the broker\'s certificate'
        return failure("broker.tls", f"the broker's certificate is not trusted: {known}", fix)
    return failure("broker.tls", f"the broker's certificate is not accepted: {error.verify_message}", f"{show} -text")


def _protocol_problem(error: ssl.SSLError, server: Server) -> Finding:
    reason = error.reason or ""
    mine = client_certificate_problem(reason, server)
    if mine is not None:
        return failure("broker.tls", *mine)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        why = f"port {server.port} does not speak TLS"
        return failure("broker.tls", why, "port = 8883    # in [broker]: the broker's port with TLS; or tls = false")
    why = f"TLS fails ({reason.lower().replace('_', ' ') or 'closed'})"
    return failure("broker.tls", why, f"openssl s_client -connect {server.host}:{server.port}")
