"""
Secrets at rest and in memory.

A store keeps items, one for each secret; `items` names them and gives them their text; `vault` stands between the store and
memory, and reads each item once; `moving` carries items to another store, and `move_note` remembers a move that was cut off.
Read `items` and `vault` first, then `stores`.
"""
