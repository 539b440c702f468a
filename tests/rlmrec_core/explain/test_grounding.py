import pytest

from rlmrec_core.explain.grounding import Catalogue, spellings

NAMES = [
    "Matrix, The (1999)", "Toy Story (1995)", "Toy Story 2 (1999)", "Heat (1995)", "Love (2011)", "It (2017)", "Up",
    "Star Wars: Episode IV - A New Hope (1977)", "Schindler's List (1993)", "The Game", "\u4e03\u4eba\u306e\u4f8d",
    "radiohead",
]  # fmt: skip
CATALOGUE = Catalogue(NAMES)


def test_names_are_spelt_in_several_ways():
    assert spellings("Matrix, The (1999)") == ["Matrix, The (1999)", "Matrix, The", "The Matrix", "Matrix"]
    assert spellings("Star Wars: Episode IV (1977)")[-1] == "Star Wars"
    assert spellings("  ") == []


@pytest.mark.parametrize(
    ("sentence", "evidence"),
    [
        ("You chose Heat, and people who did also chose The Matrix.", ["Heat (1995)", "Matrix, The (1999)"]),
        ('People who chose "Toy Story" love it.', ["Toy Story (1995)"]),
        ("It is for people who love a game, up to its end.", ["Heat (1995)"]),
        ("It shares Schindler's List's quiet tone.", ["Schindler's List (1993)"]),
        ("I think that you will like Star Wars, much as Toy Story 2.", [NAMES[7], "Toy Story 2 (1999)"]),
        ("You like crime and drama.", ["Heat (1995)", "crime", "drama"]),
        ('Close to "Crocodile" Dundee.', ['"Crocodile" Dundee (1986)']),
        ("", []),
    ],
)
def test_what_stays_within_its_evidence(sentence, evidence):
    assert CATALOGUE.outside(sentence, evidence) is None


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("You chose Heat, so try The Matrix.", "The Matrix"),
        ("You chose Heat, so try the matrix.", "The Matrix"),
        ("Since you liked toy story.", "toy story"),
        ("Like Toy Story 2, only better.", "Toy Story 2"),
        ("Heat has what Love has.", "Love"),
        ("Love has what Heat has.", "Love"),
        ("Fans of radiohead like it.", "radiohead"),
        ('You liked "it" and more.', "it"),
        ("You liked It and more.", "It"),
        ("Go Up.", "Up"),
        ("For those who chose Schindler's List.", "Schindler List"),
        ("A favourite of Star Wars fans.", "Star Wars"),
        ("Like \u4e03\u4eba\u306e\u4f8d, it is long.", "\u4e03 \u4eba \u306e \u4f8d"),
        ("Made by the people behind The Phantom Cellar.", "The"),  # no item at all: made up
        ("You will enjoy 'the phantom cellar' too.", "the phantom cellar"),
        ("You will enjoy \u201ephantoms\u201c too.", "phantoms"),
    ],
)
def test_what_does_not(sentence, named):
    found = CATALOGUE.outside(sentence, ["Heat (1995)"])
    assert found is not None and found.casefold() == named.casefold()


def test_the_longest_name_counts_whoever_it_belongs_to():
    assert CATALOGUE.outside("Close to Toy Story 2.", ["Toy Story 2 (1999)"]) is None
    assert CATALOGUE.outside("Close to Toy Story 2.", ["Toy Story (1995)"]) == "Toy Story 2"
    assert CATALOGUE.outside("Close to Toy Story.", ["Toy Story 2 (1999)"]) == "Toy Story"
