//! A vehicle's id in 128 bits, for tables of very many vehicles: an id may be several times as long, and
//! would lie on the heap.
//!
//! Must not know what the tables are for.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::types::ids::VehicleId;

/// Of this process alone, so that nobody can make what passes for another's.
pub(super) static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// A vehicle's id in 128 bits; of this process alone. Among a thousand million vehicles the chance that any
/// two have the same is below 1e-20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VehicleDigest([u64; 2]);

impl VehicleDigest {
    /// That of `vehicle`.
    pub(super) fn of(vehicle: &VehicleId) -> Self {
        let digest = xxh3_128_with_seed(vehicle.as_str().as_bytes(), *SEED);
        Self([digest as u64, (digest >> 64) as u64])
    }

    /// The same as one number.
    pub(super) fn bits(self) -> u128 {
        let Self([low, high]) = self;
        u128::from(high) << 64 | u128::from(low)
    }
}
