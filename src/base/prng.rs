//! Seeded pseudo-random numbers for jitter, simulation and test fleets.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): one
//! word of state, every seed is good, the same seed gives the same numbers on every machine. Not
//! for secrets.

/// A generator of reproducible numbers.
#[derive(Debug, Clone)]
pub struct Prng(u64);

impl Prng {
    /// A generator whose numbers depend on `seed` alone.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from 0.0 up to, and without, 1.0.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `low` up to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True in `percent` of a hundred calls.
    pub fn chance(&mut self, percent: f64) -> bool {
        self.unit() * 100.0 < percent
    }

    /// A generator of its own whose numbers do not follow from this one's next ones.
    pub fn split(&mut self) -> Self {
        Self(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let mut one = Prng::new(7);
        let mut other = Prng::new(7);
        assert!((0..100).all(|_| one.next_u64() == other.next_u64()));
        assert_ne!(Prng::new(7).next_u64(), Prng::new(8).next_u64());
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut prng = Prng::new(1);
        assert!((0..1_000).all(|_| prng.below(10) < 10));
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&prng.unit())));
        assert_eq!(prng.below(0), 0);
    }
}
