"""A sandbox of its own for each test, with a clock that stands still, and consumers that may sign."""

from collections.abc import Callable, Iterator

import pytest

from atl_sign.sandbox import Sandbox
from tests.sandbox.consumer import Clock, Consumer, KeyPair, make_key_pair


@pytest.fixture(scope="session")
def key_pair() -> KeyPair:
    """The consumer's key."""
    return make_key_pair()


@pytest.fixture(scope="session")
def other_key_pair() -> KeyPair:
    """A key that nobody has registered."""
    return make_key_pair()


@pytest.fixture
def clock() -> Clock:
    """The sandbox's clock, and the consumer's."""
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[Sandbox]:
    """All four products."""
    with Sandbox(clock=clock) as started:
        yield started
        assert "sandbox fault" not in {received.verdict for received in started.state.requests}


@pytest.fixture
def registered(provider: Sandbox, key_pair: KeyPair, clock: Clock) -> Callable[[str], Consumer]:
    """Give a consumer at a product, without a token."""
    return lambda product: Consumer(provider, product, key_pair, clock)


@pytest.fixture
def danced(registered: Callable[[str], Consumer]) -> Callable[[str], Consumer]:
    """Give a consumer at a product that may sign for alice."""

    def dance(product: str) -> Consumer:
        consumer = registered(product)
        consumer.dance()
        return consumer

    return dance
