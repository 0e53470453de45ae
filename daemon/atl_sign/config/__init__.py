"""
The user's file: links and settings.

A link is one provider's base URL and how to authorize there. `links` finds the one that covers a URL; `settings` reads the
text of `config.toml`; `file` keeps it current and writes it; `toml_edit` changes one link and leaves every other byte as it
is. Read `links` first, then `settings`, then `file`.
"""
