"""Where the raw releases keep what: one layout for each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from rlmrec_core.config.data import ReaderName

SECONDS = "seconds"
"""Times as numbers: seconds, milliseconds or microseconds since 1970."""


@dataclass(frozen=True)
class Review:
    """Fields of an interaction."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    review: str | None = None
    time_format: str = SECONDS
    """SECONDS, or a form of text as pandas names it."""
    unrated: float | None = None
    """The rating that stands for none."""

    @property
    def schema(self) -> pa.Schema:
        """The fields with the type in which they are read."""
        time_type = pa.float64() if self.time_format == SECONDS else pa.string()
        typed = [(self.user, pa.string()), (self.item, pa.string()), (self.rating, pa.float64())]
        typed += [(self.time, time_type), (self.review, pa.string())]
        return pa.schema([(name, kind) for name, kind in typed if name])


@dataclass(frozen=True)
class Owned:
    """Fields of a line that holds one user with a list of items."""

    user: str
    items: str
    item: str


@dataclass(frozen=True)
class Item:
    """Fields of an item; attributes: our name to the release's field."""

    item: str
    title: str
    description: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A release: the names of its files, as glob patterns without what they are packed in, and their lines' fields.

    review_files: the first pattern that finds any counts; what is a file of items is left out.
    """

    review_files: tuple[str, ...]
    item_files: str
    review: Review
    item: Item
    archive: str | None = None
    """Pattern of the tar archive that may hold the files instead."""
    owned: Owned | None = None
    owned_files: str = ""
    """Files of the release that hold a user's items on each line; they stand in where there are no reviews."""


LAYOUTS: Mapping[ReaderName, Layout] = {
    "amazon-2014": Layout(
        # The second and third are how the same files are named where they were copied to.
        ("reviews_*.json", "*_5.json", "*[Rr]eviews*.json"),
        "meta_*.json",
        Review("reviewerID", "asin", "overall", "unixReviewTime", "reviewText"),
        Item("asin", "title", "description", {"brand": "brand", "categories": "categories"}),
    ),
    "amazon-2018": Layout(
        ("*.json",),
        "meta_*.json",
        Review("reviewerID", "asin", "overall", "unixReviewTime", "reviewText"),
        Item("asin", "title", "description", {"brand": "brand", "categories": "category", "features": "feature"}),
    ),
    "amazon-2023": Layout(
        ("*.jsonl", "*.json"),
        "meta_*.jsonl",
        # asin is one colour or size of the product that parent_asin names; the items are products.
        Review("user_id", "parent_asin", "rating", "timestamp", "text"),
        Item(
            "parent_asin",
            "title",
            "description",
            {"author": "author", "store": "store", "categories": "categories", "features": "features"},
        ),
    ),
    "yelp": Layout(
        ("yelp_academic_dataset_review.json",),
        "yelp_academic_dataset_business.json",
        Review("user_id", "business_id", "stars", "date", "text", time_format="ISO8601"),
        Item("business_id", "name", None, {"categories": "categories", "city": "city", "state": "state"}),
        archive="yelp_dataset*.t*",
    ),
    "steam": Layout(
        ("steam_reviews*.json",),
        "steam_games.json",
        # Few reviews have a user_id; all have a username.
        Review("username", "product_id", None, "date", "text", time_format="ISO8601"),
        Item(
            "id",
            "app_name",
            None,
            {"genres": "genres", "tags": "tags", "specs": "specs", "developer": "developer", "publisher": "publisher"},
        ),
        owned=Owned("user_id", "items", "item_id"),
        owned_files="australian_users_items*.json",
    ),
    "goodreads": Layout(
        ("goodreads_reviews*.json",),
        "goodreads_books*.json",
        Review(
            *("user_id", "book_id", "rating", "date_added", "review_text"),
            time_format="%a %b %d %H:%M:%S %z %Y",
            unrated=0.0,
        ),
        Item(
            *("book_id", "title", "description"),
            {"publisher": "publisher", "year": "publication_year", "shelves": "popular_shelves"},
        ),
    ),
}
