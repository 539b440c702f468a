import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.profiling.parser import Profile, RejectedAnswer, parse_profile

GOOD = '{"summarization": "Fans of crime.", "reasoning": "The title says so."}'
PROFILE = Profile("Fans of crime.", "The title says so.")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here is the profile:\n{GOOD}\nI hope it helps.",
        f'<think>maybe {{"summarization": "no"}}</think>{GOOD}',
        GOOD.replace('so."}', 'so.",}'),
        GOOD.replace('"reasoning"', "'reasoning'"),
    ],
)
def test_good_answers_in_any_wrapping(text):
    assert parse_profile(text, max_words=10) == PROFILE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not one JSON object"),
        ("I cannot do that.", "not one JSON object"),
        (f"[{GOOD}]", "not one JSON object"),
        (f"{GOOD} {GOOD}", "more than one"),
        (f"{GOOD[:-1]},}}\n{GOOD[:-1]},}}", "more than one"),
        ('{"summarization": "Fans."}', "reasoning is missing"),
        (GOOD[:-1] + ', "mood": "dark"}', "'mood' was not asked for"),
        (GOOD.replace("Fans of crime.", "None"), "says nothing"),
        (GOOD.replace("Fans of crime.", " "), "says nothing"),
        (GOOD.replace('"Fans of crime."', "null"), "must be a string"),
        (GOOD.replace('"Fans of crime."', '["Fans"]'), "must be a string"),
        (GOOD.replace("Fans", "word " * 10), "12 words, at most 10"),
    ],
)
def test_bad_answers_are_rejected_with_the_reason(text, said):
    with pytest.raises(RejectedAnswer, match=said):
        parse_profile(text, max_words=10)


def test_half_a_surrogate_pair_that_is_escaped_in_the_answer_is_mended():
    halves = GOOD.replace("crime", r"crime \ud83c").replace("title", r"title \ud83d\ude00")
    profile = parse_profile(halves, max_words=10)
    assert profile == Profile("Fans of crime \ufffd.", "The title 😀 says so.")


@given(st.text(min_size=1), st.text(min_size=1))
def test_what_is_written_as_json_is_read_back(summarization, reasoning):
    try:
        found = parse_profile(json.dumps({"summarization": summarization, "reasoning": reasoning}), max_words=10_000)
    except RejectedAnswer as error:
        assert "says nothing" in str(error)
    else:
        assert found == Profile(" ".join(summarization.split()), " ".join(reasoning.split()))


@pytest.mark.parametrize(
    "hopeless", ["{" * 20_000, '{"a": [' * 3_000, "x" * 15_000_000, '{"summarization": ' + "x" * 60_000]
)
def test_what_would_take_seconds_to_repair_is_refused_at_once(hopeless, monkeypatch):
    monkeypatch.delattr("rlmrec_core.profiling.parser.repair_json")
    with pytest.raises(RejectedAnswer, match="not one JSON object"):
        parse_profile(hopeless, max_words=100)


@given(st.text())
def test_no_text_breaks_the_parser(text):
    with suppress(RejectedAnswer):
        parse_profile(text, max_words=100)
