"""Where the raw releases may be fetched, and under whose terms."""

from collections.abc import Mapping
from dataclasses import dataclass

_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_MCAULEY = "https://mcauleylab.ucsd.edu/public_datasets"
_MCAULEY_PAGE = "https://cseweb.ucsd.edu/~jmcauley/datasets.html"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a release; `{category}` in its address is to be filled in.

    checksum: what the publisher says, as `md5:...`; where it says nothing, what the first download had is kept.
    """

    url: str
    checksum: str | None = None


@dataclass(frozen=True)
class Release:
    """A data set that may be fetched, the page with its terms, and its first category to try, if it has any."""

    files: tuple[RemoteFile, ...]
    page: str
    category: str | None = None


def _movielens(name: str, checksum: str | None = None) -> Release:
    return Release((RemoteFile(f"{_GROUPLENS}/{name}.zip", checksum),), "https://grouplens.org/datasets/movielens/")


def _files(folder: str, *names: str) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(f"{_MCAULEY}/{folder}/{name}") for name in names)


RELEASES: Mapping[str, Release] = {
    # Amazon-book, Yelp and Steam, each in a folder of its own: reader rlmrec-release.
    "rlmrec": Release(
        (RemoteFile("https://archive.org/download/rlmrec_data/data.zip"),), "https://github.com/HKUDS/RLMRec"
    ),
    "movielens-small": _movielens("ml-latest-small"),
    "movielens-1m": _movielens("ml-1m", "md5:c4d9eecfca2ab87c1945afe126590906"),
    "movielens-25m": _movielens("ml-25m", "md5:6b51fb2759a8657d3bfcbfc42b592ada"),
    "movielens-32m": _movielens("ml-32m", "md5:d472be332d4daa821edc399621853b57"),
    "amazon-2014": Release(
        _files("data/amazon/categoryFiles", "reviews_{category}.json.gz", "meta_{category}.json.gz"),
        _MCAULEY_PAGE,
        "Books",
    ),
    "amazon-2018": Release(
        _files("data/amazon_v2", "categoryFiles/{category}.json.gz", "metaFiles2/meta_{category}.json.gz"),
        _MCAULEY_PAGE,
        "Books",
    ),
    "amazon-2023": Release(
        _files(
            "data/amazon_2023/raw",
            "review_categories/{category}.jsonl.gz",
            "meta_categories/meta_{category}.jsonl.gz",
        ),
        "https://amazon-reviews-2023.github.io/",
        "Books",
    ),
    "steam": Release(_files("data/steam", "steam_reviews.json.gz", "steam_games.json.gz"), _MCAULEY_PAGE),
    "goodreads": Release(
        _files(
            "gdrive/goodreads/byGenre",
            "goodreads_reviews_{category}.json.gz",
            "goodreads_books_{category}.json.gz",
        ),
        _MCAULEY_PAGE,
        "comics_graphic",
    ),
}

YELP_STEPS = """Yelp hands its data out to persons who accept its terms; nothing may fetch it for you.
1. Open https://business.yelp.com/data/resources/open-dataset/ and read the terms.
2. Choose the JSON download. You get an archive of about 4 GB with a name like Yelp-JSON.zip.
3. Unpack the zip, if it is one. Leave the yelp_dataset.tar inside as it is.
4. Put the tar file into a folder of its own: it is the folder of the data set yelp-raw"""
