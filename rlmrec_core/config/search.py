"""Settings of the search for hyper-parameters, and the ranges that it goes by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, field_validator

from rlmrec_core.config.section import Section

Value = bool | int | float | str


@dataclass(frozen=True)
class SearchRange:
    """The values that a setting may take in a search, declared beside it:
    `tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(0.2)`.

    Attributes:
        low: Least value.
        high: Greatest value.
        log: Whether orders of magnitude are equally likely, not values.
        choices: Values to choose from, in place of `low` and `high`.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        """Raises ValueError unless there is exactly one of an interval and choices."""
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("a range has either low and high, or choices")
        if not self.choices and (self.low is None or self.high is None or self.low >= self.high):
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("a range with log must begin above 0")

    def with_value(self, value: Any) -> "SearchRange":
        """The range, widened where it does not hold `value`. A range with log cannot take in 0: it stays as it is."""
        if self.choices:
            return self if value in self.choices else SearchRange(choices=(*self.choices, value))
        assert self.low is not None and self.high is not None
        if self.log and value <= 0:
            return self
        return SearchRange(min(self.low, value), max(self.high, value), self.log)


class SearchConfig(Section):
    """How settings are searched (`rlmrec search`): every model of the section train by itself, on validation alone."""

    trials: int = Field(40, ge=1, le=10_000, description="Settings to try for each backbone and variant")
    minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes of training, all trials of a model together, after which no further batch is begun; "
        "none: no limit",
    )
    batch: int = Field(
        4,
        ge=1,
        le=512,
        description="Trials that are drawn at once, and that workers may train side by side; another number gives "
        "other trials",
    )
    seed: int = Field(2023, ge=0, description="Seed of the sampler; models are trained with the first of train.seeds")
    prune: bool = Field(
        True, description="Stop a trial whose best Recall@20 is below the median of the finished ones at that epoch"
    )
    prune_after: int = Field(10, ge=0, description="Validations that every trial may have before it can be stopped")
    settings: tuple[str, ...] = Field(
        (), description="Settings to search, such as learning_rate or alignment.tau; none: all with a range"
    )
    ranges: dict[str, SearchRange] = Field(
        {},
        description="Ranges in place of those of the models, or of settings that have none there, e.g. "
        "search.ranges.embedding_size.choices=[32, 64]",
    )

    @field_validator("ranges", mode="before")
    @classmethod
    def _by_dotted_name(cls, given: Any) -> Any:
        return dict(_ranges(given)) if isinstance(given, Mapping) else given


def _ranges(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        inner = list(value.values()) if isinstance(value, Mapping) else []
        if inner and all(isinstance(one, Mapping | SearchRange) for one in inner):
            yield from _ranges(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
