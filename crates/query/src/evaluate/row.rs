//! Rows: what conditions are evaluated on.

use serde_json::{Map, Value};

use super::Item;
use crate::plan::{Member, Path, Root};

/// A row of a collection. JSON documents in the form of the REST API are rows; other types of row avoid building that
/// document.
pub trait Row {
    /// Returns the value at a path; undefined if the row does not have it.
    ///
    /// [`Root::Desired`] and [`Root::Reported`] contain `$version` and `$metadata`. Times are strings of one width, with
    /// seven digits after the second and `Z`, so that their order is that of time.
    fn value(&self, root: Root, members: &[Member]) -> Item<'_>;

    /// Returns the value at a path of a plan.
    fn value_at(&self, path: &Path) -> Item<'_> {
        match path {
            Path::Known { root, members } => self.value(*root, members),
            Path::Unknown { .. } => Item::Undefined,
        }
    }
}

impl Row for Map<String, Value> {
    fn value(&self, root: Root, members: &[Member]) -> Item<'_> {
        let section = |name| self.get(Root::Properties.as_str())?.get(name);
        let value = match root {
            Root::Desired => section("desired"),
            Root::Reported => section("reported"),
            _ => self.get(root.as_str()),
        };
        Item::from(value).at(members)
    }
}

impl Row for Value {
    fn value(&self, root: Root, members: &[Member]) -> Item<'_> {
        self.as_object().map_or(Item::Undefined, |document| document.value(root, members))
    }
}

impl<R: Row + ?Sized> Row for &R {
    fn value(&self, root: Root, members: &[Member]) -> Item<'_> {
        (**self).value(root, members)
    }
}
