//! How fjall is to keep each kind of keyspace. Holds from a keyspace's making on: those of before stay
//! as they are.

use ::fjall::{
    KeyspaceCreateOptions,
    config::{FilterPolicy, PartitioningPolicy},
};

use super::IndexConfig;

/// Settings of a keyspace; `is_hit` where nearly all keys that are asked for are there.
///
/// While fjall merges tables, each key of an index block in the making keeps alive the block that it was
/// read from: so merged tables have many small index blocks in the place of one that keeps a whole table.
pub(super) fn options(config: &IndexConfig, is_hit: bool) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(config.memtable_bytes / if is_hit { 2 } else { 1 })
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .expect_point_read_hits(is_hit)
}

/// Settings of the keyspace of a month, which is asked for ranges only: filters are of no use there.
pub(super) fn month_options(config: &IndexConfig) -> KeyspaceCreateOptions {
    options(config, false).filter_policy(FilterPolicy::disabled())
}
