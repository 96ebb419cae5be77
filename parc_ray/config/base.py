"""What all sections of configuration files have in common."""

from __future__ import annotations

from pathlib import Path

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import Annotated

from parc_ray.errors import UNPRINTABLE


def showable(text: object) -> object:
    """The text itself. Raises ValueError if a terminal or a log could not show it on one line."""
    if UNPRINTABLE.search(str(text)) or "\n" in str(text):
        raise ValueError("must not contain control characters")
    return text


PlainPath = Annotated[Path, AfterValidator(showable)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=True)]
"""0 or more, and .inf for none"""


class Strict(BaseModel):
    """A section of our own: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Parc(BaseModel):
    """A section of PARC's: it has more keys than recording needs."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
