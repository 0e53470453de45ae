"""The packages that `make dist` makes: what goes into them, and how."""
