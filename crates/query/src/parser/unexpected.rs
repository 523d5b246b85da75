//! Errors for tokens that are not allowed, with advice.

use super::Parser;
use super::suggestion::closest;
use crate::error::{Failure, Hint, Reason};
use crate::token::{Token, continues_name};

/// SQL that this language does not have: the word, its name in the error, and what to use instead.
const UNSUPPORTED: [(&str, &str, Option<Hint>); 13] = [
    ("ORDER", "ORDER BY", Some(Hint::FixedOrder)),
    ("HAVING", "HAVING", Some(Hint::FilterGroups)),
    ("LIKE", "LIKE", Some(Hint::UseStartsWith)),
    ("BETWEEN", "BETWEEN", Some(Hint::UseComparisons)),
    ("IS", "IS", Some(Hint::UseIsNull)),
    ("LIMIT", "LIMIT", Some(Hint::UseTop)),
    ("OFFSET", "OFFSET", None),
    ("JOIN", "JOIN", None),
    ("INNER", "JOIN", None),
    ("LEFT", "JOIN", None),
    ("UNION", "UNION", None),
    ("DISTINCT", "DISTINCT", Some(Hint::UseGroupBy)),
    ("SELECT", "a sub-select", None),
];

/// Words that can follow in a query.
const KEYWORDS: [&str; 6] = ["SELECT", "FROM", "WHERE", "GROUP", "AND", "OR"];
const COLLECTIONS: [&str; 3] = ["devices", "devices.modules", "devices.jobs"];

/// Longest text of the query in an error, in characters.
const QUOTED_CHARACTERS: usize = 32;

impl Parser<'_> {
    /// Returns the error that the current token is not `expected`.
    pub(super) fn unexpected(&self, expected: &'static str) -> Box<Failure> {
        let offset = self.current.start;
        let mut hint = self.advice(expected);
        if let Token::Word(word) = self.current.token {
            let unsupported = UNSUPPORTED.iter().find(|(name, ..)| name.eq_ignore_ascii_case(word));
            // A second query is no sub-select.
            let is_second_query = self.text_before().ends_with(';');
            if let Some((_, name, instead)) = unsupported
                && !is_second_query
            {
                return Failure::new(Reason::NotSupported(name), offset).hint(instead.clone());
            }
            hint = meant(word, expected).or(hint);
        }
        self.not_expected(expected).hint(hint)
    }

    /// Returns the error that the current token is not `expected`, without advice.
    pub(super) fn not_expected(&self, expected: &'static str) -> Box<Failure> {
        let offset = self.current.start;
        let found = match self.current.token {
            Token::End => "the end of the text".to_owned(),
            _ => format!("\"{}\"", self.excerpt(offset, self.current.end)),
        };
        Failure::new(Reason::Expected { expected, found }, offset)
    }

    fn advice(&self, expected: &str) -> Option<Hint> {
        let mut before = self.text_before().chars().rev();
        if before.next() == Some('-') && before.next().is_some_and(continues_name) {
            return Some(Hint::BlankBeforeMinus);
        }
        if !follows_expression(expected) {
            return None;
        }
        match (self.bare_word, &self.current.token) {
            (Some((start, end)), Token::Word(_) | Token::Integer(_) | Token::Float(_))
                if end == self.previous_end =>
            {
                Some(Hint::QuoteString(self.excerpt(start, self.current.end)))
            }
            (_, Token::Symbol(symbol)) if symbol.is_comparison() => Some(Hint::ChainedComparison),
            _ => None,
        }
    }

    /// The text up to the end of the last token before the current one.
    fn text_before(&self) -> &str {
        self.lexer.text().get(..self.previous_end).unwrap_or_default()
    }

    /// Returns a part of the text, shortened.
    fn excerpt(&self, start: usize, end: usize) -> String {
        let text = self.lexer.text().get(start..end).unwrap_or_default();
        match text.char_indices().nth(QUOTED_CHARACTERS) {
            Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
            None => text.to_owned(),
        }
    }
}

/// Returns whether what is expected follows a complete expression.
fn follows_expression(expected: &str) -> bool {
    expected.starts_with("AND") || expected.starts_with("an operator")
}

/// Returns the expected word that is similar to the found one.
fn meant(word: &str, expected: &str) -> Option<Hint> {
    let words = KEYWORDS.iter().chain(&COLLECTIONS).copied().filter(|candidate| expected.contains(candidate));
    closest(word, words).map(Hint::DidYouMean)
}
