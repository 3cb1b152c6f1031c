"""The link to the broker: the connection, and all that goes over it."""

from __future__ import annotations

import time

from whycam.alerts.outbox import Outbox
from whycam.config.models import Broker
from whycam.mqtt.client import MqttClient
from whycam.mqtt.commands import CommandListener, DeviceControl
from whycam.mqtt.message import Message
from whycam.mqtt.publisher import OutboxPublisher
from whycam.mqtt.topics import Topics
from whycam.service.announcing import Announcer
from whycam.service.fleet import Fleet
from whycam.service.settings import Settings


class BrokerLink:
    """Publishes, sends what is in the outbox, hears commands, announces the cameras; anew for other broker settings."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        outbox: Outbox,
        settings: Settings,
        fleet: Fleet,
        control: DeviceControl,
    ) -> None:
        """The link to `broker`, not yet started; `control` obeys what is heard."""
        self._topics = topics
        self._outbox = outbox
        self._settings = settings
        self._fleet = fleet
        self._control = control
        self._connect(broker)

    def _connect(self, broker: Broker) -> None:
        self._client = MqttClient(broker, self._topics.device)
        self._publisher = OutboxPublisher(self._client, self._outbox)
        self._listener = CommandListener(self._client, self._topics, self._control)
        self._announcer = Announcer(self._client, broker, self._topics, self._settings, self._fleet)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._client.start()
        self._publisher.start()

    def publish(self, message: Message) -> None:
        """Publish now; not at all where there is no connection, or with the next one where it is retained."""
        self._client.publish(message)

    @property
    def state(self) -> str | None:
        """What stands between us and the broker; None where it has let us in."""
        return None if self._client.is_connected else self._client.problem or "connecting"

    @property
    def refused_requests(self) -> int:
        """Commands and requests that were refused."""
        return self._listener.refused

    def announce(self) -> None:
        """Say which cameras there are now, and that the others are gone."""
        self._announcer.announce()
        self._announcer.forget()

    def reconnect(self, broker: Broker) -> None:
        """Leave, and go to `broker`."""
        self._listener.stop()
        self._publisher.stop()
        self._client.stop(1.0)
        self._connect(broker)
        self.start()

    def stop(self, deadline: float) -> None:
        """Send what can be sent until the `deadline` (monotonic seconds), say goodbye, and leave."""
        self._listener.stop()
        self._publisher.stop(max(0.1, deadline - time.monotonic() - 0.5))
        self._client.stop(max(deadline - time.monotonic(), 0.2))
