"""The rows of an experiment as people read them, whatever they tell of: as Markdown, as LaTeX and as a picture."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAPER = "in the paper"
_SETTING = re.compile(r" ([a-z_]\w*)=(-?\d+(?:\.\d+)?(?:e-?\d+)?)(?= |$)")
"""A number by which a model's name tells it from others, as `model_id.labels` writes it."""
_FEWEST = 3
"""Values of a setting from which on a line shows more than bars."""


@dataclass(frozen=True)
class Bar:
    """One model in the picture.

    Attributes:
        label: The model's name.
        value: What was measured.
        spread: Its deviation over seeds.
        paper: The paper's figure, where the data are the paper's.
        is_reference: Whether others are compared with it.
    """

    label: str
    value: float
    spread: float | None = None
    paper: float | None = None
    is_reference: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table for people.

    Attributes:
        header: Names of the columns; the first is the model's.
        lines: One for each model, a cell for each column.
        axis: What the picture shows, such as what the bars measure.
        bars: The picture.
        notes: What the columns mean, and what was found, in sentences.
        draw: Draws a picture of its own into an empty figure, in place of bars.
    """

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    axis: str
    bars: Sequence[Bar]
    notes: Sequence[str] = ()
    draw: "Callable[[Figure], None] | None" = None


def markdown(sheet: Sheet) -> str:
    """The table and its notes."""
    first, *lines = ("| " + " | ".join(map(_in_a_cell, line)) + " |" for line in [sheet.header, *sheet.lines])
    table = [first, "|" + "---|" * len(sheet.header), *lines]
    return "\n".join(table) + "\n" + "".join(f"\n{note}\n" for note in sheet.notes)


def latex(sheet: Sheet) -> str:
    """The table as a LaTeX tabular."""
    first, *others = (" & ".join(map(_escaped, line)) + r" \\" for line in [sheet.header, *sheet.lines])
    begin = rf"\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}"
    return "\n".join([begin, r"\hline", first, r"\hline", *others, r"\hline", r"\end{tabular}", ""])


def picture(sheet: Sheet, form: Literal["svg", "png"]) -> bytes:
    """A bar for each model, a line for those that differ in a number alone, or what the sheet draws itself.

    The same sheet gives the same bytes.
    """
    import matplotlib  # takes a second, which the command line need not wait for
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "rlmrec", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 1 + 0.25 * len(sheet.bars)), layout="constrained")
        if sheet.draw:
            sheet.draw(figure)
        elif found := _curves(sheet.bars):
            _draw_curves(figure, sheet.axis, found)
        else:
            _draw_bars(figure, sheet)
        written = BytesIO()
        figure.savefig(written, format=form, dpi=120, metadata={"Date": None} if form == "svg" else {"Software": None})
    return written.getvalue()


class _Curves(NamedTuple):
    """Models along a setting. lines: by what is left of their names, from the least value to the largest."""

    setting: str
    lines: dict[str, list[tuple[float, Bar]]]


def _curves(bars: Sequence[Bar]) -> _Curves | None:
    """The lines of a picture, None where bars tell more: where several settings or too few values tell models apart.

    Models without the setting are left out: what does not change makes the lines flat.
    """
    numbers = [(bar, *found) for bar in bars for found in _SETTING.findall(bar.label)]
    settings = {setting for _, setting, _ in numbers}
    if len(settings) != 1 or len({float(value) for *_, value in numbers}) < _FEWEST:
        return None
    lines: dict[str, list[tuple[float, Bar]]] = {}
    for bar, _, value in numbers:
        lines.setdefault(_SETTING.sub("", bar.label), []).append((float(value), bar))
    ordered = {name: sorted(points, key=lambda point: point[0]) for name, points in lines.items()}
    return _Curves(settings.pop(), ordered)


def _draw_curves(figure: "Figure", axis: str, curves: _Curves) -> None:
    """A line for each model along the setting, dashed for what others are compared with."""
    figure.set_size_inches(8, 5)
    axes = figure.subplots()
    for name, points in curves.lines.items():
        values, bars = zip(*points, strict=True)
        heights, spreads = [bar.value for bar in bars], [bar.spread or 0.0 for bar in bars]
        form = "o--" if all(bar.is_reference for bar in bars) else "o-"
        axes.errorbar(values, heights, spreads, fmt=form, markersize=4, capsize=2, label=name)
    axes.set_xlabel(curves.setting)
    axes.set_ylabel(axis)
    axes.grid(alpha=0.3)
    for text in axes.legend(fontsize="small").get_texts():
        text.set_parse_math(False)


def _draw_bars(figure: "Figure", sheet: Sheet) -> None:
    """A bar for each model, with a mark where the paper's figure lies."""
    bars = list(sheet.bars)[::-1]  # bars are drawn from below
    axes = figure.subplots()
    colours = ["C7" if bar.is_reference else "C0" for bar in bars]
    places = range(len(bars))
    axes.barh(places, [bar.value for bar in bars], xerr=[bar.spread or 0.0 for bar in bars], color=colours)
    printed = {place: bar.paper for place, bar in enumerate(bars) if bar.paper is not None}
    if printed:
        axes.plot(list(printed.values()), list(printed), "D", color="C1", markersize=4, label=_PAPER)
        axes.legend(fontsize="small")
    axes.set_yticks(places, [bar.label for bar in bars], parse_math=False)
    axes.margins(y=1 / (4 * len(bars) + 1))
    axes.set_xlabel(sheet.axis)


def _escaped(cell: str) -> str:
    """A cell for LaTeX, to which some signs mean something."""
    return "".join(_LATEX.get(sign, sign) for sign in cell)


def _in_a_cell(text: str) -> str:
    """A cell for Markdown: in one line, and without an end before its own."""
    return " ".join(text.split()).replace("|", r"\|")


_LATEX = {
    **{sign: rf"\{sign}" for sign in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "*": r"$^{*}$",
}
