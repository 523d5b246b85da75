//! Generators of values.

use bytes::BytesMut;
use ferrohub_amqp::{Descriptor, Encoder, Symbol};
use proptest::{collection::vec, prelude::*};

/// A value that owns its parts, so that proptest can make it.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Null,
    Boolean(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Int(i32),
    Long(i64),
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Vec<u8>),
    String(String),
    Symbol(String),
    Strings(Vec<String>),
    Symbols(Vec<String>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Described(u64, Box<Tree>),
    Named(String, Box<Tree>),
}

impl Tree {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            Self::Null => encoder.null(),
            Self::Boolean(value) => encoder.boolean(*value),
            Self::Ubyte(value) => encoder.ubyte(*value),
            Self::Ushort(value) => encoder.ushort(*value),
            Self::Uint(value) => encoder.uint(*value),
            Self::Ulong(value) => encoder.ulong(*value),
            Self::Int(value) => encoder.int(*value),
            Self::Long(value) => encoder.long(*value),
            Self::Timestamp(value) => encoder.timestamp(*value),
            Self::Uuid(value) => encoder.uuid(value),
            Self::Binary(value) => encoder.binary(value),
            Self::String(value) => encoder.string(value),
            Self::Symbol(value) => encoder.symbol(value),
            Self::Strings(values) => encoder.strings(values.iter().map(String::as_str)),
            Self::Symbols(values) => encoder.symbols(values.iter().map(String::as_str)),
            Self::List(items) => encoder.list(|list| items.iter().for_each(|item| item.encode(list))),
            Self::Map(pairs) => encoder.map(|map| {
                for (key, value) in pairs {
                    key.encode(map);
                    value.encode(map);
                }
            }),
            Self::Described(code, value) => {
                encoder.described(Descriptor::Code(*code), |encoder| value.encode(encoder));
            }
            Self::Named(name, value) => {
                encoder.described(Descriptor::Symbol(Symbol(name)), |encoder| value.encode(encoder));
            }
        }
    }

    pub(crate) fn encoded(&self) -> BytesMut {
        let mut bytes = BytesMut::new();
        self.encode(&mut Encoder::new(&mut bytes));
        bytes
    }
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    // Sometimes around the length where the size needs four bytes.
    prop_oneof![8 => "[ -~]{0,20}", 1 => "\\PC{0,10}", 1 => "[a-z]{250,260}"]
}

pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Boolean),
        any::<u8>().prop_map(Tree::Ubyte),
        any::<u16>().prop_map(Tree::Ushort),
        any::<u32>().prop_map(Tree::Uint),
        (0..300_u32).prop_map(Tree::Uint),
        any::<u64>().prop_map(Tree::Ulong),
        (0..300_u64).prop_map(Tree::Ulong),
        any::<i32>().prop_map(Tree::Int),
        any::<i64>().prop_map(Tree::Long),
        any::<i64>().prop_map(Tree::Timestamp),
        any::<[u8; 16]>().prop_map(Tree::Uuid),
        vec(any::<u8>(), 0..300).prop_map(Tree::Binary),
        text().prop_map(Tree::String),
        text().prop_map(Tree::Symbol),
        vec(text(), 0..5).prop_map(Tree::Strings),
        vec(text(), 0..5).prop_map(Tree::Symbols),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Tree::List),
            vec((inner.clone(), inner.clone()), 0..5).prop_map(Tree::Map),
            (any::<u64>(), inner.clone()).prop_map(|(code, value)| Tree::Described(code, Box::new(value))),
            (text(), inner).prop_map(|(name, value)| Tree::Named(name, Box::new(value))),
        ]
    })
}
