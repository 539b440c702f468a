"""MovieLens as GroupLens publishes it: ratings.csv, movies.csv, tags.csv, links.csv; 1M: ratings.dat and movies.dat.

An `overviews.csv` (tmdbId, overview, keywords) beside them, joined through links.csv, gives movies their description.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data import cells
from rlmrec_core.data.chunks import Chunk, read_chunks, read_headless_chunks
from rlmrec_core.data.malformed import MalformedLines
from rlmrec_core.data.reader import UNKNOWN_ITEM, Reader
from rlmrec_core.data.times import TimeColumn
from rlmrec_core.tables import INTERACTIONS, ITEMS

_TITLE_YEAR = re.compile(r"^(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*$")
_FRACTION = re.compile(r"\.0+$")
_RATINGS = ["userId", "movieId", "rating", "timestamp"]
_MOVIES = ["movieId", "title", "genres"]
_NO_GENRES = "(no genres listed)"


@dataclass(frozen=True)
class _Overview:
    text: str | None
    keywords: str | None


_NOTHING = _Overview(None, None)


class MovieLensReader(Reader):
    """Ratings with a user's tags of a movie as the review; movies with year, genres and, where known, the plot."""

    def sources(self) -> list[Path]:
        required = [self._table("ratings"), self._table("movies")]
        return required + [self.folder / name for name in ("tags.csv", "links.csv", "overviews.csv") if self._has(name)]

    def interactions(self) -> Iterator[pa.RecordBatch]:
        """Tags reach only the interaction of the user who wrote them: a tag never tells of another user's test item."""
        tags = self._tags()
        unrated = set(tags)
        who = [pa.array({pair[side] for pair in tags}, pa.string()) for side in (0, 1)]
        yield from self.whole(self._ratings(tags, unrated, who))
        self.counts["tagged movies their user did not rate"] = len(unrated)

    def _ratings(
        self, tags: dict[tuple[str, str], str], unrated: set[tuple[str, str]], who: list[pa.Array]
    ) -> Iterator[pa.RecordBatch]:
        times, known = TimeColumn(), pa.array(sorted(self._known), pa.string())
        file, n_rows = self._table("ratings"), 0
        self.malformed.start(str(file))
        for chunk in cells.with_known_times(_read(file, _RATINGS, self.malformed), "timestamp", times):
            users, movies = cells.ids(chunk, "userId"), cells.ids(chunk, "movieId")
            numbers = [cells.ratings(chunk, "rating"), cells.timestamps(chunk, "timestamp", times)]
            maybe = pc.and_(pc.is_in(users, value_set=who[0]), pc.is_in(movies, value_set=who[1]))
            pairs = list(zip(users.filter(maybe).to_pylist(), movies.filter(maybe).to_pylist(), strict=True))
            unrated.difference_update(pairs)
            tagged = pa.array([tags.get(pair) for pair in pairs], pa.string())
            nothing = pa.nulls(len(chunk), pa.string())
            reviews = pc.replace_with_mask(nothing, maybe, tagged)
            batch = pa.RecordBatch.from_arrays([users, movies, *numbers, reviews, nothing], INTERACTIONS.names)
            batch = chunk.usable_of(batch).cast(INTERACTIONS)
            if n_unknown := pc.sum(pc.invert(pc.is_in(batch.column("item_id"), value_set=known))).as_py():
                self.counts[UNKNOWN_ITEM] += n_unknown
            n_rows += batch.num_rows
            yield batch
        self.malformed.finish(str(file), n_rows)
        self.warnings += times.warnings(file, "timestamp")

    def items(self) -> Iterator[pa.RecordBatch]:
        yield from self.whole(self._movies(self._overviews()))

    def _movies(self, overviews: dict[str, _Overview]) -> Iterator[pa.RecordBatch]:
        seen: set[str] = set()
        for chunk in self._chunks(self._table("movies"), _MOVIES):
            ids = cells.ids(chunk, "movieId")
            cells.refuse_repeated(chunk, "movieId", ids, seen)
            columns = (ids, cells.texts(chunk, "title"), cells.texts(chunk, "genres"))
            rows = zip(chunk.usable, *(column.to_pylist() for column in columns), strict=True)
            movies = [
                _movie(movie, title, genres, overviews.get(movie, _NOTHING))
                for usable, movie, title, genres in rows
                if usable
            ]
            yield pa.RecordBatch.from_pylist(movies, schema=ITEMS)

    @cached_property
    def _known(self) -> set[str]:
        """Ids of the movies; what is wrong with their table is told when the items are read."""
        unheard = MalformedLines(None, sampled=0)
        known: set[str] = set()
        file = self._table("movies")
        unheard.start(str(file))
        for chunk in _read(file, _MOVIES, unheard):
            known.update(chunk.usable_of(cells.ids(chunk, "movieId")).to_pylist())
        return known

    def _chunks(self, file: Path, columns: list[str]) -> Iterator[Chunk]:
        """The chunks of a table; whoever asks for the next one has said which rows of the last are usable."""
        n_usable = 0
        self.malformed.start(str(file))
        for chunk in _read(file, columns, self.malformed):
            yield chunk
            n_usable += int(chunk.usable.sum())
        self.malformed.finish(str(file), n_usable)

    def _table(self, name: str) -> Path:
        """The file of a table that every release has."""
        return self.file(f"{name}.dat" if self._has(f"{name}.dat") and not self._has(f"{name}.csv") else f"{name}.csv")

    def _tags(self) -> dict[tuple[str, str], str]:
        words: dict[tuple[str, str], list[str]] = defaultdict(list)
        if self._has("tags.csv"):
            for user, movie, tag in self._rows(self.folder / "tags.csv", "userId", "movieId", text="tag"):
                if tag:
                    words[str(user), str(movie)].append(tag)
        return {pair: ", ".join(tags) for pair, tags in words.items()}

    def _overviews(self) -> dict[str, _Overview]:
        """Overviews by movieId."""
        if not self._has("overviews.csv"):
            return {}
        by_tmdb: dict[str, _Overview] = {}
        for tmdb, text, keywords in self._rows(self.folder / "overviews.csv", "tmdbId", text=("overview", "keywords")):
            by_tmdb[str(tmdb)] = _Overview(text, _commas(keywords))
        links = self._rows(self.file("links.csv"), "movieId", text="tmdbId")
        # A column of whole numbers with gaps is often written as 501.0.
        known = {str(movie): _FRACTION.sub("", tmdb.strip()) for movie, tmdb in links if tmdb}
        found = {movie: by_tmdb[tmdb] for movie, tmdb in known.items() if tmdb in by_tmdb}
        self.counts["overviews of no movie"] = len(by_tmdb.keys() - known.values())
        self.counts["movies without an overview"] = len(known) - len(found)
        return found

    def _rows(self, file: Path, *ids: str, text: str | tuple[str, ...]) -> Iterator[tuple[str | None, ...]]:
        texts = (text,) if isinstance(text, str) else text
        for chunk in self._chunks(file, [*ids, *texts]):
            columns = [*(cells.ids(chunk, name) for name in ids), *(cells.texts(chunk, name) for name in texts)]
            yield from zip(*(chunk.usable_of(column).to_pylist() for column in columns), strict=True)

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()


def _read(file: Path, columns: list[str], faults: MalformedLines) -> Iterator[Chunk]:
    headless = file.suffix == ".dat"
    return read_headless_chunks(file, columns, faults) if headless else read_chunks([file], columns, faults=faults)


def _movie(movie_id: str, title: str | None, genres: str | None, overview: _Overview) -> dict[str, object]:
    dated = _TITLE_YEAR.match(title or "")
    values = (dated and dated["year"], None if genres == _NO_GENRES else _commas(genres), overview.keywords)
    return {
        "item_id": movie_id,
        "title": dated["title"] if dated else title,
        "description": overview.text,
        "attributes": cells.as_attributes(zip(("year", "genres", "keywords"), values, strict=True)),
    }


def _commas(piped: str | None) -> str | None:
    return piped and piped.replace("|", ", ")
