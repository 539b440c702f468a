"""A few lines of every raw release, in its own notation."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlmrec_core.config.data import RawName

Rows = Sequence[dict[str, Any]]

REVIEWS: dict[RawName, dict[str, Any]] = {
    "amazon-2014": {
        **{"reviewerID": "A1", "asin": "000X", "reviewerName": 'Ann "A" O\'Hara', "helpful": [2, 3]},
        **{"reviewText": "Don't miss it", "overall": 5.0, "summary": "Good", "unixReviewTime": 1262390400},
    },
    "amazon-2018": {
        **{"overall": 5.0, "verified": True, "reviewerID": "A1", "asin": "000X", "style": {"Format:": " Paperback"}},
        **{"reviewText": "Don't miss it", "unixReviewTime": 1262390400, "vote": "3"},
    },
    "amazon-2023": {
        **{"rating": 5.0, "title": "Good", "text": "Don't miss it", "images": [], "asin": "111Y", "user_id": "A1"},
        **{"parent_asin": "000X", "timestamp": 1_262_390_400_000, "helpful_vote": 0, "verified_purchase": True},
    },
    "yelp": {
        **{"review_id": "r", "user_id": "A1", "business_id": "000X", "stars": 5.0, "useful": 0, "funny": 0, "cool": 0},
        **{"text": "Don't miss it", "date": "2010-01-02 00:00:00"},
    },
    "steam": {
        **{"username": "A1", "hours": 0.1, "products": 41, "product_id": "000X", "page_order": 0, "date": "2010-01-02"},
        **{"text": "Don't miss it", "early_access": False, "page": 1, "compensation": None},
    },
    "goodreads": {
        **{"user_id": "A1", "book_id": "000X", "review_id": "r", "rating": 5, "review_text": "Don't miss it"},
        **{"date_added": "Fri Jan 01 16:00:00 -0800 2010", "read_at": "", "n_votes": 0},
    },
}

ITEMS: dict[RawName, dict[str, Any]] = {
    "amazon-2014": {
        **{"asin": "000X", "title": "It's", "price": 4.5, "related": {"also_bought": ["0001"]}, "brand": "B"},
        **{"categories": [["Books", "Crime"], ["Books"]], "description": "A “book”"},
    },
    "amazon-2018": {
        **{"category": ["Books", "Crime"], "description": ["A “book”", ""], "title": "It's", "brand": "B", "rank": []},
        **{"asin": "000X", "feature": []},
    },
    "amazon-2023": {
        **{"main_category": "Books", "title": "It's", "features": ["F"], "description": ["A “book”"], "store": "B"},
        **{"categories": ["Books", "Crime"], "details": {"Pages": "3"}, "parent_asin": "000X"},
        **{"author": {"avatar": "http://", "name": "N"}},
    },
    "yelp": {
        **{"business_id": "000X", "name": "It's", "city": "Reno", "state": "NV", "stars": 4.0, "is_open": 1},
        **{"attributes": {"WiFi": "u'free'"}, "categories": "Bars, Cafés", "hours": None},
    },
    "steam": {
        **{"publisher": "P", "genres": ["Action", "Indie"], "app_name": "It's", "title": "It is", "price": 4.99},
        **{"tags": ["Action", "Gore"], "specs": ["Single-player"], "id": "000X", "developer": None},
    },
    "goodreads": {
        **{"book_id": "000X", "title": "It's", "description": "A “book”", "publisher": "", "publication_year": "1999"},
        **{"popular_shelves": [{"count": "9", "name": "crime"}, {"count": "3", "name": "noir"}]},
    },
}

FILES: dict[RawName, tuple[str, str]] = {
    "amazon-2014": ("reviews_Books.json.gz", "meta_Books.json.gz"),
    "amazon-2018": ("Magazines.json.gz", "meta_Magazines.json.gz"),
    "amazon-2023": ("Books.jsonl.gz", "meta_Books.jsonl.gz"),
    "yelp": ("yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"),
    "steam": ("steam_reviews.json.gz", "steam_games.json.gz"),
    "goodreads": ("goodreads_reviews_crime.json.gz", "goodreads_books_crime.json.gz"),
}


def python_literal(row: Any) -> str:
    """The row as Python 2 printed it: text beyond ASCII, and here all that begins with a capital, has a u before it."""
    if isinstance(row, dict):
        pairs = (f"{python_literal(name)}: {python_literal(value)}" for name, value in row.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(row, list):
        return f"[{', '.join(map(python_literal, row))}]"
    return f"u{row!a}" if isinstance(row, str) and (not row.isascii() or row[:1].isupper()) else repr(row)


def written(rows: Rows, notation: Callable[[Any], str] = json.dumps) -> bytes:
    """One line for each row."""
    return "".join(notation(row) + "\n" for row in rows).encode()


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file, gzipped if its name says so; the folder with it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder
