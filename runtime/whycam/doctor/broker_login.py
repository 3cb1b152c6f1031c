"""A login at the broker that leaves no trace: a client id of its own, no will, no session that is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from whycam.doctor.broker_tls import client_certificate_problem, late_alert
from whycam.mqtt.ear import Ear, Received, received
from whycam.mqtt.message import Message
from whycam.mqtt.server import Server, told
from whycam.mqtt.session import Session

_TURN_SECONDS = 0.1
_CODES_OF_PASSWORDS = (4, 134)
_CODES_OF_RIGHTS = (5, 135)
_CODES_OF_CLIENT_IDS = (2, 133)
_CODES_OF_VERSIONS = (1, 132)


class LoginRefusedError(Exception):
    """The broker has not let us in."""

    def __init__(self, why: str, fix: str, step: str = "broker.login", *, certain: bool = True) -> None:
        self.why = why
        self.fix = fix
        self.step = step
        """The check that it is a matter of."""
        self.certain = certain
        """Whether the device itself would not be let in either."""
        super().__init__(why)


class Login:
    """A connection to the broker, from the start to the end of a `with` block, driven by who waits for something."""

    def __init__(self, server: Server, client_id: str, deadline: float) -> None:
        """Not yet connected; the broker must let us in by the `deadline`, in monotonic seconds."""
        self.server = server
        self.client_id = client_id
        self._deadline = deadline
        self._session = Session(server, client_id)
        self._ear = Ear()
        self._subscribed: dict[int, list[int]] = {}
        self._acknowledged: dict[int, int] = {}
        self.received: list[Received] = []
        self._error = ""

    def __enter__(self) -> Login:
        self._client = self._session.client(10)
        self._client.connect_timeout = max(self._deadline - time.monotonic(), 0.5)
        self._ear.listen_to(self._client)
        self._client.on_subscribe = self._on_subscribe
        try:
            self._session.connect(self._client)
            self._wait(lambda: self._ear.admitted is not None, self._deadline)
        except (OSError, ValueError) as error:
            self._error = told(error, self.server)
        if self._ear.admitted is None:
            self._close()
            raise self._refusal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._close()

    def publish(self, message: Message, deadline: float) -> int | None:
        """The broker's reason code for `message`, of QoS 1; None where it does not acknowledge it in time."""
        properties = self._session.properties_of(message)
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        self._wait(lambda: info.mid in self._acknowledged, deadline)
        return self._acknowledged.get(info.mid)

    def subscribe(self, filters: list[str], deadline: float) -> list[int] | None:
        """The broker's reason code for each filter; None where it does not answer in time."""
        _, mid = self._client.subscribe([(each, 1) for each in filters])
        self._wait(lambda: mid in self._subscribed, deadline)
        return self._subscribed.get(mid or 0)

    def wait_for(self, topic: str, deadline: float, after: int = 0) -> Received | None:
        """The first message on `topic` after the first `after` ones; None where none comes in time."""

        def found() -> Received | None:
            return next((one for one in self.received[after:] if one.topic == topic), None)

        self._wait(lambda: found() is not None, deadline)
        return found()

    def _wait(self, holds: Callable[[], bool], deadline: float) -> None:
        while not holds() and time.monotonic() < deadline and self._client.socket() is not None:
            code = self._client.loop(_TURN_SECONDS)
            while self._ear.acknowledged:
                mid, reason = self._ear.acknowledged.popleft()
                self._acknowledged[mid] = reason
            while self._ear.received:
                message = received(self._ear.received.popleft(), 0)
                if message is not None:
                    self.received.append(message)
            if code not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_AGAIN) and not holds():
                return

    def _on_subscribe(self, _client: object, _data: object, mid: int, codes: list[ReasonCode], _props: object) -> None:
        self._subscribed[mid] = [int(code.value) for code in codes]

    def _close(self) -> None:
        connection = self._client.socket()
        if connection is not None:
            connection.close()

    def _refusal(self) -> LoginRefusedError:
        server, code = self.server, self._ear.refusal_code
        if code in _CODES_OF_PASSWORDS or code in _CODES_OF_RIGHTS:
            return self._login_refused()
        if code in _CODES_OF_CLIENT_IDS:
            why = f"the broker does not take the client id '{self.client_id}'; the device's own is not tried"
            fix = 'client_id = "..."    # in [broker]: one that the broker takes'
            return LoginRefusedError(why, fix, certain=False)
        if code in _CODES_OF_VERSIONS:
            other = "3.1.1" if server.protocol == "5" else "5"
            why = f"the broker does not speak MQTT {server.protocol}"
            return LoginRefusedError(why, f'protocol = "{other}"    # in [broker]')
        if code is not None:
            why = self._ear.reason(server, self.client_id, was_up=False)
            return LoginRefusedError(why, "sudo journalctl -u mosquitto -n 50    # on the broker")
        if not server.tls:
            why = f"port {server.port} answers, but not to MQTT: does it want TLS?"
            fix = 'tls = true\nca_file = "/etc/whycam/ca.crt"    # in [broker]; or the port without TLS'
            return LoginRefusedError(why, fix)
        mine = client_certificate_problem(late_alert(server, self._deadline), server)
        if mine is not None:
            return LoginRefusedError(*mine, step="broker.tls")
        said = f" ({self._error})" if self._error else ""
        why = f"TLS works, but MQTT gets no answer on port {server.port}{said}"
        return LoginRefusedError(why, "sudo journalctl -u mosquitto -n 50    # on the broker: what listens there?")

    def _login_refused(self) -> LoginRefusedError:
        name = self.server.username
        if name is None:
            why = "the broker refuses a client without user name"
            fix = 'username = "..."\npassword_file = "/etc/whycam/broker-password"    # in [broker]'
            return LoginRefusedError(why, fix)
        why = f"the broker refuses user '{name}': name or password is wrong, or it takes certain client ids alone"
        return LoginRefusedError(
            why, f"sudo mosquitto_passwd /etc/mosquitto/whycam.passwords {name}    # on the broker"
        )
