//! Paths to values of a row.

use super::{Collection, Root};

/// A path to a value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// A path that begins with a member that the collection has.
    Known {
        /// The first member.
        root: Root,
        /// The members below it; empty for the whole value.
        members: Vec<Member>,
    },
    /// A path that begins with another name. Its value is always undefined.
    Unknown {
        /// The first member.
        name: String,
        /// The members below it.
        members: Vec<Member>,
    },
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// A member of an object. The name is case-sensitive.
    Name(String),
    /// An element of an array, counted from 0.
    Index(u32),
}

impl Path {
    /// Returns a path from a root. Members that the hub defines get their canonical names.
    #[must_use]
    pub fn new(root: Root, members: Vec<Member>) -> Self {
        let (root, mut members) = match (root, members.split_first()) {
            (Root::Properties, Some((Member::Name(name), rest))) => {
                let sections = [("desired", Root::Desired), ("reported", Root::Reported)];
                match sections.iter().find(|(section, _)| section.eq_ignore_ascii_case(name)) {
                    Some((_, section)) => (*section, rest.to_vec()),
                    None => (root, members),
                }
            }
            _ => (root, members),
        };
        if let Some(Member::Name(name)) = members.first_mut()
            && let Some(canonical) = root.member(name)
        {
            canonical.clone_into(name);
        }
        if root == Root::Configurations
            && let Some(Member::Name(name)) = members.get_mut(1)
            && name.eq_ignore_ascii_case("status")
        {
            "status".clone_into(name);
        }
        Self::Known { root, members }
    }

    /// Returns the members below the first one.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Known { members, .. } | Self::Unknown { members, .. } => members,
        }
    }

    /// Returns the root; `None` if the value is always undefined.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        match self {
            Self::Known { root, .. } => Some(*root),
            Self::Unknown { .. } => None,
        }
    }

    /// Returns the key of a column with this path: the last member. `None` if that is an element of an array.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match (self.members().last(), self) {
            (Some(Member::Index(_)), _) => None,
            (Some(Member::Name(name)), _) | (None, Self::Unknown { name, .. }) => Some(name),
            (None, Self::Known { root, .. }) => root.as_str().rsplit('.').next(),
        }
    }
}

/// A path as written, before the collection is known: `SELECT` precedes `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PathBuilder {
    /// Offset of its first byte in the text.
    pub(crate) offset: usize,
    /// The first member.
    pub(crate) first: String,
    /// The members below it.
    pub(crate) members: Vec<Member>,
    /// Number of members at the start that are written without quotes, so that they may be the name of a collection.
    pub(crate) plain: usize,
}

impl PathBuilder {
    /// Resolves the path in a collection, without the name of a collection before it. The error is the name of a member
    /// of twins, if the collection is that of jobs.
    pub(crate) fn resolve(mut self, collection: Collection) -> Result<Path, &'static str> {
        if self.drop_first("devices") && !self.drop_first("modules") {
            self.drop_first("jobs");
        }
        if let Some(root) = Root::named(&self.first, collection) {
            return Ok(Path::new(root, self.members));
        }
        match Root::named(&self.first, Collection::Devices) {
            Some(root) if collection == Collection::Jobs => Err(root.as_str()),
            _ => Ok(Path::Unknown { name: self.first, members: self.members }),
        }
    }

    /// Drops the first member if it has this name, is not quoted and another name follows. Returns whether it did.
    fn drop_first(&mut self, name: &str) -> bool {
        let drops = self.plain > 0 && self.first.eq_ignore_ascii_case(name);
        match self.members.first_mut() {
            Some(Member::Name(next)) if drops => self.first = std::mem::take(next),
            _ => return false,
        }
        self.members.remove(0);
        self.plain -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> PathBuilder {
        let mut names = text.split('.').map(str::to_owned);
        let first = names.next().unwrap();
        let members: Vec<_> = names.map(Member::Name).collect();
        PathBuilder { offset: 0, first, plain: members.len() + 1, members }
    }

    fn resolve(text: &str, collection: Collection) -> (Option<Root>, Vec<String>) {
        let path = names(text).resolve(collection).unwrap();
        let name = |member: &Member| match member {
            Member::Name(name) => name.clone(),
            Member::Index(index) => index.to_string(),
        };
        (path.root(), path.members().iter().map(name).collect())
    }

    #[test]
    fn the_name_of_a_collection_before_a_path_is_dropped() {
        let device_id = (Some(Root::DeviceId), vec![]);
        assert_eq!(resolve("devices.deviceId", Collection::Devices), device_id);
        assert_eq!(resolve("devices.deviceId", Collection::Modules), device_id);
        assert_eq!(resolve("DEVICES.modules.DeviceId", Collection::Modules), device_id);
        assert_eq!(resolve("devices.jobs.deviceId", Collection::Jobs), device_id);
        assert_eq!(resolve("devices.devices.tags", Collection::Devices).0, None);
        assert_eq!(resolve("modules.moduleId", Collection::Modules).0, None);
        assert_eq!(resolve("devices.modules", Collection::Devices).0, None);
    }

    #[test]
    fn a_quoted_name_is_not_that_of_a_collection() {
        let quoted = PathBuilder { plain: 0, ..names("devices.tags") };
        assert_eq!(quoted.resolve(Collection::Devices).unwrap().root(), None);
    }

    #[test]
    fn members_of_the_hub_have_any_case_and_members_of_users_have_not() {
        assert_eq!(
            resolve("Properties.Desired.Fan", Collection::Devices),
            (Some(Root::Desired), vec!["Fan".to_owned()])
        );
        assert_eq!(
            resolve("CAPABILITIES.iotedge", Collection::Devices),
            (Some(Root::Capabilities), vec!["iotEdge".to_owned()])
        );
        assert_eq!(
            resolve("configurations.Fan.Status", Collection::Devices),
            (Some(Root::Configurations), vec!["Fan".to_owned(), "status".to_owned()])
        );
        assert_eq!(
            resolve("tags.Status", Collection::Devices),
            (Some(Root::Tags), vec!["Status".to_owned()])
        );
        assert_eq!(resolve("properties", Collection::Devices), (Some(Root::Properties), vec![]));
    }

    #[test]
    fn twins_are_not_members_of_jobs() {
        assert_eq!(names("Tags.floor").resolve(Collection::Jobs), Err("tags"));
        assert_eq!(resolve("other", Collection::Jobs), (None, vec!["other".to_owned()][1..].to_vec()));
    }
}
