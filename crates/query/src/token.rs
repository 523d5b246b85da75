//! The tokens of the language.

use std::borrow::Cow;

/// A token and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lexeme<'t> {
    pub(crate) token: Token<'t>,
    /// Offset of its first byte.
    pub(crate) start: usize,
    /// Offset after its last byte.
    pub(crate) end: usize,
}

/// The smallest unit of the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'t> {
    /// A keyword, a name or the name of a function.
    Word(&'t str),
    /// A name in double brackets: `[[my name]]`.
    QuotedName(&'t str),
    /// A number without fraction and exponent that fits 64 bits without sign. A sign is a token of its own.
    Integer(u64),
    /// Any other number; always finite.
    Float(f64),
    /// A string literal without its quotes and escapes.
    Text(Cow<'t, str>),
    Symbol(Symbol),
    /// The end of the text.
    End,
}

/// An operator or a delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    OpenParenthesis,
    CloseParenthesis,
    OpenBracket,
    CloseBracket,
    Comma,
    Dot,
    Semicolon,
    Star,
    Slash,
    Percent,
    Plus,
    Minus,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Symbol {
    /// All spellings; longer ones before their own prefixes.
    pub(crate) const ALL: [(&'static str, Self); 19] = [
        ("!=", Self::NotEqual),
        ("<>", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("(", Self::OpenParenthesis),
        (")", Self::CloseParenthesis),
        ("[", Self::OpenBracket),
        ("]", Self::CloseBracket),
        (",", Self::Comma),
        (".", Self::Dot),
        (";", Self::Semicolon),
        ("*", Self::Star),
        ("/", Self::Slash),
        ("%", Self::Percent),
        ("+", Self::Plus),
        ("-", Self::Minus),
        ("=", Self::Equal),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }
}

/// Returns whether a character can begin a name.
pub(crate) fn starts_name(character: char) -> bool {
    matches!(character, '_' | '$') || character.is_alphabetic()
}

/// Returns whether a character can continue a name. A hyphen belongs to the name.
pub(crate) fn continues_name(character: char) -> bool {
    matches!(character, '_' | '$' | '-') || character.is_alphanumeric()
}

/// Returns whether a text is a name that needs no quotes after a dot.
pub(crate) fn is_name(text: &str) -> bool {
    text.chars().next().is_some_and(starts_name) && text.chars().all(continues_name)
}
