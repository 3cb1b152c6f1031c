"""Which cameras there are: announced to Home Assistant, and taken back everywhere when they are gone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import whycam
from whycam.config.models import Broker
from whycam.mqtt.client import MqttClient
from whycam.mqtt.ear import Received
from whycam.mqtt.events import no_drift_message, no_state_message
from whycam.mqtt.homeassistant import (
    BIRTH,
    discovery_message,
    discovery_topic,
    entities,
    no_discovery_message,
    status_topic,
)
from whycam.mqtt.topics import Topics
from whycam.service.fleet import Fleet
from whycam.service.settings import Settings

log = logging.getLogger(__name__)


class Announcer:
    """Announces the cameras of a fleet through one client; what was announced is kept in the settings."""

    def __init__(self, client: MqttClient, broker: Broker, topics: Topics, settings: Settings, fleet: Fleet) -> None:
        """Through `client`, which is not started yet."""
        self._client = client
        self._broker = broker
        self._topics = topics
        self._settings = settings
        self._fleet = fleet
        if broker.home_assistant:
            client.subscribe(status_topic(broker.discovery_prefix), 0, self._on_home_assistant)
        self.announce()
        client.on_connect(self.forget)

    def announce(self) -> None:
        """Tell Home Assistant of this device, now and, as the message is retained, at each connection."""
        broker = self._broker
        known = self._settings.entities
        if not broker.home_assistant:
            if known:
                self._client.publish(no_discovery_message(broker.discovery_prefix, self._topics))
                self._keep_entities({})
            return
        cameras: dict[str, Collection[str]] = {name: lane.thresholds for name, lane in tuple(self._fleet.lanes.items())}
        cameras |= dict.fromkeys(self._fleet.broken, ())
        present = entities(self._topics, cameras, drifting=self._watched_for_drift())
        # The classes of a camera whose model does not load are not known: its entities stay.
        gone = {
            key: platform
            for key, platform in known.items()
            if key not in present and key.partition(".")[0] not in self._fleet.broken
        }
        self._client.publish(
            discovery_message(
                broker.discovery_prefix,
                self._topics,
                whycam.__version__,
                cameras,
                gone,
                broker.score_seconds,
                self._watched_for_drift(),
            )
        )
        self._keep_entities({**known, **{key: str(entity["platform"]) for key, entity in present.items()}})

    def forget(self) -> None:
        """Take back the retained state of cameras that were removed, while the service was away perhaps."""
        present = self._fleet.names
        for name in self._settings.announced - present:
            self._client.publish(no_state_message(self._topics, name))
        watched = self._watched_for_drift()
        # A camera whose model does not load may have statistics of drift.
        unknown = self._settings.watched_for_drift & frozenset(self._fleet.broken)
        for name in self._settings.watched_for_drift - watched - unknown:
            self._client.publish(no_drift_message(self._topics, name))
        try:
            self._settings.announce(present, watched | unknown)
        except OSError as error:
            log.warning("the disk does not take which cameras are announced (%s)", error.strerror)

    def _watched_for_drift(self) -> frozenset[str]:
        return frozenset(name for name, lane in tuple(self._fleet.lanes.items()) if lane.watches_drift)

    def _keep_entities(self, known: Mapping[str, str]) -> None:
        try:
            self._settings.keep_entities(known)
        except OSError as error:
            log.warning("the disk does not take what Home Assistant knows (%s)", error.strerror)

    def _on_home_assistant(self, message: Received) -> None:
        """It has started, and asks who is there; what is retained it has got already."""
        if message.payload == BIRTH and not message.retain:
            self._client.republish(discovery_topic(self._broker.discovery_prefix, self._topics))
