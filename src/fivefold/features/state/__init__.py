"""What an online store keeps of an entity: rows where a window's edge may still cut, tiles of merged rows behind them.

`layout` puts rows into words, `tiles` merges them, `keep` says what no query can see any more, `key` is one entity's
state, `apply` brings many rows to many entities at once, `value` makes features of a state.
"""
