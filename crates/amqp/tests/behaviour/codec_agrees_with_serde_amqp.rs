//! What this codec encodes, an independent implementation reads as the same, and the other way round.

use std::fmt::Debug;

use bytes::BytesMut;
use fe2o3_amqp_types::{
    performatives::{Attach, Begin, Close, Detach, Disposition, End, Flow, Open, Transfer},
    sasl::{SaslInit, SaslMechanisms, SaslOutcome},
};
use ferrohub_amqp::{
    frame::{Frame, FrameType},
    performative::{Performative, SaslFrame},
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;

use crate::{
    captures::{self, Line},
    values::{Tree, tree},
};

/// Whether the other implementation reads both as the same. `None` if it cannot read the first.
fn same<T: DeserializeOwned + Debug>(original: &[u8], encoded: &[u8]) -> Option<bool> {
    let text = |bytes| serde_amqp::from_slice::<T>(bytes).map(|value| format!("{value:?}"));
    let original = text(original).ok()?;
    Some(text(encoded).is_ok_and(|encoded| encoded == original))
}

fn agree(line: &Line) -> Option<bool> {
    let frame = Frame::decode(&line.bytes).unwrap();
    let mut encoded = BytesMut::new();
    if frame.kind == FrameType::Sasl {
        let sasl = SaslFrame::decode(frame.body).unwrap();
        sasl.encode(&mut encoded);
        return match sasl {
            SaslFrame::Init(_) => same::<SaslInit>(frame.body, &encoded),
            SaslFrame::Mechanisms(_) => same::<SaslMechanisms>(frame.body, &encoded),
            SaslFrame::Outcome(_) => same::<SaslOutcome>(frame.body, &encoded),
        };
    }
    if frame.body.is_empty() {
        return Some(true);
    }
    let (performative, payload) = Performative::decode(frame.body).unwrap();
    let original = &frame.body[..frame.body.len() - payload.len()];
    performative.encode(&mut encoded);
    match performative {
        Performative::Open(_) => same::<Open>(original, &encoded),
        Performative::Begin(_) => same::<Begin>(original, &encoded),
        Performative::Attach(_) => same::<Attach>(original, &encoded),
        Performative::Flow(_) => same::<Flow>(original, &encoded),
        Performative::Transfer(_) => same::<Transfer>(original, &encoded),
        Performative::Disposition(_) => same::<Disposition>(original, &encoded),
        Performative::Detach(_) => same::<Detach>(original, &encoded),
        Performative::End(_) => same::<End>(original, &encoded),
        Performative::Close(_) => same::<Close>(original, &encoded),
    }
}

#[test]
fn captured_performatives_are_read_as_the_same_before_and_after() {
    let lines = captures::all().into_iter().flat_map(|capture| capture.sections).flatten();
    let mut unreadable = Vec::new();
    for line in lines.filter(|line| !line.is_header()) {
        match agree(&line) {
            Some(agree) => assert!(agree, "{}", line.place),
            None => unreadable.push(line.place),
        }
    }
    // Opens of the Azure command line, whose properties are keyed by strings.
    assert!(unreadable.iter().all(|place| place.starts_with("redirect-cli")), "{unreadable:?}");
    assert_eq!(unreadable.len(), 1);
}

fn has_no_empty_array(tree: &Tree) -> bool {
    match tree {
        Tree::Strings(items) | Tree::Symbols(items) => !items.is_empty(),
        Tree::List(items) => items.iter().all(has_no_empty_array),
        Tree::Map(pairs) => {
            pairs.iter().all(|(key, value)| has_no_empty_array(key) && has_no_empty_array(value))
        }
        Tree::Described(_, value) | Tree::Named(_, value) => has_no_empty_array(value),
        _ => true,
    }
}

/// Whether the other implementation has read a value as what it was encoded from.
fn is_read_as(tree: &Tree, value: &serde_amqp::Value) -> bool {
    use serde_amqp::Value as V;
    match (tree, value) {
        (Tree::Null, V::Null) => true,
        (Tree::Boolean(a), V::Bool(b)) => a == b,
        (Tree::Ubyte(a), V::Ubyte(b)) => a == b,
        (Tree::Ushort(a), V::Ushort(b)) => a == b,
        (Tree::Uint(a), V::Uint(b)) => a == b,
        (Tree::Ulong(a), V::Ulong(b)) => a == b,
        (Tree::Int(a), V::Int(b)) => a == b,
        (Tree::Long(a), V::Long(b)) => a == b,
        (Tree::Timestamp(a), V::Timestamp(b)) => *a == b.milliseconds(),
        (Tree::Uuid(a), V::Uuid(b)) => a == b.as_inner(),
        (Tree::Binary(a), V::Binary(b)) => *a == **b,
        (Tree::String(a), V::String(b)) => a == b,
        (Tree::Symbol(a), V::Symbol(b)) => *a == b.0,
        (Tree::Strings(a) | Tree::Symbols(a), V::Array(b)) => a.len() == b.len(),
        (Tree::List(a), V::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_read_as(a, b)),
        // Its map keeps one of several equal keys.
        (Tree::Map(a), V::Map(b)) => b.len() <= a.len(),
        (Tree::Described(_, a) | Tree::Named(_, a), V::Described(b)) => is_read_as(a, &b.value),
        _ => false,
    }
}

proptest! {
    #[test]
    fn values_are_read_as_the_same(
        tree in tree().prop_filter("serde_amqp cannot read empty arrays", has_no_empty_array),
    ) {
        let bytes = tree.encoded();
        let theirs: serde_amqp::Value = serde_amqp::from_slice(&bytes).unwrap();
        prop_assert!(is_read_as(&tree, &theirs), "{tree:?} {theirs:?}");
    }
}
