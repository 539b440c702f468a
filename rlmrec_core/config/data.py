"""Settings of the stages that read and divide interactions: ingest and prepare."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from rlmrec_core.config.section import NOT_IN_KEY, Section

RawName = Literal["amazon-2014", "amazon-2018", "amazon-2023", "goodreads", "steam", "yelp"]
ReaderName = Literal["sample", "movielens", "tabular", "splits", RawName]
SplitScope = Literal["global", "per_user", "temporal", "per_user_temporal"]

PositivePart = Annotated[int, Field(ge=1, le=1000)]
HeldOutPart = Annotated[int, Field(ge=0, le=1000)]


class ColumnMapping(Section):
    """Which columns of a user's own tables hold what (reader "tabular")."""

    user_id: str = Field("user_id", description="Column of the user's id")
    item_id: str = Field("item_id", description="Column of the item's id, in both tables")
    rating: str | None = Field(None, description="Column of the rating; none for implicit feedback")
    timestamp: str | None = Field(
        None, description="Column of the time: seconds or milliseconds since 1970, or ISO 8601"
    )
    review: str | None = Field(None, description="Column of the review text")
    title: str | None = Field(None, description="Column of the item's title")
    description: str | None = Field(None, description="Column of the item's description")
    attributes: tuple[str, ...] = Field((), description="Columns of the items table to keep as attributes")


class IngestConfig(Section):
    """Where raw data comes from."""

    reader: ReaderName = Field("sample", description="Format of the raw data; sample needs no files")
    # The digests of the files enter the key; where they lie does not matter.
    path: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="Folder of the raw files (for tabular: the folder of its two tables)"
    )
    interactions_file: str | None = Field(
        None,
        description="Name or glob pattern of the interactions, for tabular and the raw releases of reviews; "
        "none takes interactions.* and the release's own names",
    )
    items_file: str | None = Field(
        None,
        description="Name or glob pattern of the items, for tabular and the raw releases of reviews; "
        "none takes items.* and the release's own names, where there are such files",
    )
    columns: ColumnMapping = Field(ColumnMapping(), description="tabular: which columns hold what")
    partial_profiles: bool = Field(
        False, description="splits: import *_profiles_sample.parquet too, which cover some users or items only"
    )
    max_malformed: int = Field(
        1000, ge=0, description="Raw releases of reviews: lines of one file to skip before giving up"
    )
    sample_users: int = Field(600, ge=20, le=100_000, description="sample: number of users")
    sample_items: int = Field(400, ge=20, le=100_000, description="sample: number of items")
    seed: int = Field(2023, ge=0, description="sample: seed of the generator")


class PrepareConfig(Section):
    """How interactions are filtered and divided (RLMRec, section 4.1 and appendix A).

    Ready-made parts (reader "splits") are kept as they are: neither filtered nor divided again.
    """

    since: date | None = Field(None, description="Drop interactions before this day (UTC), and those without a time")
    before: date | None = Field(None, description="Drop interactions from this day on (UTC), and those without a time")
    min_rating: float | None = Field(
        3.0, description="Drop interactions rated below this, keep unrated ones; none keeps all"
    )
    min_review_chars: int = Field(0, ge=0, description="Drop interactions whose review is shorter, in characters")
    min_item_chars: int = Field(
        0, ge=0, description="Drop items whose title and description together are shorter, in characters"
    )
    user_fraction: float = Field(1.0, gt=0, le=1, description="Share of users to keep, each drawn by its id")
    k_core: int = Field(10, ge=1, description="Every user and item keeps at least this many interactions")
    item_k_core: int | None = Field(None, ge=1, description="Another number for items; none takes k_core")
    cold_users: float = Field(
        0.0, ge=0, lt=1, description="Share of users to hold out, each drawn by its id: all they did goes to cold_start"
    )
    cold_items: float = Field(0.0, ge=0, lt=1, description="Share of items to hold out in the same way")
    ratios: tuple[PositivePart, HeldOutPart, HeldOutPart] = Field(
        (3, 1, 1), description="Train : validation : test; for scopes without time each interaction's chances"
    )
    scope: SplitScope = Field(
        "global",
        description="global: over all interactions (the paper); per_user: the same, with something of each user in "
        "every part; per_user_temporal: the latest of each user held out; temporal: one cut in time for all. The last "
        "two leave out later users and items that train does not know",
    )
    seed: int = Field(2023, ge=0, description="Seed of the user sample, of what is held out and of the split")
