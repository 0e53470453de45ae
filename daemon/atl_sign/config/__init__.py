"""
The user's file: links and settings.

A *setting* is one row: its name, its kind, its default, its words. The parser, the schema of `PUT /links/{name}`, the options of
`atl-sign link add` and the documentation's table are made of the rows, so a new setting is one row and its test. The rows of all
links are the fields of `Link`; each scheme has its own, which the callers of this room hand in.

`setting` is the row and the kinds of values; `links` a link; `link_fields` a link out of its settings and back; `table` finds the
link that covers a URL; `settings` reads the text of `config.toml`; `file` keeps it current and writes it; `toml_edit` changes
one link and leaves every other byte as it is. Read them in this order.
"""
