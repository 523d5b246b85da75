//! Numbers: decimal with optional fraction and exponent, or hexadecimal.

use super::Lexer;
use crate::error::{Failure, Hint, Parse, Reason};
use crate::token::{Token, continues_name};

impl<'t> Lexer<'t> {
    /// Reads a number. With `as_name`, it stands where a name is expected; the hint of an error says how to quote one.
    pub(super) fn number(&mut self, as_name: bool) -> Parse<Token<'t>> {
        let start = self.at;
        let hexadecimal = self.rest().get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
        if hexadecimal {
            self.at += 2;
            self.take_while(|digit| digit.is_ascii_hexdigit());
        } else {
            self.take_while(|digit| digit.is_ascii_digit());
            self.fraction();
            self.exponent();
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        // `12abc` and `1e` are neither numbers nor names. A minus after a number is an operator.
        let extended = self.rest().starts_with(|next| next != '-' && continues_name(next));
        if extended || (hexadecimal && digits.len() == 2) {
            self.take_while(continues_name);
            let word: String = self.text.get(start..self.at).unwrap_or_default().chars().take(32).collect();
            let hint = as_name.then(|| Hint::QuoteName(word.clone()));
            return Err(Failure::new(Reason::Number(word), start).hint(hint));
        }
        let too_large = || Failure::new(Reason::NumberTooLarge, start);
        if hexadecimal {
            let digits = digits.get(2..).unwrap_or_default();
            return u64::from_str_radix(digits, 16).map(Token::Integer).map_err(|_| too_large());
        }
        if let Ok(integer) = digits.parse() {
            return Ok(Token::Integer(integer));
        }
        let float = digits.parse().ok().filter(|float: &f64| float.is_finite());
        float.map(Token::Float).ok_or_else(too_large)
    }

    fn fraction(&mut self) {
        let rest = self.rest().as_bytes();
        if rest.first() == Some(&b'.') && rest.get(1).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
            self.take_while(|digit| digit.is_ascii_digit());
        }
    }

    fn exponent(&mut self) {
        let rest = self.rest();
        let Some(exponent) = rest.strip_prefix(['e', 'E']) else { return };
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.starts_with(|digit: char| digit.is_ascii_digit()) {
            self.at += rest.len() - digits.len();
            self.take_while(|digit| digit.is_ascii_digit());
        }
    }
}
