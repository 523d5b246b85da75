//! Finds the word that was probably meant.

/// Longer words are not compared.
const LONGEST: usize = 24;

/// Returns the candidate that differs from `word` in at most two edits, and in less than half of its letters. The case
/// does not matter.
pub(super) fn closest(
    word: &str,
    candidates: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    if word.len() > LONGEST {
        return None;
    }
    let distances = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (distance, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance * 2 < candidate.len()).then_some(candidate)
}

/// The number of insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let lower = |text: &str| -> Vec<u8> { text.to_ascii_lowercase().into_bytes() };
    let (from, to) = (lower(from), lower(to));
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX);
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, byte) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let replaced = at(&last, column) + usize::from(byte != other);
            let edited = at(&last, column + 1).min(at(&current, column)) + 1;
            let is_swap =
                row > 0 && column > 0 && from.get(row - 1) == Some(other) && to.get(column - 1) == Some(byte);
            let swapped = if is_swap { at(&before_last, column - 1) + 1 } else { usize::MAX };
            current.push(replaced.min(edited).min(swapped));
        }
        before_last = std::mem::replace(&mut last, current);
    }
    at(&last, to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in [
            ("from", "FROM", 0),
            ("form", "from", 1),
            ("selct", "select", 1),
            ("", "ab", 2),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn only_a_similar_word_is_suggested() {
        let words = ["STARTSWITH", "ENDSWITH", "OR"];
        assert_eq!(closest("starts_with", words), Some("STARTSWITH"));
        assert_eq!(closest("EndWith", words), Some("ENDSWITH"));
        assert_eq!(closest("if", words), None);
        assert_eq!(closest(&"x".repeat(10_000), words), None);
    }
}
