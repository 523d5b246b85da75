//! String literals.

use std::borrow::Cow;

use super::Lexer;
use crate::error::{Failure, Hint, Parse, Reason};
use crate::token::Token;

impl<'t> Lexer<'t> {
    /// Reads a string literal. Inside, the quote is written twice or after a backslash.
    pub(super) fn string(&mut self, quote: char) -> Parse<Token<'t>> {
        let start = self.at;
        self.at += 1;
        // The content up to `copied` is in `value`; without an escape nothing is copied.
        let (mut value, mut copied) = (String::new(), self.at);
        loop {
            let rest = self.rest();
            let next = rest.find([quote, '\\']);
            self.at += next.ok_or_else(|| Failure::new(Reason::UnterminatedString, start))?;
            let plain = self.text.get(copied..self.at).unwrap_or_default();
            let mut rest = self.rest().chars();
            let character = match (rest.next(), rest.next()) {
                (Some('\\'), _) => self.escape()?,
                (_, Some(second)) if second == quote => {
                    self.at += 2;
                    quote
                }
                _ => {
                    self.at += 1;
                    let value = if value.is_empty() { Cow::Borrowed(plain) } else { (value + plain).into() };
                    return Ok(Token::Text(value));
                }
            };
            value.push_str(plain);
            value.push(character);
            copied = self.at;
        }
    }

    /// Reads an escape that begins at the current position.
    fn escape(&mut self) -> Parse<char> {
        let start = self.at;
        let kind = self.rest().chars().nth(1);
        match kind {
            Some(character @ ('\'' | '"' | '\\')) => {
                self.at += 2;
                Ok(character)
            }
            Some('u') => {
                let first = self.code_unit()?;
                let mut units = vec![first];
                if matches!(first, 0xd800..=0xdbff) && self.rest().starts_with("\\u") {
                    units.push(self.code_unit()?);
                }
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(character)), None) => Ok(character),
                    _ => Err(Failure::new(Reason::LoneSurrogate, start)),
                }
            }
            _ => Err(Failure::new(Reason::Escape, start).hint(Hint::Escapes)),
        }
    }

    /// Reads `\uXXXX`.
    fn code_unit(&mut self) -> Parse<u16> {
        let start = self.at;
        let digits =
            self.rest().get(2..6).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        self.at += 6;
        unit.ok_or_else(|| Failure::new(Reason::Escape, start).hint(Hint::Escapes))
    }
}
