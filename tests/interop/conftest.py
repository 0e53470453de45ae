"""Property tests that come out the same on every machine: the same examples, no time limit for one of them, no memory."""

import os

from hypothesis import settings

# INTEROP_RANDOM=1 searches elsewhere than CI does; INTEROP_EXAMPLES=10000 searches longer.
settings.register_profile(
    "interop",
    max_examples=int(os.environ.get("INTEROP_EXAMPLES", "300")),
    derandomize="INTEROP_RANDOM" not in os.environ,
    deadline=None,
    database=None,
)
