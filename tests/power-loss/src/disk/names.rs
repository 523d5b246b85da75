//! The names of files and folders: those that are safe, and the changes since the last sync of their folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{Random, Survival};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Folder,
    /// A file, with a number that stays the same when it is renamed.
    File(u64),
}

type Tree = BTreeMap<PathBuf, Entry>;

#[derive(Debug, Default)]
pub(super) struct Names {
    /// With all changes.
    current: Tree,
    safe: Tree,
    pending: Vec<Pending>,
    /// Every folder that ever was.
    folders: BTreeSet<PathBuf>,
    next_file: u64,
}

#[derive(Debug, Clone)]
enum Pending {
    Add(PathBuf, Entry),
    Remove(PathBuf),
    Rename { from: PathBuf, to: PathBuf, entry: Entry },
}

impl Names {
    /// Names that are all safe.
    pub(super) fn safe(tree: Tree) -> Self {
        let files = tree.values().filter_map(|entry| match entry {
            Entry::File(file) => Some(*file + 1),
            Entry::Folder => None,
        });
        let next_file = files.max().unwrap_or(0);
        let folders = tree.iter().filter(|(_, entry)| **entry == Entry::Folder).map(|(path, _)| path.clone());
        Self { folders: folders.collect(), current: tree.clone(), safe: tree, pending: Vec::new(), next_file }
    }

    pub(super) fn get(&self, path: &Path) -> Option<Entry> {
        self.current.get(path).copied()
    }

    /// All names, also those that are removed but could come back. Folders are before what they contain.
    pub(super) fn all(&self) -> Vec<(PathBuf, Entry)> {
        let mut all = self.safe.clone();
        all.extend(self.current.clone());
        all.into_iter().collect()
    }

    fn new_file(&mut self) -> Entry {
        self.next_file += 1;
        Entry::File(self.next_file - 1)
    }

    /// Adds a file that something else has created, and whose name is safe. Returns its number.
    pub(super) fn adopt_file(&mut self, path: &Path) -> u64 {
        let entry = self.new_file();
        self.current.insert(path.to_path_buf(), entry);
        self.safe.insert(path.to_path_buf(), entry);
        self.next_file - 1
    }

    /// Creates a file. Returns its number.
    pub(super) fn create_file(&mut self, path: &Path) -> u64 {
        let entry = self.new_file();
        self.add(path, entry);
        self.next_file - 1
    }

    pub(super) fn create_folder(&mut self, path: &Path) {
        if self.get(path).is_none() {
            self.folders.insert(path.to_path_buf());
            self.add(path, Entry::Folder);
        }
    }

    fn add(&mut self, path: &Path, entry: Entry) {
        self.current.insert(path.to_path_buf(), entry);
        self.pending.push(Pending::Add(path.to_path_buf(), entry));
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(entry) = self.current.remove(from) {
            self.current.insert(to.to_path_buf(), entry);
            self.pending.push(Pending::Rename { from: from.to_path_buf(), to: to.to_path_buf(), entry });
        }
    }

    pub(super) fn remove(&mut self, path: &Path) {
        if self.current.remove(path).is_some() {
            self.pending.push(Pending::Remove(path.to_path_buf()));
        }
    }

    /// Makes the changes in a folder safe.
    pub(super) fn sync_folder(&mut self, folder: &Path) {
        let (synced, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|change: &Pending| change.is_in(folder));
        self.pending = pending;
        for change in &synced {
            change.apply(&mut self.safe);
            // A file that was renamed has no other name any more.
            if let Pending::Rename { from, .. } = change {
                self.pending.retain(|other| !matches!(other, Pending::Add(path, _) if path == from));
            }
        }
    }

    /// Returns what a power loss leaves. What is in a lost folder is lost.
    pub(super) fn surviving(&self, survival: Survival, random: &mut Random) -> Tree {
        let mut tree = self.safe.clone();
        let survives: Box<dyn FnMut(usize) -> bool> = match survival {
            Survival::Nothing => Box::new(|_| false),
            Survival::Everything => Box::new(|_| true),
            Survival::Torn => {
                let end = random.below(self.pending.len() as u64 + 1);
                Box::new(move |index| (index as u64) < end)
            }
            Survival::Random => {
                let percent = *random.pick(&[5, 50, 95]);
                Box::new(move |_| random.chance(percent))
            }
        };
        let mut survives = survives;
        for (index, change) in self.pending.iter().enumerate() {
            if survives(index) {
                change.apply(&mut tree);
            }
        }
        let lost: Vec<&PathBuf> =
            self.folders.iter().filter(|folder| tree.get(*folder) != Some(&Entry::Folder)).collect();
        let is_lost = |path: &Path| lost.iter().any(|folder| path.starts_with(folder));
        tree.retain(|path, _| !is_lost(path));
        tree
    }
}

impl Pending {
    fn is_in(&self, folder: &Path) -> bool {
        let is_parent = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Add(path, _) | Self::Remove(path) => is_parent(path),
            Self::Rename { from, to, .. } => is_parent(from) || is_parent(to),
        }
    }

    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Add(path, entry) => {
                tree.insert(path.clone(), *entry);
            }
            Self::Remove(path) => {
                tree.remove(path);
            }
            Self::Rename { from, to, entry } => {
                tree.remove(from);
                tree.insert(to.clone(), *entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(names: &Names, survival: Survival) -> Vec<String> {
        let tree = names.surviving(survival, &mut Random::new(1));
        tree.into_keys().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_name_is_safe_after_a_sync_of_its_folder_and_of_the_folders_above() {
        let mut names = Names::default();
        names.create_folder(Path::new("/r/a"));
        names.create_file(Path::new("/r/a/f"));
        names.sync_folder(Path::new("/r/a"));
        assert_eq!(left(&names, Survival::Nothing), [""; 0]);
        names.sync_folder(Path::new("/r"));
        assert_eq!(left(&names, Survival::Nothing), ["/r/a", "/r/a/f"]);
    }

    #[test]
    fn a_rename_into_another_folder_is_safe_after_a_sync_of_either() {
        for synced in ["/r/a", "/r/b"] {
            let mut names = Names::default();
            for folder in ["/r/a", "/r/b"] {
                names.create_folder(Path::new(folder));
            }
            names.sync_folder(Path::new("/r"));
            names.create_file(Path::new("/r/a/f"));
            names.rename(Path::new("/r/a/f"), Path::new("/r/b/g"));
            assert_eq!(left(&names, Survival::Nothing), ["/r/a", "/r/b"]);
            names.sync_folder(Path::new(synced));
            for survival in [Survival::Nothing, Survival::Everything] {
                assert_eq!(left(&names, survival), ["/r/a", "/r/b", "/r/b/g"]);
            }
        }
    }

    #[test]
    fn a_removed_file_comes_back_unless_its_folder_was_synced() {
        let mut names = Names::default();
        names.adopt_file(Path::new("/r/f"));
        names.remove(Path::new("/r/f"));
        assert_eq!(left(&names, Survival::Nothing), ["/r/f"]);
        assert_eq!(left(&names, Survival::Everything), [""; 0]);
        names.sync_folder(Path::new("/r"));
        assert_eq!(left(&names, Survival::Nothing), [""; 0]);
    }
}
