"""Power control by Redfish (DMTF DSP0266), with the sushy library: the default driver.

The BMC's address is the URI of the system, ``https://bmc.example.com/redfish/v1/Systems/1``; without ``/Systems/…`` the
only system of the service is taken.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ovca.exceptions import PowerError
from ovca.power.base import Bmc, BootDevice, Capability, PowerDriver, PowerState

LOG = logging.getLogger(__name__)
MARK = '/redfish/v1'


class BadAddress(PowerError):
    """What stands in [power] bmc is no Redfish system."""

    id = 'bmc-address'

    def __init__(self, bmc: Bmc) -> None:
        super().__init__(
            f'{bmc.node}: [power] bmc {bmc.place} is not the URI of a Redfish system; '
            f'write https://<bmc>/redfish/v1/Systems/<id>'
        )


class MissingLibrary(PowerError):
    """sushy is not installed."""

    id = 'redfish-missing'

    def __init__(self) -> None:
        super().__init__("[power] driver is redfish, which needs sushy; install it: pip install 'ovca[redfish]'")


class RedfishPower(PowerDriver):
    """A machine behind a Redfish service. A session is opened where the service has them, else each call logs in."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.BOOT_ONCE, Capability.MEDIA})

    def __init__(self, bmc: Bmc, **timing: Any) -> None:
        super().__init__(bmc, **timing)
        if importlib.util.find_spec('sushy') is None:
            raise MissingLibrary  # now, and not when a machine has to be switched off
        try:
            parts = urlsplit(bmc.address)
        except ValueError:  # an address in brackets that is none
            raise BadAddress(bmc) from None
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise BadAddress(bmc)
        before, _, after = parts.path.partition(MARK)
        if after and '/Systems/' not in after:
            raise BadAddress(bmc)
        self._base = f'{parts.scheme}://{parts.netloc.rpartition("@")[2]}'
        self._prefix = f'{before.rstrip("/")}{MARK}/'
        self._identity = parts.path if after else None
        self._service: Any = None
        self._login: Any = None

    def _state(self) -> PowerState:
        sushy = _sushy()
        states = {
            sushy.PowerState.ON: PowerState.ON,
            sushy.PowerState.OFF: PowerState.OFF,
            # A machine on its way to "off" may still write, so it is on.
            sushy.PowerState.POWERING_OFF: PowerState.ON,
            sushy.PowerState.POWERING_ON: PowerState.ON,
        }
        return states.get(self._system().power_state, PowerState.UNKNOWN)

    def _on(self) -> None:
        sushy, system = _sushy(), self._system()
        if system.power_state != sushy.PowerState.ON:
            self._reset(system, sushy.ResetType.ON, sushy.ResetType.FORCE_ON)

    def _off(self) -> None:
        sushy, system = _sushy(), self._system()
        if system.power_state != sushy.PowerState.OFF:
            self._reset(system, sushy.ResetType.FORCE_OFF)

    def _reset(self, system: Any, *kinds: Any) -> None:
        """Order the first kind of reset that the BMC allows."""
        allowed = system.get_allowed_reset_system_values()
        system.reset_system(next((kind for kind in kinds if kind in allowed), kinds[0]))

    def _set_boot_once(self, device: BootDevice) -> None:
        sushy, system = _sushy(), self._system()
        source = sushy.BootSource
        wanted = {
            BootDevice.NETWORK: (source.PXE, source.UEFI_HTTP),
            BootDevice.DISK: (source.HDD,),
            BootDevice.MEDIA: (source.CD, source.USB_CD),
        }[device]
        allowed = system.get_allowed_system_boot_source_values()
        target = next((each for each in wanted if each in allowed), wanted[0])
        once, always = sushy.BootSourceOverrideEnabled.ONCE, sushy.BootSourceOverrideEnabled.CONTINUOUS
        try:
            system.set_system_boot_options(target=target, enabled=once)
        except sushy.exceptions.BadRequestError as exc:
            # Some BMCs know "always" only. Without a grant the boot service says "boot from the disk", so a network
            # boot too many costs time and nothing else.
            LOG.warning('%s: BMC %s refuses to boot "once": %s', self.bmc.node, self.bmc.place, _short(exc))
            system.set_system_boot_options(target=target, enabled=always)

    def _insert_media(self, url: str) -> None:
        drive = self._drive()
        if drive.inserted:
            drive.eject_media()
        drive.insert_media(url)

    def _eject_media(self) -> None:
        drive = self._drive()
        if drive.inserted:
            drive.eject_media()

    def _drive(self) -> Any:
        kinds = _sushy().VirtualMediaType
        for drive in self._drives():
            if {kinds.CD, kinds.DVD} & set(drive.media_types or ()):
                return drive
        raise PowerError(
            f'{self.bmc.node}: BMC {self.bmc.place} has no virtual CD drive; install by network boot', id='not-capable'
        )

    def _drives(self) -> Iterator[Any]:
        sushy, system = _sushy(), self._system()
        try:
            yield from system.virtual_media.get_members()
        except sushy.exceptions.MissingAttributeError:  # older services keep the drives at the manager
            for manager in system.managers:
                yield from manager.virtual_media.get_members()

    def _system(self) -> Any:
        """The system as it is now: what is asked of it is always its present state."""
        if self._service is None:
            self._service = self._connect()
        return self._service.get_system(self._identity)

    def _connect(self) -> Any:
        sushy, bmc = _sushy(), self.bmc
        connector = sushy.connector.Connector(
            self._base,
            verify=bmc.verify,
            server_side_retries=1,  # one try: whoever waits polls, and a fence may not hang in retries that hide
            default_request_timeout=bmc.timeout,
            connect_timeout=min(bmc.timeout, 5.0),
        )
        # No proxy leads to a BMC, and a .netrc knows nothing of it.
        connector._session.trust_env = False
        self._login = _login(bmc.user, bmc.password) if bmc.user else _no_login()
        return sushy.Sushy(self._base, root_prefix=self._prefix, auth=self._login, connector=connector)

    def _close(self) -> None:
        login, self._login, self._service = self._login, None, None
        if login is not None:
            login.leave(self._base, min(self.bmc.timeout, 5.0))

    def _foreign(self) -> tuple[type[Exception], ...]:
        from requests import RequestException

        return (_sushy().exceptions.SushyError, RequestException, OSError)

    def _explain(self, exc: Exception) -> tuple[str, str]:
        errors = _sushy().exceptions
        if isinstance(exc, errors.AccessError):
            self._service = self._login = None  # not with what it refused
            return f'it refuses user {self.bmc.user}', 'set [power] user and password_file'
        if isinstance(exc, errors.ResourceNotFoundError):
            return 'it has no such system', 'set [power] bmc to the URI of the system'
        return _short(exc), ''

    def _situation(self, exc: Exception) -> str | None:
        errors = _sushy().exceptions
        if isinstance(exc, errors.AccessError):
            return 'bmc-login'
        if isinstance(exc, errors.ResourceNotFoundError):
            return 'bmc-address'
        if 'certificate verify failed' in str(exc):
            return 'bmc-certificate'
        return 'bmc-silent' if isinstance(exc, errors.ConnectionError) else super()._situation(exc)


def _sushy() -> Any:
    """The library, imported when it is first needed: that takes 150 ms."""
    try:
        import sushy
        import sushy.auth
        import sushy.connector
        import sushy.exceptions
    except ImportError as exc:
        raise MissingLibrary from exc
    return sushy


def _login(user: str, password: str | None) -> Any:
    from sushy.auth import SessionOrBasicAuth

    class Login(SessionOrBasicAuth):  # type: ignore[misc]  # sushy has no annotations
        """A session where the service says that it has them; sushy itself would ask, and warn, at each call."""

        def _do_authenticate(self) -> None:
            root = self._root_resource.json
            if 'SessionService' in root or 'Sessions' in root.get('Links', {}):
                super()._do_authenticate()
            else:
                self.basic_auth.set_context(self._root_resource, self._connector)
                self.basic_auth.authenticate()

        def close(self) -> None:
            """Nothing: sushy calls it when memory is cleared, which is in any thread and at any moment."""

        def leave(self, base: str, timeout: float) -> None:
            """End the session, if there is one. :raises RequestException: the BMC cannot be asked."""
            place = urlsplit(self.get_session_resource_id() or '').path
            if not place:
                return
            # Not by sushy, which would open another session if this one has ended by itself.
            self._connector._session.delete(base + place, timeout=timeout, allow_redirects=False)
            self.reset_session_attrs()

    return Login(user, password)


def _no_login() -> Any:
    from sushy.auth import AuthBase

    class NoLogin(AuthBase):  # type: ignore[misc]  # sushy has no annotations
        """For a service that asks for none."""

        def _do_authenticate(self) -> None:
            return None

        def can_refresh_session(self) -> bool:
            return False

        def leave(self, base: str, timeout: float) -> None:
            return None

    return NoLogin()


REASONS = (
    ('refused', 'the connection is refused'),
    ('timed out', 'no answer in time'),
    ('Name or service', 'its name is not known'),
    ('certificate verify failed', 'its certificate is not trusted'),
    ('without response', 'it closed the connection without an answer'),
)


def _short(exc: Exception) -> str:
    text = ' '.join(str(getattr(exc, 'detail', None) or exc or type(exc).__name__).split())
    return next((reason for words, reason in REASONS if words in text), text[:300])
