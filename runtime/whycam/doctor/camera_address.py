"""Why a network camera does not open: its name, its port, its path or its password, asked of the camera itself."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from hashlib import md5
from urllib.parse import SplitResult, unquote, urlsplit

from whycam.doctor.names import addresses_of

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_MOST = 65536

Problem = tuple[str, str]
"""What is wrong, and the fix."""


def address_problem(url: str, deadline: float) -> Problem | None:
    """What is wrong with the camera at `url`, which does not open; None where all of it looks well.

    Neither part holds the user or password in `url`. It ends by the `deadline`, in monotonic seconds.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
    left = max(deadline - time.monotonic(), 0.5)
    addresses = addresses_of(host, port, deadline)
    if addresses is None:
        return f"no name server answers for {host}", "resolvectl status    # or take the camera's address"
    if not addresses:
        return f"the name {host} is not known", f"getent hosts {host}    # see to its name server, or take its address"
    try:
        connection = socket.create_connection((host, port), timeout=left)
    except ConnectionRefusedError:
        return (
            f"{host} is there, but nothing listens on port {port}",
            f"nc -vz {host} {port}    # check port and camera",
        )
    except OSError as error:
        why = "does not answer" if isinstance(error, TimeoutError) else (error.strerror or "cannot be reached").lower()
        return f"{host}: {why}", f"ping -c 3 {host}    # check address, cable, switch and VLAN"
    with connection:
        try:
            return _said(connection, parts, host, left)
        except (OSError, ValueError):
            return f"{host}:{port} is no {parts.scheme.upper()} camera", f"nc -vz {host} {port}    # check the port"


def _said(connection: socket.socket, parts: SplitResult, host: str, seconds: float) -> Problem | None:
    connection.settimeout(seconds)
    if parts.scheme.lower() in ("rtsps", "https"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection, server_hostname=host)
    status, challenge = _ask(connection, parts, None)
    if status == 401 and parts.username:
        answer = _credentials(challenge, parts)
        status = _ask(connection, parts, answer)[0] if answer else 200
        if status == 401:
            return (
                "the camera refuses the user name or password",
                "sudoedit FILE    # of credentials_file: user:password",
            )
    if status == 401:
        fix = 'credentials_file = "/etc/whycam/CAMERA"    # a file with user:password'
        return "the camera asks for a user name and password", fix
    if status == 403:
        return "the camera forbids this user to watch", "curl -v URL    # give the user the right to watch"
    if status in (404, 454):
        return f"the camera has no {parts.path or '/'}", 'source = "..."    # with the path of the camera\'s manual'
    return None


def _ask(connection: socket.socket, parts: SplitResult, authorization: str | None) -> tuple[int, str]:
    """The camera's status and its challenge."""
    netloc = parts.netloc.rpartition("@")[2]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme.lower().startswith("rtsp"):
        lines = [f"DESCRIBE {parts.scheme}://{netloc}{path} RTSP/1.0", f"CSeq: {2 if authorization else 1}"]
    else:
        lines = [f"GET {path} HTTP/1.1", f"Host: {netloc}"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    connection.sendall("\r\n".join([*lines, "User-Agent: whycam", "", ""]).encode())
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST:
        block = connection.recv(4096)
        if not block:
            break
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    found = re.match(r"(?:RTSP|HTTP)/\d\.\d (\d{3})", text)
    if found is None:
        raise ValueError("neither RTSP nor HTTP")
    length = re.search(r"^Content-Length:\s*(\d+)", text, re.IGNORECASE | re.MULTILINE)
    missing = min(int(length[1]), _MOST) - len(body) if length and found[1] != "200" else 0
    while missing > 0 and (block := connection.recv(missing)):
        missing -= len(block)
    challenges = re.findall(r"^WWW-Authenticate:\s*(.*?)\s*$", text, re.IGNORECASE | re.MULTILINE)
    return int(found[1]), next((one for one in challenges if one.lower().startswith("digest")), *challenges[:1] or [""])


def _credentials(challenge: str, parts: SplitResult) -> str | None:
    """The answer to the camera's challenge (RFC 2617); None for a kind that is not known."""
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if challenge.lower().startswith("basic"):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    told = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if "nonce" not in told or "qop" in told or "realm" not in told:
        return None
    netloc = parts.netloc.rpartition("@")[2]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    rtsp = parts.scheme.lower().startswith("rtsp")
    method, uri = ("DESCRIBE", f"{parts.scheme}://{netloc}{path}") if rtsp else ("GET", path)
    mine = _md5(f"{user}:{told['realm']}:{password}")
    proof = _md5(f"{mine}:{told['nonce']}:{_md5(f'{method}:{uri}')}")
    named = {"username": user, "realm": told["realm"], "nonce": told["nonce"], "uri": uri, "response": proof}
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in named.items())


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
