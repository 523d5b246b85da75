//! Text → tokens.
//!
//! Three rules depend on what precedes: a dot directly after a name is not the start of a number, `[[` always begins a
//! quoted name, and a hyphen inside a name belongs to it.

mod number;
mod string;

use crate::error::{Failure, Hint, Parse, Reason};
use crate::token::{Lexeme, Symbol, Token, continues_name, starts_name};

/// Reads one token after the other.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Whether the last token was a name or a closing bracket, so that a dot continues a path.
    after_name: bool,
    /// Whether the last token was a dot, so that a name follows.
    after_dot: bool,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, after_name: false, after_dot: false }
    }

    /// Returns the whole text.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Reads the next token; [`Token::End`] at the end and ever after.
    pub(crate) fn next(&mut self) -> Parse<Lexeme<'t>> {
        let adjacent = self.at;
        self.skip_blanks()?;
        let start = self.at;
        let mut following = self.rest().chars();
        let token = match (following.next(), following.next()) {
            (None, _) => Token::End,
            (Some(quote @ ('\'' | '"')), _) => self.string(quote)?,
            (Some('0'..='9'), _) => self.number(self.after_dot)?,
            (Some('.'), Some('0'..='9')) if !(self.after_name && start == adjacent) => self.number(false)?,
            (Some('['), Some('[')) => self.quoted_name()?,
            (Some(first), _) if starts_name(first) => Token::Word(self.take_while(continues_name)),
            (Some(first), _) => Token::Symbol(self.symbol(first)?),
        };
        self.after_name =
            matches!(token, Token::Word(_) | Token::QuotedName(_) | Token::Symbol(Symbol::CloseBracket));
        self.after_dot = token == Token::Symbol(Symbol::Dot);
        Ok(Lexeme { token, start, end: self.at })
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes the characters up to the first that does not match.
    fn take_while(&mut self, matches: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|character| !matches(character)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_blanks(&mut self) -> Parse<()> {
        loop {
            self.take_while(char::is_whitespace);
            let Some(comment) = self.rest().strip_prefix("/*") else { return Ok(()) };
            let end = comment.find("*/");
            self.at += end.ok_or_else(|| Failure::new(Reason::UnterminatedComment, self.at))? + 4;
        }
    }

    /// Reads `[[name]]`. The name may contain anything but `]]`.
    fn quoted_name(&mut self) -> Parse<Token<'t>> {
        let start = self.at;
        let content = self.rest().get(2..).unwrap_or_default();
        let length = content.find("]]").ok_or_else(|| Failure::new(Reason::UnterminatedName, start))?;
        if length == 0 {
            return Err(Failure::new(Reason::EmptyName, start));
        }
        self.at += length + 4;
        Ok(Token::QuotedName(content.get(..length).unwrap_or_default()))
    }

    fn symbol(&mut self, first: char) -> Parse<Symbol> {
        let rest = self.rest();
        if rest.starts_with("==") {
            return Err(Failure::new(Reason::Character('='), self.at + 1).hint(Hint::SingleEqual));
        }
        if let Some((text, symbol)) = Symbol::ALL.iter().find(|(text, _)| rest.starts_with(text)) {
            self.at += text.len();
            return Ok(*symbol);
        }
        let hint = match first {
            '\u{2018}'..='\u{201f}' | '`' | '\u{b4}' | '\u{ab}' | '\u{bb}' => Some(Hint::StraightQuotes),
            '&' => Some(Hint::UseAnd),
            '|' => Some(Hint::UseOr),
            '!' => Some(Hint::UseNot),
            _ => None,
        };
        Err(Failure::new(Reason::Character(first), self.at).hint(hint))
    }
}

#[cfg(test)]
mod tests;
