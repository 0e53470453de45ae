"""When a daemon may end by itself: by a clock that the test moves."""

from atl_sign.server.idle import RECHECK_S, UPGRADE_IDLE_S, IdleWatch
from atl_sign.server.installed import Stamp

OLD, NEW = (1, 1, 1, 1), (2, 1, 2, 1)


class World:
    """A setting, an installed package, and a watch on both."""

    def __init__(self, idle_s: float = 60.0) -> None:
        self.idle_s = idle_s
        self.stamp: Stamp | None = OLD
        self.watch = IdleWatch(lambda: self.idle_s, lambda: self.stamp)
        self.watch.begin(0.0)

    def note(self, now: float, requests: int = 0, *, is_busy: bool = False) -> bool:
        """Look once, and tell whether it is time to end."""
        self.watch.note(now, requests=requests, is_busy=is_busy)
        return self.watch.is_due(now)


def test_it_is_due_after_the_idle_time_and_not_before() -> None:
    """Counted from the last look at which somebody was there, or a request had come since the one before."""
    world = World()

    assert not world.note(0.0)
    assert not world.note(59.9)
    assert world.note(60.0)
    assert not world.note(61.0, requests=1)
    assert not world.note(62.0, requests=1, is_busy=True)
    assert not world.note(121.9, requests=1)
    assert world.note(122.0, requests=1)


def test_zero_is_never() -> None:
    """However long."""
    world = World(0.0)
    world.note(0.0)

    assert not world.note(1e9)


def test_the_setting_counts_as_it_is_now() -> None:
    """It may change while the daemon runs."""
    world = World()
    world.note(0.0)
    assert not world.note(30.0)

    world.idle_s = 30.0

    assert world.note(31.0)


def test_the_store_is_left_alone_for_a_while_after_a_no() -> None:
    """Each question can take three seconds."""
    world = World()
    world.note(0.0)
    assert world.note(60.0)

    world.watch.put_off(60.0)

    assert not world.note(60.0 + RECHECK_S - 0.1)
    assert world.note(60.0 + RECHECK_S)


def test_another_version_makes_it_due_soon() -> None:
    """Once its files stand still and nobody was there as long; the setting's time, and even never, does not matter."""
    world = World(0.0)
    world.note(0.0)
    world.stamp = NEW
    assert not world.note(100.0)
    assert not world.note(100.0 + UPGRADE_IDLE_S - 0.1)

    assert world.note(100.0 + UPGRADE_IDLE_S)
    assert world.watch.is_upgraded(100.0 + UPGRADE_IDLE_S)
    assert not world.note(101.0 + UPGRADE_IDLE_S, requests=1)


def test_an_installation_under_way_is_waited_for() -> None:
    """The files are gone, come back, and change again; and the old version put back is no upgrade."""
    world = World()
    world.note(0.0)
    world.stamp = None
    assert not world.note(1.0)
    assert not world.note(10.0)
    world.stamp = NEW
    assert not world.note(11.0)
    world.stamp = (3, 1, 3, 1)
    assert not world.note(15.9)
    assert not world.note(20.8)
    world.stamp = OLD
    assert not world.note(21.0)
    assert not world.note(30.0)
