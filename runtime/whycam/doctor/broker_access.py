"""What the broker's access list lets the device do, tried without a message that anybody takes for an event."""

from __future__ import annotations

import json
import time

from whycam.doctor.broker_login import Login
from whycam.doctor.report import Finding, failure, listed, ok, warning
from whycam.mqtt.events import availability_message
from whycam.mqtt.message import Message
from whycam.mqtt.payloads import ONLINE
from whycam.mqtt.topics import Topics

REFUSED = 128
_RETAINED_SECONDS = 0.7
"""What is retained comes at once after the subscription."""
_BACK_SECONDS = 2.0
_EXPIRY_SECONDS = 1
_LOG = "sudo journalctl -u mosquitto -n 50    # on the broker"


class Access:
    """Tries what the device publishes and listens to.

    Availability is published again as it is retained. Where none is, and no service runs here, `offline` is the truth.
    Where a service runs and what it retains cannot be read, it is left alone.
    """

    def __init__(self, login: Login, topics: Topics, username: str | None, *, away: bool) -> None:
        """Of the device with these `topics`, over `login`; `away`: its service does not run."""
        self._login = login
        self._topics = topics
        self._username = username
        self._who = username or "this device, without a user name,"
        self._away = away
        self._online: bool | None = None
        """What may be said of the device's availability, where that is known."""
        self._came_back = False

    def hears(self, filters: list[str], deadline: float) -> Finding:
        """Whether messages come in on `filters`; the first is the device's availability."""
        login, topic = self._login, self._topics.availability
        codes = login.subscribe(filters, deadline)
        if codes is None:
            return failure("broker.hear", "a subscription is not answered", _LOG)
        refused = [one for one, code in zip(filters, codes, strict=False) if code >= REFUSED]
        retained = login.wait_for(topic, min(deadline, time.monotonic() + _RETAINED_SECONDS))
        if retained is not None:
            self._online = retained.payload == ONLINE
        elif self._away:
            self._online = False
        if refused:
            fix = self._acl(*(f"topic read {one}" for one in refused))
            return failure("broker.hear", f"{self._who} may not listen to {listed(refused[:3])}", fix, refused=refused)
        code = self._say_availability(deadline) if retained is None or login.server.protocol != "5" else None
        if retained is not None or self._came_back:
            told = f"{topic} comes in" + ("" if len(filters) == 1 else ", commands are subscribed to")
            return ok("broker.hear", told, filters=filters)
        fix = self._acl(*(f"topic read {self._topics.base}/{one}" for one in ("availability", "+/set", "+/explain")))
        if code is not None and code >= REFUSED:
            why = "subscriptions are accepted; as nothing may be published, it cannot be told whether messages come in"
            return warning("broker.hear", why, fix)
        if code is not None and login.server.protocol != "5":
            why = f"nothing comes in on {topic}: MQTT 3.1.1 does not tell why, reading or writing"
            return failure("broker.hear", why, fix)
        return failure("broker.hear", f"{self._who} may not read {topic}: the broker drops what comes in for it", fix)

    def publishes(self, deadline: float) -> Finding:
        """Whether the device may publish below its own topic; asked after `hears`."""
        login, base = self._login, self._topics.base
        write = self._acl(f"topic write {base}/#")
        probe = json.dumps({"schema": "whycam.doctor.probe/1"}).encode()
        code = login.publish(Message(f"{base}/doctor", probe, expiry_seconds=_EXPIRY_SECONDS), deadline)
        if code is None:
            return failure("broker.publish", "a message is not acknowledged", _LOG)
        if login.server.protocol != "5":
            if self._came_back:
                told = f"{self._topics.availability} came back; of other topics MQTT 3.1.1 does not tell"
                return ok("broker.publish", told)
            why = "acknowledged, but MQTT 3.1.1 does not tell whether messages are dropped"
            return warning("broker.publish", why, 'protocol = "5"    # in [broker], if the broker speaks it')
        if code < REFUSED:
            return ok("broker.publish", f"{self._who} may publish below {base}/", code=code)
        availability = self._say_availability(deadline)
        if availability is not None and availability < REFUSED:
            why = f"{self._who} may publish {self._topics.availability}, but not all below {base}/"
            return warning("broker.publish", why, write, code=code)
        why = f"{self._who} may not publish below {base}/ (reason code {code})"
        return failure("broker.publish", why, write, code=code)

    def _say_availability(self, deadline: float) -> int | None:
        if self._online is None:
            return None
        before, topic = len(self._login.received), self._topics.availability
        code = self._login.publish(availability_message(self._topics, online=self._online), deadline)
        if code is not None and code < REFUSED:
            until = min(deadline, time.monotonic() + _BACK_SECONDS)
            self._came_back = self._login.wait_for(topic, until, before) is not None
        return code

    def _acl(self, *lines: str) -> str:
        user = [] if self._username is None else [f"user {self._username}"]
        done = "# in the broker's access list; then: sudo systemctl reload mosquitto"
        if self._username in (None, self._topics.device):
            return "\n".join([*user, *lines, done])
        # deploy/mosquitto's list compares the two.
        name = f'device = "{self._username}"    # where the access list goes by the user\'s name; else:'
        return "\n".join([name, *user, *lines, done])
