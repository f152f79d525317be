"""What is derived from a cache's entries goes as soon as one of them does."""

from centroidb.engine.index.cache import DERIVED_MAX, Cache


def test_derived_is_kept_while_nothing_goes() -> None:
    """The same thing again, until its source is another."""
    cache: Cache[str] = Cache(10)
    source = object()
    made = cache.derived("key", source, list[int])
    cache.put("a", "entry", 5)
    assert cache.derived("key", source, list[int]) is made
    assert cache.derived("key", object(), list[int]) is not made


def test_derived_goes_with_an_entry() -> None:
    """With one that is thrown out, replaced, or not kept at all."""
    for key, nbytes in (("b", 6), ("a", 5), ("c", 11)):
        cache: Cache[str] = Cache(10)
        cache.put("a", "entry", 5)
        source = object()
        made = cache.derived("key", source, list[int])
        cache.put(key, "entry", nbytes)
        assert cache.derived("key", source, list[int]) is not made


def test_derived_is_bounded() -> None:
    """The oldest goes first."""
    cache: Cache[str] = Cache(10)
    source = object()
    made = cache.derived(0, source, list[int])
    for key in range(1, DERIVED_MAX + 1):
        cache.derived(key, source, list[int])
    assert cache.derived(0, source, list[int]) is not made
