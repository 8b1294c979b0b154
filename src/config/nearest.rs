//! The known word that somebody probably meant.
//!
//! Levenshtein's distance (insert, delete, replace), bounded by a third of the word's length, so
//! that nothing far-fetched is proposed. Pure.

/// The candidate with the fewest differences from `word`, the first of equals; none if all differ
/// in more than a third of the letters.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Number of letters to insert, delete or replace to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().enumerate() {
        let mut left = row + 1;
        let mut current = vec![left];
        let diagonals = above.iter().zip(above.iter().skip(1));
        for (other, (diagonal, up)) in to.iter().zip(diagonals) {
            let replaced = diagonal + usize::from(letter != *other);
            left = replaced.min(up + 1).min(left + 1);
            current.push(left);
        }
        above = current;
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_inserted_deleted_and_replaced_letters() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("port", "port", 0),
            ("port", "ports", 1),
            ("prot", "port", 2),
            ("kitten", "sitting", 3),
        ];
        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn only_a_word_that_is_near_is_proposed() {
        let words = ["cluster", "vehicles", "link"];
        assert_eq!(nearest("clustr", words), Some("cluster"));
        assert_eq!(nearest("vehicels", words), Some("vehicles"));
        assert_eq!(nearest("temperature", words), None);
    }
}
