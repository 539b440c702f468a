"""The base of every settings section."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen settings of one stage; an unknown field is an error, so that a typing slip never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")
