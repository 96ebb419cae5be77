"""Faults on demand, as the real engine shows them: messages on a file descriptor, crashes, hangs, no memory."""

from __future__ import annotations

import atexit
import os
import signal
import time
from typing import Sequence

from isaacgym._double.settings import SETTINGS

PHYSX = "/buildAgent/work/99bede84aa0a52c2/source/"
MESSAGES = {
    "contact": PHYSX + "gpunarrowphase/src/PxgNarrowphaseCore.cpp (2272) : internal error : Contact buffer overflow "
    "detected, please increase its size to at least 8389004 in the scene desc!\n",
    "patch": PHYSX + "gpunarrowphase/src/PxgNarrowphaseCore.cpp (1240) : internal error : Patch buffer overflow "
    "detected, please increase its size to at least 219146 in the scene desc!\n",
    "stack": PHYSX + "gpunarrowphase/src/PxgNarrowphaseCore.cpp (2185) : internal error : PxgDynamicsMemoryConfig::"
    "collisionStackSize buffer overflow detected, please increase its size to at least 1484688128 in the scene desc!\n",
    "pairs": PHYSX + "gpubroadphase/src/PxgAABBManager.cpp (1048) : invalid parameter : The application needs to "
    "increase PxgDynamicsMemoryConfig::foundLostPairsCapacity to 36218880 , otherwise, the simulation will miss "
    "interactions\n",
    "aggregates": PHYSX + "gpubroadphase/src/PxgAABBManager.cpp (1048) : invalid parameter : The application needs to "
    "increase PxgDynamicsMemoryConfig::foundLostAggregatePairsCapacity to 1685662397 , otherwise, the simulation "
    "will miss interactions\n",
    "pxgpu": PHYSX + "gpubroadphase/src/PxgAABBManager.cpp (1064) : invalid parameter : The application needs to "
    "increase PxGpuDynamicsMemoryConfig::foundLostPairsCapacity to 36218880 , overflow, the simulation will miss "
    "interactions\n",
}
"""Reports of lost contacts, by kind. Sources: isaac-sim/IsaacLab issues 1199 and 176, xbpeng/MimicKit issue 16."""

NO_MEMORY = (
    "PxgCudaDeviceMemoryAllocator fail to allocate memory 339738624 bytes!! Result = 2\n"
    "[Error] [carb.gym.plugin] Gym cuda error: out of memory: "
    "../../../source/plugins/carb/gym/impl/Gym/GymPhysX.cpp: 1721\n"
)
"""Sources: isaac-sim/IsaacGymEnvs issue 256, Sirui-Xu/InterMimic issue 6."""

ALIVE: set[int] = set()
"""Simulations that were not destroyed."""


def say(message: str) -> None:
    """Write as native code does: to the descriptor, past sys.stderr."""
    os.write(SETTINGS.messages_fd, message.encode())


def at(place: str, count: int | None = None) -> None:
    """Crash or hang here if the settings say so; `count` is the number of the env or the simulate call."""
    names = {place, f"{place}:{count}"}
    if names & set(SETTINGS.hang):
        while True:
            time.sleep(60)
    if names & set(SETTINGS.crash):
        die()


def die() -> None:
    """As a fault in native code: no Python clean-up."""
    os.kill(os.getpid(), signal.SIGSEGV)


def watch_exit() -> None:
    """Install the faults at interpreter exit."""
    atexit.register(_at_exit)


def _at_exit() -> None:
    at("exit")
    if ALIVE:
        at("undestroyed")


def overflow(step: int) -> None:
    """Complain about lost contacts in simulate call `step` if the settings say so."""
    for number, kind in _entries(SETTINGS.overflow, "contact"):
        if int(number) == step:
            say(MESSAGES[kind])


def broken_actors(step: int) -> Sequence[int]:
    """Actors whose state becomes NaN in simulate call `step`."""
    return [int(actor) for number, actor in _entries(SETTINGS.nan, "0") if int(number) == step]


def memory_for(envs: int) -> bool:
    """Whether `envs` envs fit on the device."""
    for number, how in _entries(SETTINGS.max_envs, ""):
        if envs > int(number):
            say(NO_MEMORY)
            if how == "abort":
                die()
            return False
    return True


def goes_on_without_memory() -> bool:
    """Whether running out of memory only shows in states that are NaN."""
    return any(how == "nan" for _, how in _entries(SETTINGS.max_envs, ""))


def _entries(parts: Sequence[str], default: str) -> Sequence[Sequence[str]]:
    return [(part.split(":") + [default])[:2] for part in parts]
