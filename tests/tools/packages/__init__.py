"""
The packages that `make dist` makes of one commit.

Read `__main__` first: it is the list of what is made, in order. `source` gets the commit's files, `environment` puts the program
and its libraries into the tree that the .deb, the .rpm and the tarball share, `debian` makes the .deb of it, and `templates/` has
the files that are written with the version in their places. `build_stamp` is apart: the build hook that runs inside hatchling.
"""
