"""Which devices of a rollout are worked on here, and which by workers of their site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import SpecError
from jetlane.specs.schema import Fleet

if TYPE_CHECKING:
    from jetlane.remote.fleet.device_operations import DeviceOperations
    from jetlane.remote.fleet.sites import Dispatch
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.folder import Release
    from jetlane.remote.release.shared_store import SharedStore


def pools_of(devices: Sequence[Device]) -> dict[str, str]:
    """{name: work pool} of the devices whose group names one."""
    from jetlane.remote.inventory import load_inventory

    if not any(device.group for device in devices):
        return {}
    groups = load_inventory(devices[0].inventory).groups
    return {device.name: pool for device in devices if device.group and (pool := groups[device.group].pool)}


def with_sites(
    near: DeviceOperations,
    devices: Sequence[Device],
    fleet: Fleet,
    sites: Optional[Callable[[SharedStore], Dispatch]],
    release: Optional[Release] = None,
    options: Optional[Mapping[str, Any]] = None,
) -> DeviceOperations:
    """The boards of here, and those of sites, whose workers get the release from the shared store.

    Raises:
        SpecError: A group names a work pool, and the fleet has no store, or there is no Prefect server.
    """
    from jetlane.remote.fleet.sites import SiteJob, SiteOperations, inventory_payload
    from jetlane.remote.release.shared_store import SharedStore

    pools = pools_of(devices)
    if not pools:
        return near
    named = ", ".join(sorted(set(pools.values())))
    if fleet.store is None:
        raise SpecError(
            f"the inventory names work pools ({named}), and the fleet has no store",
            "workers of other sites fetch the release from a store that all can reach",
            "set fleet.store to a URL such as file:///srv/jetlane or s3://bucket/jetlane",
        )
    if sites is None:
        raise SpecError(
            f"the inventory names work pools ({named}), and no Prefect server is known",
            "",
            "set PREFECT_API_URL, or start a server: jetlane up",
        )
    store = SharedStore(fleet.store)
    digest = store.publish(release) if release is not None else ""
    inventory = devices[0].inventory
    text, pinned = inventory_payload(inventory, [device for device in devices if device.name in pools])
    template = SiteJob(
        id="",
        operation="",
        release=release.id if release is not None else "",
        devices=(),
        inventory=text,
        known_hosts=pinned,
        options=dict(options or {}),
        keep_releases=fleet.keep_releases,
        concurrency=fleet.concurrency,
        digest=digest,
    )
    return SiteOperations(near, pools, sites(store), template, release)
