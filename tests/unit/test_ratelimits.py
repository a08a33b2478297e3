"""Token buckets: the share of one name, in bounded memory."""

from node.http.ratelimits import TokenBuckets


class Timer:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_the_rate_decides() -> None:
    timer = Timer()
    buckets = TokenBuckets(rate_per_s=2, burst=3, timer=timer)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == 0.5
    timer.now = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5


def test_a_refused_attempt_does_not_put_off_the_next_token() -> None:
    timer = Timer()
    buckets = TokenBuckets(rate_per_s=1, burst=1, timer=timer)
    buckets.take("a")
    for tenth in range(1, 10):
        timer.now = tenth / 10
        assert buckets.take("a") > 0
    timer.now = 1.0
    assert buckets.take("a") < 1e-9


def test_idle_time_fills_no_more_than_the_burst() -> None:
    timer = Timer()
    buckets = TokenBuckets(rate_per_s=10, burst=2, timer=timer)
    timer.now = 1000
    assert [buckets.take("a") > 0 for _ in range(3)] == [False, False, True]


def test_names_do_not_share() -> None:
    buckets = TokenBuckets(rate_per_s=1, burst=1, timer=Timer())
    assert [buckets.take(name) for name in "abc"] == [0, 0, 0]


def test_memory_is_bounded_and_the_one_unused_longest_goes_first() -> None:
    buckets = TokenBuckets(rate_per_s=1, burst=1, capacity=2, timer=Timer())
    for name in ("a", "b", "a", "c"):
        buckets.take(name)
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


def test_a_rate_of_zero_is_no_limit() -> None:
    buckets = TokenBuckets(rate_per_s=0, burst=0)
    assert {buckets.take("a") for _ in range(100)} == {0.0}


def test_a_token_given_back_fills_no_more_than_the_burst() -> None:
    buckets = TokenBuckets(rate_per_s=1, burst=2, timer=Timer())
    buckets.give_back("never asked")
    buckets.take("a")
    for _ in range(5):
        buckets.give_back("a")
    assert [buckets.take("a") > 0 for _ in range(3)] == [False, False, True]
