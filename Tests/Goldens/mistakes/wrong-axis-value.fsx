// The sizes of two axes are swapped in a config.
let heads: Axis<Heads> = axis 8
let tiny (c: Config) = { c with Heads = axis 8; KvHeads = heads }
