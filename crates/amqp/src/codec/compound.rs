//! Lists, maps and arrays: views of bytes that were checked before.

use super::{Described, Descriptor, Value, decode};

/// A list (AMQP §1.6.22).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct List<'a> {
    pub(super) count: u32,
    pub(super) items: &'a [u8],
}

impl<'a> List<'a> {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether the list has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates over the elements.
    #[must_use]
    pub fn iter(&self) -> Items<'a> {
        Items { count: self.count, items: self.items, array: None }
    }
}

/// A map (AMQP §1.6.23) in the order of its encoding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Map<'a> {
    /// The number of keys and values together.
    pub(super) count: u32,
    pub(super) items: &'a [u8],
}

impl<'a> Map<'a> {
    /// Decodes a map that is the whole of `bytes`, such as one written by [`Encoder::map`](super::Encoder::map).
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, super::DecodeError> {
        match decode::value(&mut bytes)? {
            Value::Map(map) if bytes.is_empty() => Ok(map),
            Value::Map(_) => Err(super::DecodeError::TrailingBytes),
            _ => Err(super::DecodeError::NotComposite),
        }
    }

    /// Returns the number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.count / 2) as usize
    }

    /// Returns whether the map has no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates over keys and values.
    #[must_use]
    pub fn iter(&self) -> Pairs<'a> {
        Pairs(Items::of(self))
    }

    /// Returns the first value with this key, which may be a symbol or a string: clients mix them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }
}

/// An array (AMQP §1.6.24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    pub(super) count: u32,
    pub(super) element: Element<'a>,
    pub(super) items: &'a [u8],
}

/// The constructor that all elements of an array share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) descriptor: Option<Descriptor<'a>>,
    pub(super) constructor: u8,
}

impl<'a> Array<'a> {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether the array has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates over the elements.
    #[must_use]
    pub fn iter(&self) -> Items<'a> {
        Items { count: self.count, items: self.items, array: Some(self.element) }
    }
}

/// The elements of a list or array.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    count: u32,
    items: &'a [u8],
    array: Option<Element<'a>>,
}

impl<'a> Items<'a> {
    /// Keys and values of a map, one after the other.
    pub(super) fn of(map: &Map<'a>) -> Self {
        Items { count: map.count, items: map.items, array: None }
    }

    /// The number of elements that are left.
    pub(super) fn left(&self) -> u32 {
        self.count
    }

    /// Decodes the next element, without a check of what is inside it.
    pub(super) fn next_checked(&mut self) -> Result<Value<'a>, super::DecodeError> {
        let Some(Element { descriptor, constructor }) = self.array else {
            return decode::shallow(&mut self.items);
        };
        let start = self.items;
        let value = decode::body(constructor, &mut self.items)?;
        let Some(descriptor) = descriptor else {
            return Ok(value);
        };
        let len = start.len() - self.items.len();
        let body = start.get(..len).unwrap_or_default();
        Ok(Value::Described(Described { descriptor, constructor, body }))
    }

    /// Bytes that no element has used.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.items
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.count = self.count.checked_sub(1)?;
        // The elements were checked when the compound value was decoded.
        self.next_checked().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.count as usize))
    }
}

/// The keys and values of a map.
#[derive(Debug, Clone)]
pub struct Pairs<'a>(Items<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Map<'a> {
    type Item = (Value<'a>, Value<'a>);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}
