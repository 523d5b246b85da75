//! Spelling suggestions: "did you mean …?"

use strsim::levenshtein;

/// Returns the candidate with the smallest edit distance to `word`, unless that is more than half of the longer word.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        assert_eq!(nearest("hostnam", ["hostname", "data_dir"]), Some("hostname"));
        assert_eq!(nearest("zzzzzzzz", ["hostname", "data_dir"]), None);
    }
}
