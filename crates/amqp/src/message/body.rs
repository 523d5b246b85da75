//! The body of a message (AMQP §3.2.6 to 3.2.8).

use std::borrow::Cow;

use crate::codec::{DecodeError, List, Value, described, section};

/// The body of a message.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// No body.
    Absent,
    /// Bytes.
    Data(Data<'a>),
    /// Lists.
    Sequences(Sequences<'a>),
    /// One value.
    Value(Value<'a>),
}

/// The bytes of the data sections of a message.
#[derive(Debug, Clone)]
pub struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    /// Takes sections that [`data`] has accepted.
    pub(super) fn new(sections: &'a [u8]) -> Self {
        Self(sections)
    }

    /// Returns all bytes: those of the only section, or a copy of the bytes of all.
    #[must_use]
    pub fn concat(mut self) -> Cow<'a, [u8]> {
        let first = self.next().unwrap_or_default();
        match self.0 {
            [] => Cow::Borrowed(first),
            _ => Cow::Owned(std::iter::once(first).chain(self).flatten().copied().collect()),
        }
    }
}

impl<'a> Iterator for Data<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (_, raw) = section(&mut self.0).ok()?;
        data(raw).ok()
    }
}

/// Returns the bytes of one data section.
pub(super) fn data(mut raw: &[u8]) -> Result<&[u8], DecodeError> {
    match described(&mut raw)?.value() {
        Value::Binary(bytes) => Ok(bytes),
        _ => Err(DecodeError::NotComposite),
    }
}

/// The lists of the sequence sections of a message.
#[derive(Debug, Clone)]
pub struct Sequences<'a>(&'a [u8]);

impl<'a> Sequences<'a> {
    pub(super) fn new(sections: &'a [u8]) -> Self {
        Self(sections)
    }
}

impl<'a> Iterator for Sequences<'a> {
    type Item = Result<List<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some(match described(&mut self.0).map(|described| described.value()) {
            Ok(Value::List(list)) => Ok(list),
            Ok(_) => Err(DecodeError::NotComposite),
            Err(error) => {
                self.0 = &[];
                Err(error)
            }
        })
    }
}
