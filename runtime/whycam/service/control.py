"""What subscribers may have the service do: it is asked in the thread that obeys commands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from whycam.alerts.judge import check_classes
from whycam.errors import InputError
from whycam.mqtt.commands import InstallReply, Reply
from whycam.mqtt.payloads import ExplainRequest, InstallCommand, SetCommand, SetResult
from whycam.service.answering import Answering
from whycam.service.compose import Composer
from whycam.service.fleet import Fleet
from whycam.service.lane import Lane
from whycam.service.over_the_air import OverTheAir
from whycam.service.settings import CameraSettings, Settings

log = logging.getLogger(__name__)


class Control:
    """Obeys commands, and answers requests: the `mqtt.commands.DeviceControl` of a service."""

    def __init__(
        self,
        fleet: Fleet,
        settings: Settings,
        composer: Composer,
        answering: Answering,
        over_the_air: OverTheAir,
        say_state: Callable[[Lane], None],
    ) -> None:
        """For the cameras of `fleet`; `say_state` tells all how a camera stands after a command."""
        self._fleet = fleet
        self._settings = settings
        self._composer = composer
        self._answering = answering
        self._over_the_air = over_the_air
        self._say_state = say_state

    def cameras(self) -> Sequence[str]:
        """The names of the cameras that take commands."""
        return tuple(self._fleet.lanes)

    def set(self, camera: str, command: SetCommand) -> SetResult:
        """Obey `command`: kept on the disk first, then in force, then told to all.

        Raises InputError, and changes nothing, for a class that does not raise here, or a disk that does not take it.
        """
        lane = self._fleet.lanes[camera]
        thresholds = dict(command.thresholds or {})
        check_classes(camera, thresholds, lane.manifest)
        before = self._settings.of(camera)
        kept = CameraSettings(
            armed=before.armed if command.armed is None else command.armed,
            thresholds={**before.thresholds, **thresholds},
        )
        try:
            self._settings.keep(camera, kept)
        except OSError as error:
            raise InputError(
                f"camera '{camera}': the device's disk does not take the setting ({error.strerror})"
            ) from error
        if thresholds:
            lane.set_thresholds(thresholds)
        if command.armed is not None:
            lane.set_armed(command.armed)
        log.info("set: %s", command.model_dump(exclude_unset=True), extra={"camera": camera})
        self._say_state(lane)
        return self._composer.set_result(lane, command.request_id)

    def explain(self, camera: str, request: ExplainRequest, reply: Reply) -> None:
        """Answer `request` through `reply`, from another thread; raises InputError for what there is not."""
        self._answering.ask(self._fleet.lanes[camera], request, reply)

    def install(self, command: InstallCommand, reply: InstallReply) -> None:
        """Have a bundle installed, as `OverTheAir.order` does."""
        self._over_the_air.order(command, reply)
