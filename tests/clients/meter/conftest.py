"""The daemon and recorder of the differential tests, which serves bodies of any length."""

from tests.clients.differential.conftest import lab

__all__ = ["lab"]
