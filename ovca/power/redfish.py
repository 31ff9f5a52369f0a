"""Power control by Redfish (DMTF DSP0266), with the sushy library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ovca.exceptions import PowerError
from ovca.power.base import Bmc, BootDevice, PowerDriver, PowerState


class RedfishPower(PowerDriver):
    """A system behind a Redfish service; the BMC's address is the URI of the system."""

    def __init__(self, bmc: Bmc) -> None:
        super().__init__(bmc)
        parts = urlsplit(bmc.address)
        if parts.scheme not in ('http', 'https') or '/Systems/' not in parts.path:
            raise PowerError(
                f'{bmc.node}: [power] bmc {bmc.address} is not the URI of a Redfish system; '
                f'write https://<bmc>/redfish/v1/Systems/<id>'
            )
        self._base, self._path = f'{parts.scheme}://{parts.netloc}', parts.path

    def state(self) -> PowerState:
        with self._system() as system:
            import sushy

            states = {sushy.PowerState.ON: PowerState.ON, sushy.PowerState.OFF: PowerState.OFF}
            return states.get(system.power_state, PowerState.UNKNOWN)

    def on(self) -> None:
        with self._system() as system:
            import sushy

            if system.power_state != sushy.PowerState.ON:
                system.reset_system(sushy.ResetType.ON)

    def off(self) -> None:
        with self._system() as system:
            import sushy

            if system.power_state != sushy.PowerState.OFF:
                system.reset_system(sushy.ResetType.FORCE_OFF)

    def set_boot_once(self, device: BootDevice) -> None:
        with self._system() as system:
            import sushy

            target = sushy.BootSource.PXE if device is BootDevice.NETWORK else sushy.BootSource.HDD
            system.set_system_boot_options(target, enabled=sushy.BootSourceOverrideEnabled.ONCE)

    def insert_media(self, url: str) -> None:
        with self._system() as system:
            self._drive(system).insert_media(url)

    def eject_media(self) -> None:
        with self._system() as system:
            self._drive(system).eject_media()

    def _drive(self, system: Any) -> Any:
        import sushy

        for media in system.virtual_media.get_members():
            if (
                sushy.VirtualMediaType.CD in media.media_types
                or sushy.VirtualMediaType.DVD in media.media_types
            ):
                return media
        raise PowerError(f'{self.bmc.node}: its BMC {self._base} has no virtual CD drive')

    @contextmanager
    def _system(self) -> Iterator[Any]:
        import requests
        import sushy

        try:
            service = sushy.Sushy(
                self._base,
                verify=self.bmc.verify,
                auth=sushy.auth.BasicAuth(self.bmc.user, self.bmc.password) if self.bmc.user else _no_auth(),
                server_side_retries=0,
                read_timeout=self.bmc.timeout,
                connect_timeout=self.bmc.timeout,
            )
            yield service.get_system(self._path)
        except sushy.exceptions.AccessError as exc:
            raise PowerError(
                f'{self.bmc.node}: its BMC {self._base} refuses user {self.bmc.user}; '
                f'set [power] user and password_file'
            ) from exc
        except (sushy.exceptions.SushyError, requests.RequestException, OSError) as exc:
            cause = str(exc).split('\n')[0]
            raise PowerError(
                f'{self.bmc.node}: its BMC {self._base} does not do what it is asked: {cause}; look at the BMC'
            ) from exc


def _no_auth() -> Any:
    import sushy

    class Open(sushy.auth.AuthBase):  # type: ignore[misc,name-defined]  # sushy has no annotations
        """No credentials: the session service is not even asked for."""

        def _do_authenticate(self) -> None:
            return None

        def can_refresh_session(self) -> bool:
            return False

        def refresh_session(self) -> None:
            return None

    return Open()
