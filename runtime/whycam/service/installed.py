"""What is installed on the device, as subscribers hear of it: built from the store, whoever has changed that."""

from __future__ import annotations

from collections.abc import Sequence

from whycam.config.models import Camera as CameraConfig
from whycam.deployment.slot import Installed
from whycam.deployment.store import BundleStore
from whycam.errors import InputError
from whycam.mqtt.payloads import BundleEvent, BundlesPayload, InstalledBundle, timestamp
from whycam.service.compose import Composer


class InstalledBundles:
    """The store as it was looked at last; any thread may ask."""

    def __init__(self, store: BundleStore) -> None:
        """Look at `store` for the first time."""
        self._store = store
        self.found: Sequence[Installed] = ()
        self.look()

    def look(self) -> bool:
        """Look again; whether anything is other than it was."""
        try:
            found = self._store.look()
        except (OSError, InputError):
            # A disk that is away for a moment is told of elsewhere.
            return False
        changed = list(found) != list(self.found)
        self.found = found
        return changed

    @property
    def on_trial(self) -> list[str]:
        """The names of the bundles whose current version is on trial."""
        return [one.name for one in self.found if one.trial is not None]

    def payload(self, composer: Composer, cameras: Sequence[CameraConfig]) -> BundlesPayload:
        """What is said of it; `cameras` are all that the configuration names."""
        return BundlesPayload(
            device=composer.device,
            time=composer.time(),
            bundles=[self._bundle(one, cameras) for one in self.found if one.current is not None],
        )

    def _bundle(self, one: Installed, cameras: Sequence[CameraConfig]) -> InstalledBundle:
        assert one.current is not None
        version = one.record.versions.get(one.current)
        event = one.event
        slot = self._store.slot(one.name)
        return InstalledBundle(
            name=one.name,
            version="" if version is None else version.version,
            id=one.current,
            state="current" if one.trial is None else "on-trial",
            previous=one.before,
            candidate=one.candidate,
            signed_by=None if version is None else version.signed_by,
            cameras=[camera.name for camera in cameras if slot.is_named_by(camera.bundle)],
            event=None
            if event is None
            else BundleEvent(
                event=event.event,
                time=timestamp(event.time),
                id=event.id,
                version=event.version,
                previous=event.previous,
                reason=event.reason,
            ),
        )
