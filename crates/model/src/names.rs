//! Enumerations with names on the wire: read without regard to case, as Azure reads them, and written in Azure's
//! spelling.

use std::fmt;

use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

/// An enumeration whose variants have names on the wire.
pub(crate) trait Named: Copy + 'static {
    /// All variants.
    const VARIANTS: &'static [Self];

    /// Returns the name on the wire.
    fn wire_name(self) -> &'static str;
}

/// Returns the variant of that name, ignoring case.
pub(crate) fn from_name<T: Named>(name: &str) -> Option<T> {
    T::VARIANTS.iter().copied().find(|variant| variant.wire_name().eq_ignore_ascii_case(name))
}

/// Implements `Serialize` and `Deserialize` by name. The type has a constant with all variants and a method `name`.
macro_rules! serde_by_name {
    ($type:ty, $all:expr) => {
        impl $crate::names::Named for $type {
            const VARIANTS: &'static [Self] = $all;

            fn wire_name(self) -> &'static str {
                self.name()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::names::deserialize(deserializer)
            }
        }
    };
}

pub(crate) use serde_by_name;

/// Reads a name.
pub(crate) fn deserialize<'de, T: Named, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct NameVisitor<T>(std::marker::PhantomData<T>);
    impl<T: Named> Visitor<'_> for NameVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&expected::<T>())
        }

        fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
            from_name(name)
                .ok_or_else(|| E::custom(format!("unknown variant `{name}`, expected {}", expected::<T>())))
        }
    }
    deserializer.deserialize_str(NameVisitor(std::marker::PhantomData))
}

fn expected<T: Named>() -> String {
    let names: Vec<_> = T::VARIANTS.iter().map(|variant| format!("`{}`", variant.wire_name())).collect();
    format!("one of {}", names.join(", "))
}

/// Reads a member that only the hub sets. A request may contain it in any form, such as that of another hub or version:
/// what is not of the type becomes `None`.
pub(crate) fn read_only<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient<T> {
        Valid(Option<T>),
        Other(IgnoredAny),
    }
    match Lenient::deserialize(deserializer)? {
        Lenient::Valid(value) => Ok(value),
        Lenient::Other(_) => Ok(None),
    }
}
