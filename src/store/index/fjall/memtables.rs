//! Which months hold how many rows in memory only, so that late records of many months do not
//! fill it: fjall limits each keyspace, not their sum. Pure.

use std::collections::BTreeMap;

use crate::types::time::Month;

/// What a row takes in memory besides its key and its value, as fjall reckons.
const ROW_OVERHEAD_BYTES: u64 = 56;

/// Bytes of rows by month.
#[derive(Debug, Default)]
pub(super) struct MonthBytes(BTreeMap<Month, u64>);

/// Reckons what the months hold in memory.
#[derive(Debug)]
pub(super) struct Memtables {
    held: MonthBytes,
    month_bytes_max: u64,
    total_bytes_max: u64,
}

impl MonthBytes {
    /// Counts a row.
    pub(super) fn add_row(&mut self, month: Month, key: &[u8], value: &[u8]) {
        let bytes = (key.len() + value.len()) as u64 + ROW_OVERHEAD_BYTES;
        *self.0.entry(month).or_default() += bytes;
    }
}

impl Memtables {
    /// Nothing is held. fjall writes a month itself beyond `month_bytes_max`.
    pub(super) const fn new(month_bytes_max: u64, total_bytes_max: u64) -> Self {
        Self {
            held: MonthBytes(BTreeMap::new()),
            month_bytes_max,
            total_bytes_max,
        }
    }

    /// A month is gone with what it held.
    pub(super) fn forget(&mut self, month: Month) {
        self.held.0.remove(&month);
    }

    /// Notes rows that were added. The months that are to be written now: none, or the largest
    /// ones until the rest hold at most half of what they may.
    pub(super) fn add(&mut self, added: MonthBytes) -> Vec<Month> {
        for (month, bytes) in added.0 {
            let held = self.held.0.entry(month).or_default();
            *held += bytes;
            if *held > self.month_bytes_max {
                self.held.0.remove(&month);
            }
        }
        let mut total: u64 = self.held.0.values().sum();
        if total <= self.total_bytes_max {
            return Vec::new();
        }
        let mut largest: Vec<(u64, Month)> = self
            .held
            .0
            .iter()
            .map(|(month, bytes)| (*bytes, *month))
            .collect();
        largest.sort_unstable();
        let mut due = Vec::new();
        while total > self.total_bytes_max / 2
            && let Some((bytes, month)) = largest.pop()
        {
            total -= bytes;
            self.held.0.remove(&month);
            due.push(month);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(month: i8) -> Month {
        Month { year: 2026, month }
    }

    fn bytes(months: &[(i8, u64)]) -> MonthBytes {
        MonthBytes(
            months
                .iter()
                .map(|(number, bytes)| (month(*number), *bytes))
                .collect(),
        )
    }

    #[test]
    fn the_largest_months_are_due_when_all_hold_too_much() {
        let mut memtables = Memtables::new(100, 200);
        assert_eq!(memtables.add(bytes(&[(1, 90), (2, 30), (3, 80)])), []);
        assert_eq!(memtables.add(bytes(&[(2, 1)])), [month(1), month(3)]);
        assert_eq!(memtables.add(bytes(&[(1, 90), (3, 79)])), []);
    }

    #[test]
    fn a_month_that_fjall_writes_itself_counts_no_more() {
        let mut memtables = Memtables::new(100, 200);
        for _ in 0..10 {
            assert_eq!(memtables.add(bytes(&[(1, 60), (2, 60)])), []);
        }
    }
}
