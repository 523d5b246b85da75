//! Encoding and decoding are inverse to each other.

use bytes::BytesMut;
use ferrohub_amqp::{Descriptor, Encoder, Map, Value};
use proptest::prelude::*;

use crate::values::{Tree, tree};

/// Compares a decoded value with the tree that it was encoded from, element by element.
fn same(tree: &Tree, value: Value<'_>) -> bool {
    match (tree, value) {
        (Tree::Null, Value::Null) => true,
        (Tree::Boolean(a), Value::Boolean(b)) => *a == b,
        (Tree::Ubyte(a), Value::Ubyte(b)) => *a == b,
        (Tree::Ushort(a), Value::Ushort(b)) => *a == b,
        (Tree::Uint(a), Value::Uint(b)) => *a == b,
        (Tree::Ulong(a), Value::Ulong(b)) => *a == b,
        (Tree::Int(a), Value::Int(b)) => *a == b,
        (Tree::Long(a), Value::Long(b)) | (Tree::Timestamp(a), Value::Timestamp(b)) => *a == b,
        (Tree::Uuid(a), Value::Uuid(b)) => *a == b,
        (Tree::Binary(a), Value::Binary(b)) => a == b,
        (Tree::String(a), Value::String(b)) => a == b,
        (Tree::Symbol(a), Value::Symbol(b)) => a == b.0,
        (Tree::Strings(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| b == Value::String(a))
        }
        (Tree::Symbols(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| matches!(b, Value::Symbol(b) if b.0 == a))
        }
        (Tree::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Tree::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, (key, value))| same(&a.0, key) && same(&a.1, value))
        }
        (Tree::Described(code, a), Value::Described(b)) => {
            b.descriptor == Descriptor::Code(*code) && same(a, b.value())
        }
        (Tree::Named(name, a), Value::Described(b)) => {
            matches!(b.descriptor, Descriptor::Symbol(symbol) if symbol.0 == name) && same(a, b.value())
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_decoded_value_is_the_encoded_one(tree in tree()) {
        let bytes = tree.encoded();
        let mut input = &bytes[..];
        let value = Value::decode(&mut input).unwrap();
        prop_assert!(input.is_empty());
        prop_assert!(same(&tree, value), "{tree:?} != {value:?}");

        let mut again = BytesMut::new();
        Encoder::new(&mut again).value(&value);
        prop_assert_eq!(&again[..], &bytes[..]);
    }

    #[test]
    fn a_shortened_value_is_refused(tree in tree(), len in any::<prop::sample::Index>()) {
        let bytes = tree.encoded();
        prop_assert!(Value::decode(&mut &bytes[..len.index(bytes.len())]).is_err());
    }

    #[test]
    fn hostile_bytes_decode_to_a_value_that_can_be_walked_and_encoded_or_are_refused(
        tree in tree(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = tree.encoded();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(value) = Value::decode(&mut &bytes[..]) {
            let mut again = BytesMut::new();
            Encoder::new(&mut again).value(&value);
            // Numbers that are not in their shortest form may become shorter, so the bytes may differ.
            let decoded = Value::decode(&mut &again[..]).unwrap();
            let mut third = BytesMut::new();
            Encoder::new(&mut third).value(&decoded);
            prop_assert_eq!(again, third);
            walk(value);
        }
    }
}

/// Visits everything inside: the number of elements is what the value says.
fn walk(value: Value<'_>) {
    match value {
        Value::List(list) => assert_eq!(list.iter().map(walk).count(), list.len()),
        Value::Array(array) => assert_eq!(array.iter().map(walk).count(), array.len()),
        Value::Map(map) => {
            let walked = map.iter().map(|(key, value)| {
                walk(key);
                walk(value);
            });
            assert_eq!(walked.count(), map.len());
        }
        Value::Described(described) => walk(described.value()),
        _ => {}
    }
}

#[test]
fn a_map_is_searched_by_symbols_and_strings() {
    let mut bytes = BytesMut::new();
    Encoder::new(&mut bytes).map(|map| {
        map.symbol("product");
        map.string("a");
        map.string("version");
        map.string("b");
        map.ulong(7);
        map.string("c");
    });
    let map = Map::decode(&bytes).unwrap();
    assert_eq!(map.get("product"), Some(Value::String("a")));
    assert_eq!(map.get("version"), Some(Value::String("b")));
    assert_eq!((map.get("7"), map.len()), (None, 3));
}
