"""Settings of the stages that read and divide interactions: ingest and prepare."""

import codecs
import hashlib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from rlmrec_core.config.section import NOT_IN_KEY, Section

RawName = Literal["amazon-2014", "amazon-2018", "amazon-2023", "goodreads", "steam", "yelp"]
ReaderName = Literal["sample", "movielens", "tabular", "splits", "rlmrec-release", RawName]
TimeForm = Literal[
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "iso",
    "yyyymmdd",
    "year",
    "excel",
    "day-first",
    "month-first",
]
SplitScope = Literal["global", "per_user", "temporal", "per_user_temporal"]

PositivePart = Annotated[int, Field(ge=1, le=1000)]
HeldOutPart = Annotated[int, Field(ge=0, le=1000)]


class TableFormat(Section):
    """How a table of delimited text is written (reader "tabular"); JSON lines and Parquet only look at `encoding`."""

    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="What stands between two cells, such as ; or \\t or ::; "
        "none takes a comma for .csv, a tab for .tsv, or what makes the header name the columns",
    )
    quote: str | None = Field(
        None,
        max_length=1,
        description="The character around cells that hold a delimiter; empty: quotes are text like any other; "
        'none takes " between commas and semicolons, and in .csv, and no quotes elsewhere',
    )
    escape: str = Field("", max_length=1, description="The character before a quote within quotes, where not doubled")
    encoding: str | None = Field(
        None, description="Encoding of the text, such as cp1252; none takes the byte order mark's, or UTF-8"
    )
    header: bool | None = Field(
        None, description="Whether the first row names the columns; none: unless column_names does"
    )
    column_names: tuple[str, ...] = Field(
        (),
        description="Names of the first columns of a file without a header; those without a name are called 1, 2, ...",
    )

    rest_in_last_column: bool = Field(
        False, description="Whether a row's surplus cells are the rest of the last one: delimiters there are not quoted"
    )

    @field_validator("delimiter")
    @classmethod
    def _tab(cls, delimiter: str | None) -> str | None:
        return "\t" if delimiter == r"\t" else delimiter

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        try:
            if encoding is not None and isinstance("".encode(encoding), bytes):
                codecs.getincrementaldecoder(encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"{encoding!r} is no encoding of text; try utf-8, cp1252, latin-1 or utf-16") from error
        return encoding

    @model_validator(mode="after")
    def _different_characters(self) -> Self:
        if any(character in "\r\n" for character in f"{self.delimiter or ''}{self.quote or ''}{self.escape}"):
            raise ValueError("delimiter, quote and escape cannot be line ends")
        if self.delimiter and self.delimiter in (self.quote, self.escape):
            raise ValueError("the delimiter must differ from quote and escape")
        if self.quote and self.delimiter and len(self.delimiter) > 1:
            raise ValueError('quotes need a delimiter of one character; set quote = ""')
        return self


class ColumnMapping(Section):
    """Which columns of a user's own tables hold what (reader "tabular")."""

    user_id: str = Field("user_id", description="Column of the user's id")
    item_id: str = Field("item_id", description="Column of the item's id, in both tables")
    items_item_id: str | None = Field(
        None, description="Column of the item's id in the items table, where it has another name there"
    )
    rating: str | None = Field(None, description="Column of the rating; none for implicit feedback")
    timestamp: str | None = Field(
        None, description="Column of the time: seconds (or ms, us, ns) since 1970, ISO 8601 or YYYYMMDD"
    )
    event: str | None = Field(None, description="Column of the kind of event, such as view or purchase")
    review: str | None = Field(None, description="Column of the review text")
    title: str | None = Field(None, description="Column of the item's title")
    description: str | None = Field(None, description="Column of the item's description")
    attributes: tuple[str, ...] = Field((), description="Columns of the items table to keep as attributes")


class RawTexts(Section):
    """A release of reviews whose texts belong to ready-made parts (readers "splits" and "rlmrec-release").

    A mapping is a file of JSON lines such as {"iid": 0, "asin": "0373730489"}, as RLMRec's authors publish them.
    """

    reader: RawName | None = Field(None, description="Format of the release; none joins nothing")
    path: Annotated[str | None, NOT_IN_KEY] = Field(None, description="Folder of the release's files")
    item_mapping: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="File that names the release's item behind each item number of the parts"
    )
    user_mapping: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="The same of users; none joins the items' texts alone, and no reviews"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = {"path": self.path, "item_mapping": self.item_mapping}
        if self.reader and (lacking := [name for name, value in given.items() if value is None]):
            raise ValueError(f"to join texts of {self.reader}, set {' and '.join(lacking)}, too")
        if not self.reader and (self.path or self.item_mapping or self.user_mapping):
            raise ValueError("set reader, too: the format of the release whose texts are joined")
        return self


class IngestConfig(TableFormat):
    """Where raw data comes from."""

    reader: ReaderName = Field("sample", description="Format of the raw data; sample needs no files")
    # The digests of the files enter the key; where they lie does not matter.
    path: Annotated[str | None, NOT_IN_KEY] = Field(
        None, description="Folder of the raw files (for tabular: the folder of its two tables)"
    )
    interactions_file: str | tuple[str, ...] | None = Field(
        None,
        description="Name or glob pattern of the interactions, or several, for tabular and the raw releases of "
        "reviews; none takes interactions.* and the release's own names",
    )
    items_file: str | tuple[str, ...] | None = Field(
        None,
        description="Name or glob pattern of the items, or several, for tabular and the raw releases of reviews; "
        "none takes items.* and the release's own names, where there are such files",
    )
    columns: ColumnMapping = Field(ColumnMapping(), description="tabular: which columns hold what")
    items_format: TableFormat = Field(
        TableFormat(),
        description="tabular: how the items table is written; delimiter, quote, escape and encoding that are not set "
        "here are those of the interactions",
    )
    timestamp_format: str | None = Field(
        None,
        description="tabular: seconds, milliseconds, microseconds, nanoseconds, iso, yyyymmdd, year, excel, day-first, "
        "month-first, or a pattern such as %d.%m.%Y %H:%M; none recognises the first six",
    )
    decimal: Literal[".", ","] = Field(".", description="tabular: what stands before the decimals of a rating")
    unrated: float | None = Field(None, description="tabular: the rating that says there is none, such as 0")
    events: tuple[str, ...] = Field((), description="tabular: the events to keep (columns.event); none keeps all")
    event_weights: dict[str, float] = Field(
        {}, description="tabular: the rating that an event stands for, where a row has none; other events are dropped"
    )
    block_column: str | None = Field(
        None,
        description="tabular: name for what stands alone on a line with a colon, above the rows it belongs to",
    )
    item_separator: str | None = Field(
        None, min_length=1, description="tabular: what stands between the items of a cell that holds several"
    )
    item_pattern: str | None = Field(
        None,
        description="tabular: regular expression (RE2) of the items to keep; its first group is the id (MIND: (.+)-1)",
    )
    require_items: bool = Field(
        False, description="tabular: whether an interaction with an item outside the items table is malformed"
    )
    partial_profiles: bool = Field(
        False, description="splits: import *_profiles_sample.parquet too, which cover some users or items only"
    )
    raw: RawTexts = Field(
        RawTexts(), description="splits, rlmrec-release: the release of reviews that the parts were made from"
    )
    item_vectors_file: str | None = Field(
        None,
        description="Semantic vectors of items of your own, for embed.encoder = imported: .npy, .parquet or "
        ".safetensors; rlmrec-release has some",
    )
    user_vectors_file: str | None = Field(
        None, description="The same of users; without it a user's vector is the mean of those of their train items"
    )
    max_malformed: int = Field(
        1000, ge=0, description="tabular and raw releases: rows or lines of one file to skip before giving up"
    )
    max_malformed_share: float = Field(0.5, ge=0, le=1, description="The same as a share of the file's rows or lines")
    strict: bool = Field(False, description="Give up at the end of a file that has any malformed row or line")
    sample_users: int = Field(900, ge=20, le=100_000, description="sample: number of users")
    sample_items: int = Field(800, ge=20, le=100_000, description="sample: number of items")
    seed: int = Field(2023, ge=0, description="sample: seed of the generator")

    @field_validator("timestamp_format")
    @classmethod
    def _known_form(cls, form: str | None) -> str | None:
        if form is not None and form not in get_args(TimeForm) and "%" not in form:
            raise ValueError(f"{form!r} is not one of {', '.join(get_args(TimeForm))}, nor a pattern such as %Y-%m-%d")
        return form

    @model_validator(mode="after")
    def _parts_are_numbered(self) -> Self:
        if self.raw.reader and self.reader not in ("splits", "rlmrec-release"):
            raise ValueError(f"raw joins texts to ready-made parts, and reader {self.reader!r} reads none")
        return self

    @property
    def data_name(self) -> str:
        """A name for these data: the reader, the path's last folder, and a digest that tells equal folders apart."""
        if self.path is None:
            return self.reader
        place = Path(self.path).expanduser().absolute()
        folder = re.sub("[^a-z0-9]+", "-", place.name.lower())[:24].strip("-")
        source = repr((str(place), self.interactions_file, self.items_file))
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:6]
        return "-".join(filter(None, (self.reader, folder, digest)))

    @property
    def format_of_items(self) -> TableFormat:
        """How the items table is written: as `items_format` says, and where that is silent as the interactions."""
        own = self.items_format
        return TableFormat(
            delimiter=own.delimiter or self.delimiter,
            quote=self.quote if own.quote is None else own.quote,
            escape=own.escape or self.escape,
            encoding=own.encoding or self.encoding,
            header=own.header,
            column_names=own.column_names,
            rest_in_last_column=own.rest_in_last_column,
        )


class PrepareConfig(Section):
    """How interactions are filtered and divided (RLMRec, section 4.1 and appendix A).

    Ready-made parts (reader "splits") are kept as they are: neither filtered nor divided again.
    """

    since: date | None = Field(None, description="Drop interactions before this day (UTC), and those without a time")
    before: date | None = Field(None, description="Drop interactions from this day on (UTC), and those without a time")
    half: Literal["first", "second"] | None = Field(
        None,
        description="Keep the earlier or the later half of each user's interactions, and none without a time: two "
        "periods of data whose users were not active for years",
    )
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
