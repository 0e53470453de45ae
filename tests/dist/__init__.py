"""What `make dist` makes, installed where nothing else is."""
