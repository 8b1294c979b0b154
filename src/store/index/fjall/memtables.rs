//! Which months are to be written when all of them hold too much in memory, so that late records of many
//! months do not fill it: fjall limits each keyspace, not their sum. Pure.

use crate::types::time::Month;

/// Of months with what they hold in bytes: none, or, where they hold more than `bytes_max` together, the
/// largest ones until the rest hold at most half of it.
pub(super) fn due(mut months: Vec<(u64, Month)>, bytes_max: u64) -> Vec<Month> {
    let mut total: u64 = months.iter().map(|(bytes, _)| bytes).sum();
    if total <= bytes_max {
        return Vec::new();
    }
    months.sort_unstable();
    let mut due = Vec::new();
    while total > bytes_max / 2
        && let Some((bytes, month)) = months.pop()
    {
        total -= bytes;
        due.push(month);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(month: i8) -> Month {
        Month { year: 2026, month }
    }

    #[test]
    fn the_largest_months_are_due_when_all_hold_too_much() {
        let months = |sizes: &[u64]| {
            (1..)
                .map(month)
                .zip(sizes)
                .map(|(it, size)| (*size, it))
                .collect()
        };
        assert_eq!(due(months(&[90, 30, 80]), 200), []);
        assert_eq!(due(months(&[90, 31, 80]), 200), [month(1), month(3)]);
        assert_eq!(due(Vec::new(), 0), []);
    }
}
