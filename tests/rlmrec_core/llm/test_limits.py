import asyncio
import time

import pytest

from rlmrec_core.llm.budget import find_price
from rlmrec_core.llm.errors import ServerRefused
from rlmrec_core.llm.rate_limiter import RateLimiter, TokenBucket, reset_wait, seconds_of
from rlmrec_core.llm.workers import batched_run, in_order


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120ms", 0.12), ("6m0s", 360), ("1h2m3s", 3723), ("1.5s", 1.5), ("7", 7), ("soon", None), (None, None)],
)
def test_resets(text, seconds):
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_the_empty_bucket_says_when_it_has_something():
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"}
    assert reset_wait(headers) == 2.0
    assert reset_wait(headers | {"x-ratelimit-remaining-requests": "1"}) is None


def test_a_bucket_without_headers_has_no_bottom_and_one_with_them_paces():
    bucket = TokenBucket()
    assert bucket.wait(0.0) == 0.0
    bucket.observe("60", "60", 0.0)
    bucket.take(1)
    assert bucket.wait(0.0) == pytest.approx(1 / 0.985, rel=0.01) or bucket.wait(0.0) < 0.01
    bucket.take(2)
    assert 1.9 < bucket.wait(0.0) < 2.2
    assert bucket.wait(60.0) == 0.0 and bucket.level <= 1.0  # a minute saves up a second's worth, not a minute's


@pytest.mark.parametrize("limit", ["nan", "inf", "1e400", "0", "-3", "0.000001", "many", None])
def test_a_limit_that_is_none_holds_nobody_up(limit):
    bucket = TokenBucket()
    bucket.observe(limit, "0", 0.0)
    assert bucket.wait(0.0) == 0.0
    bucket.observe("60", "-1e18", 0.0)
    assert bucket.wait(0.0) < 2.0


def test_concurrency_doubles_halves_once_per_window_and_then_creeps():
    limiter = RateLimiter(32)
    assert limiter.window == 8
    for _ in range(8):
        limiter.went_well()
    assert limiter.window == 16
    sent = time.monotonic()
    for _ in range(5):
        limiter.throttled(sent, 0.0)
    assert limiter.window == 8
    for _ in range(9):
        limiter.went_well()
    assert limiter.window == 9
    for _ in range(1000):
        limiter.went_well()
    assert limiter.window == 32


def test_those_who_share_an_endpoint_keep_to_its_limits_together():
    one, limiters = TokenBucket(), [RateLimiter(32, at_once=4) for _ in range(4)]
    assert [limiter.window for limiter in limiters] == [2] * 4
    headers = {"x-ratelimit-limit-requests": "600", "x-ratelimit-remaining-requests": "8"}
    one.observe("600", "8", 0.0)
    for limiter in limiters:
        limiter.observe(headers)
        for _ in range(1000):
            limiter.went_well()
    assert sum(limiter.requests.rate for limiter in limiters) == pytest.approx(one.rate)
    assert all(limiter.requests.level <= 8 / 4 for limiter in limiters)
    assert sum(limiter.window for limiter in limiters) == 32


def test_patience_has_an_end():
    with pytest.raises(ServerRefused):
        RateLimiter(4, longest_pause=10).throttled(time.monotonic(), 11)


def test_no_more_than_the_window_are_under_way():
    async def go():
        limiter, most = RateLimiter(3), 0

        async def one(_):
            nonlocal most
            async with limiter.slot(1):
                most = max(most, limiter.in_flight)
                await asyncio.sleep(0.001)

        await asyncio.gather(*map(one, range(20)))
        return most

    assert asyncio.run(go()) == 3


async def _later(n):
    await asyncio.sleep(0.002 * (n % 3))
    return n


def test_results_come_in_order_however_long_each_takes():
    assert [n for batch in batched_run(in_order(range(50), _later, 7), 8) for n in batch] == list(range(50))


def test_after_an_error_what_is_under_way_is_finished_and_nothing_is_begun():
    begun, finished = [], []

    async def work(n):
        begun.append(n)
        if n == 5:
            raise LookupError("five")
        await asyncio.sleep(0.01)
        finished.append(n)
        return n

    with pytest.raises(LookupError, match="five"):
        list(batched_run(in_order(range(1000), work, 4), 8))
    assert sorted(finished) == [n for n in begun if n != 5] and len(begun) < 20


def test_prices_are_never_guessed():
    assert find_price("gpt-4o-mini", None, (None, None)).of(1_000_000, 0) == 0.15
    assert find_price("gpt-4o-mini-2024-07-18", "https://api.openai.com/v1", (None, None)).output == 0.60
    assert find_price("gpt-4o-mini", None, (None, None), batch=True).input == 0.075
    assert find_price("gpt-4o-mini", "http://127.0.0.1/v1", (None, None)) is None
    assert find_price("some-model", None, (None, None)) is None
    assert find_price("some-model", None, (3.0, None)).of(1_000_000, 5) == 3.0
