"""Brokers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import Broker, missing
from whycam.config.models import Broker as BrokerConfig


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers that are stopped at the end."""
    with ExitStack() as stack:

        def start(**options: Any) -> Broker:
            why = missing(passwords="passwords" in options, tls=bool({"tls", "client_certificates"} & set(options)))
            if why:
                pytest.skip(why)
            return stack.enter_context(Broker(tmp_path / f"broker-{len(list(tmp_path.iterdir()))}", **options))

        yield start


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    """A broker that lets everybody in."""
    return start_broker()


@pytest.fixture(params=["5", "3.1.1"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each version of MQTT."""
    return str(request.param)


def config_for(port: int, **settings: Any) -> BrokerConfig:
    """The configuration of a broker on `port` of this machine."""
    return BrokerConfig(**{"host": "127.0.0.1", "port": port, "keepalive_seconds": 5, **settings})
