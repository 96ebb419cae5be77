"""Graphics: offscreen OpenGL, on a GPU or on CPUs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from parc_ray.errors import InputError, MissingDependencyError, quote

Picture = npt.NDArray[np.uint8]
"""[height, width, 3] RGB, top row first."""

BACKENDS = ("egl", "osmesa")
"""In order of preference: EGL uses a GPU if there is one, else Mesa on CPUs."""
CHOICE = "MUJOCO_GL"
TRIAL_SECONDS = 60.0
INSTALL = (
    "Install Mesa, which draws on CPUs: apt-get install libegl1 libgl1 libgl1-mesa-dri (or libosmesa6) on Debian and "
    f"Ubuntu; with a GPU, its driver's EGL library. {CHOICE}=egl or {CHOICE}=osmesa chooses one"
)
# A missing library can cause any exception, a crash, or a black picture.
TRIAL = """
import sys
import mujoco, numpy
from mujoco.{backend} import GLContext
context = GLContext(64, 64)
context.make_current()
target = mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_50)
mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, target)
area, picture = mujoco.MjrRect(0, 0, 64, 64), numpy.zeros((64, 64, 3), numpy.uint8)
mujoco.mjr_rectangle(area, 1.0, 0.0, 1.0, 1.0)
mujoco.mjr_readPixels(picture, None, area, target)
target.free()
context.free()
sys.exit(None if (picture == (255, 0, 255)).all() else "it draws nothing")
"""


class Search:
    """Finds a working OpenGL library by trying each in a child process; starts immediately.

    A library may crash its process, and PyOpenGL cannot switch libraries once loaded.
    """

    def __init__(self) -> None:
        """Raise InputError if MUJOCO_GL names a backend that needs a display."""
        wanted = os.environ.get(CHOICE, "").strip().lower()
        if wanted and wanted not in (*BACKENDS, "glfw"):
            raise InputError(f"{CHOICE}={quote(wanted)}: cannot draw without a display; unset it, or set it to egl")
        self._backends = [wanted] if wanted else list(BACKENDS)
        self._first = self._start(self._backends[0])

    def result(self) -> str:
        """Return the name of the backend that works. Raises MissingDependencyError if none does."""
        problems = []
        for backend in self._backends:
            problem = self._problem(self._first if backend == self._backends[0] else self._start(backend))
            if not problem:
                return backend
            problems.append(f"{backend}: {problem}")
        raise MissingDependencyError(
            f"nothing to draw with: OpenGL does not work here ({'; '.join(problems)}). {INSTALL}"
        )

    @staticmethod
    def _start(backend: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"}
        return subprocess.Popen(
            [sys.executable, "-c", TRIAL.format(backend=backend)],
            env={**environment, CHOICE: backend},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip

    @staticmethod
    def _problem(process: subprocess.Popen[str]) -> str:
        """Return the reason why a trial failed; empty if it did not."""
        try:
            _, said = process.communicate(timeout=TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"it hangs for {TRIAL_SECONDS:g} s"
        if process.returncode < 0:
            return f"it crashes with signal {-process.returncode}"
        lines = said.strip().splitlines()
        return "" if process.returncode == 0 else lines[-1][:200] if lines else f"exit code {process.returncode}"


class Canvas:
    """An offscreen framebuffer for a MuJoCo model; close it after use.

    Only the thread that created it may draw on it.
    """

    def __init__(self, backend: str, model: Any, width: int, height: int, font_scale: int):
        """backend: see Search. Raises InputError if the framebuffer cannot be created."""
        import mujoco

        # Each MuJoCo backend rejects any other platform set here, and child processes inherit the variable.
        os.environ.pop("PYOPENGL_PLATFORM", None)
        library = importlib.import_module(f"mujoco.{backend}")
        os.environ.pop("PYOPENGL_PLATFORM", None)
        self._area = mujoco.MjrRect(0, 0, width, height)
        self._picture = np.empty((height, width, 3), dtype=np.uint8)
        self._target: Any | None = None
        self._context = library.GLContext(width, height)
        try:
            self._context.make_current()
            self._target = mujoco.MjrContext(model, font_scale)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._target)
        except Exception as error:
            self.close()
            raise InputError(f"{width} x {height}: cannot be drawn: {error}. Choose a smaller --size") from None
        self._mujoco = mujoco

    def draw(self, scene: Any) -> Picture:
        """Return a picture of a MuJoCo scene."""
        self._context.make_current()
        self._mujoco.mjr_render(self._area, scene, self._target)
        self._mujoco.mjr_readPixels(self._picture, None, self._area, self._target)
        return self._picture[::-1].copy()

    @property
    def engine(self) -> str:
        """Name of the GPU, or llvmpipe for Mesa on CPUs."""
        library = importlib.import_module("OpenGL.GL")
        self._context.make_current()
        name: bytes = library.glGetString(library.GL_RENDERER)
        return name.decode("ascii", "replace")

    def close(self) -> None:
        """Free the graphics resources; later calls do nothing."""
        parts: list[Any] = [part for part in (self._target, self._context) if part is not None]
        self._target = self._context = None
        for part in parts:
            part.free()
