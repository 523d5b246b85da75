//! Changes of a digital twin: a JSON Patch (RFC 6902) with the operations `add`, `replace` and `remove`.

use std::fmt;

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::twin::parse_value;

/// Maximum number of operations in a patch.
pub const MAX_PATCH_OPERATIONS: usize = 1000;

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It names the whole digital twin.
    #[error("the path names the whole digital twin; name a property or a component, such as /thermostat1")]
    Root,
    /// It does not begin with a slash.
    #[error("the path does not begin with a slash (RFC 6901)")]
    NoSlash,
    /// `~` is not followed by `0` or `1`.
    #[error("the path contains a ~ that is not ~0 or ~1 (RFC 6901)")]
    Escape,
}

/// The path of a property or component: a JSON Pointer (RFC 6901) with at least one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchPath(Vec<String>);

impl PatchPath {
    /// Parses a pointer such as `/thermostat1/targetTemperature`.
    ///
    /// # Errors
    /// If it is none, or names the whole document.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        match text.strip_prefix('/') {
            None if text.is_empty() => Err(InvalidPath::Root),
            None => Err(InvalidPath::NoSlash),
            Some(rest) => rest.split('/').map(unescape).collect::<Result<_, _>>().map(Self),
        }
    }

    /// Returns the segments, of which there is at least one.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(segment: &str) -> Result<String, InvalidPath> {
    let mut text = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(InvalidPath::Escape),
            },
            other => other,
        });
    }
    Ok(text)
}

/// One operation of a patch.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchOperation {
    /// Sets a property or component, whether or not it has a value.
    Add(PatchPath, Value),
    /// Sets a property or component that has a value.
    Replace(PatchPath, Value),
    /// Removes the desired value of a property or component.
    Remove(PatchPath),
}

impl PatchOperation {
    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &PatchPath {
        match self {
            Self::Add(path, _) | Self::Replace(path, _) | Self::Remove(path) => path,
        }
    }
}

impl Serialize for PatchOperation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (op, value) = match self {
            Self::Add(_, value) => ("add", Some(value)),
            Self::Replace(_, value) => ("replace", Some(value)),
            Self::Remove(_) => ("remove", None),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", op)?;
        map.serialize_entry("path", &self.path().to_string())?;
        if let Some(value) = value {
            map.serialize_entry("value", value)?;
        }
        map.end()
    }
}

/// Why a text is not a patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatch {
    /// It is not an array of operations.
    #[error("the patch is not a JSON array of operations (RFC 6902): {0}")]
    NotAnArray(String),
    /// It has too many operations.
    #[error("the patch has {0} operations; the maximum is {MAX_PATCH_OPERATIONS}")]
    TooManyOperations(usize),
    /// An operation is not valid.
    #[error("operation {number}: {reason}")]
    Operation {
        /// The number of the operation, from 1.
        number: usize,
        /// What is wrong.
        reason: InvalidPatchReason,
    },
}

/// Why an operation of a patch is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatchReason {
    /// It is not an object with text members `op` and `path`.
    #[error("it is not an object with the texts op and path: {0}")]
    Form(String),
    /// The operation is unknown, or not possible on digital twins.
    #[error("{0:?} is not add, replace or remove; digital twins have no other operations")]
    UnknownOperation(String),
    /// A value is missing.
    #[error("{0} needs a value")]
    NoValue(String),
    /// The value is not valid JSON, such as a text with half of a surrogate pair.
    #[error("the value is not valid JSON: {0}")]
    Value(String),
    /// The path is not valid.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

/// A change of a digital twin: operations that are applied one after the other, or not at all.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct DigitalTwinPatch(Vec<PatchOperation>);

/// An operation as it is read. Other members are ignored, as RFC 6902 requires.
#[derive(Deserialize)]
struct RawOperation<'a> {
    #[serde(borrow)]
    op: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
}

/// Reads a member that is present: `null` is a value, not a missing member.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl DigitalTwinPatch {
    /// Returns a patch without operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a property, such as `/thermostat1/targetTemperature`, or a component. The value of a component is an object with
    /// an empty `$metadata`.
    ///
    /// # Errors
    /// If the path is not valid.
    pub fn add(self, path: &str, value: impl Into<Value>) -> Result<Self, InvalidPath> {
        Ok(self.with(PatchOperation::Add(PatchPath::parse(path)?, value.into())))
    }

    /// Sets a property or component that has a value.
    ///
    /// # Errors
    /// If the path is not valid.
    pub fn replace(self, path: &str, value: impl Into<Value>) -> Result<Self, InvalidPath> {
        Ok(self.with(PatchOperation::Replace(PatchPath::parse(path)?, value.into())))
    }

    /// Removes the desired value of a property or component.
    ///
    /// # Errors
    /// If the path is not valid.
    pub fn remove(self, path: &str) -> Result<Self, InvalidPath> {
        Ok(self.with(PatchOperation::Remove(PatchPath::parse(path)?)))
    }

    fn with(mut self, operation: PatchOperation) -> Self {
        self.0.push(operation);
        self
    }

    /// Returns the operations.
    #[must_use]
    pub fn operations(&self) -> &[PatchOperation] {
        &self.0
    }

    /// Parses a JSON array of operations.
    ///
    /// # Errors
    /// If it is none, or has more than [`MAX_PATCH_OPERATIONS`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidPatch> {
        let not_an_array = |error: serde_json::Error| InvalidPatch::NotAnArray(error.to_string());
        let operations: Vec<&RawValue> = serde_json::from_slice(text).map_err(not_an_array)?;
        if operations.len() > MAX_PATCH_OPERATIONS {
            return Err(InvalidPatch::TooManyOperations(operations.len()));
        }
        let parse = |(index, operation): (usize, &&RawValue)| {
            parse_operation(operation.get())
                .map_err(|reason| InvalidPatch::Operation { number: index + 1, reason })
        };
        operations.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_operation(text: &str) -> Result<PatchOperation, InvalidPatchReason> {
    // Serde also accepts an array for a struct.
    if !text.starts_with('{') {
        return Err(InvalidPatchReason::Form("it is another JSON value".to_owned()));
    }
    let raw: RawOperation<'_> =
        serde_json::from_str(text).map_err(|error| InvalidPatchReason::Form(error.to_string()))?;
    let op = raw.op.as_ref();
    if !matches!(op, "add" | "replace" | "remove") {
        return Err(InvalidPatchReason::UnknownOperation(raw.op.chars().take(32).collect()));
    }
    let path = PatchPath::parse(&raw.path)?;
    if op == "remove" {
        return Ok(PatchOperation::Remove(path));
    }
    let value = raw.value.ok_or_else(|| InvalidPatchReason::NoValue(op.to_owned()))?;
    let value =
        parse_value(value.get().as_bytes()).map_err(|error| InvalidPatchReason::Value(error.to_string()))?;
    Ok(if op == "add" { PatchOperation::Add(path, value) } else { PatchOperation::Replace(path, value) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_a_json_pointer() {
        let segments = |text| PatchPath::parse(text).map(|path| path.segments().to_vec());
        assert_eq!(segments("/a/b c").unwrap(), ["a", "b c"]);
        assert_eq!(segments("/a~1b/~0~01").unwrap(), ["a/b", "~~1"]);
        assert_eq!(segments("/").unwrap(), [""]);
        assert_eq!(segments(""), Err(InvalidPath::Root));
        assert_eq!(segments("a"), Err(InvalidPath::NoSlash));
        for text in ["/~", "/~2", "/a~/b"] {
            assert_eq!(segments(text), Err(InvalidPath::Escape), "{text}");
        }
        for text in ["/a~1b/~0~01", "/", "/a//b"] {
            assert_eq!(PatchPath::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_patch_is_written_as_it_is_read() {
        let patch = DigitalTwinPatch::new()
            .add("/a", json!({ "$metadata": {} }))
            .and_then(|patch| patch.replace("/b/c~1", 1))
            .and_then(|patch| patch.remove("/d"))
            .unwrap();
        let text = r#"[{"op":"add","path":"/a","value":{"$metadata":{}}},{"op":"replace","path":"/b/c~1","value":1},{"op":"remove","path":"/d"}]"#;
        assert_eq!(serde_json::to_string(&patch).unwrap(), text);
        assert_eq!(DigitalTwinPatch::parse(text.as_bytes()).unwrap(), patch);
        assert_eq!(DigitalTwinPatch::parse(b" [] ").unwrap(), DigitalTwinPatch::new());
        let unused = br#"[{"op":"remove","path":"/d","value":null,"comment":1}]"#;
        assert_eq!(DigitalTwinPatch::parse(unused).unwrap().operations(), &patch.operations()[2..]);
    }

    #[test]
    fn a_large_integer_does_not_become_another_number() {
        let patch =
            DigitalTwinPatch::parse(br#"[{"op":"add","path":"/a","value":9223372036854775808}]"#).unwrap();
        assert_eq!(patch, DigitalTwinPatch::new().add("/a", i64::MAX).unwrap());
    }

    #[test]
    fn what_is_no_patch_is_refused_with_the_reason() {
        let many =
            format!("[{}]", vec![r#"{"op":"remove","path":"/a"}"#; MAX_PATCH_OPERATIONS + 1].join(","));
        for (text, message) in [
            ("", "not a JSON array"),
            ("{}", "not a JSON array"),
            ("null", "not a JSON array"),
            ("[1]", "operation 1: it is not an object"),
            (r#"[["add","/a",1]]"#, "operation 1: it is not an object"),
            (r#"[{"op":"remove","path":"/a"},{"path":"/a"}]"#, "operation 2: it is not an object"),
            (r#"[{"op":"add","path":7,"value":1}]"#, "operation 1: it is not an object"),
            (r#"[{"op":"Add","path":"/a","value":1}]"#, "\"Add\" is not add, replace or remove"),
            (r#"[{"op":"test","path":"/a","value":1}]"#, "\"test\" is not add, replace or remove"),
            (r#"[{"op":"move","from":"/a","path":"/b"}]"#, "\"move\" is not add, replace or remove"),
            (r#"[{"op":"copy","from":"/a","path":"/b"}]"#, "\"copy\" is not add, replace or remove"),
            (r#"[{"op":"add","path":"/a"}]"#, "add needs a value"),
            (r#"[{"op":"replace","path":"/a"}]"#, "replace needs a value"),
            (r#"[{"op":"add","path":"/a","value":"\ud800"}]"#, "the value is not valid JSON"),
            (r#"[{"op":"add","path":"","value":{}}]"#, "the path names the whole digital twin"),
            (r#"[{"op":"add","path":"a","value":1}]"#, "does not begin with a slash"),
            (r#"[{"op":"add","path":"/~","value":1}]"#, "~0 or ~1"),
            (&many, "1001 operations; the maximum is 1000"),
        ] {
            let error = DigitalTwinPatch::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{text:.80}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_written_as_it_was_read(segments in proptest::collection::vec(".*", 1..4)) {
            let path = PatchPath(segments);
            proptest::prop_assert_eq!(PatchPath::parse(&path.to_string()), Ok(path));
        }
    }
}
