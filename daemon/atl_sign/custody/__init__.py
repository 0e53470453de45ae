"""
Secrets at rest and in memory.

A store keeps items, one for each secret; `items` names them and gives them their text; `vault` stands between the store and
memory, and reads each item once; `moving` carries items to another store, and `move_note` remembers a move that was cut off;
`neighbours` are the user's other daemons with the same store. Read `items` and `vault` first, then `stores` and `keys`.
"""
