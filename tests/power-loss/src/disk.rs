//! A folder of real files, and the model of what is safe in them.
//!
//! The model knows three things that `fsync(2)` and `rename(2)` promise, and nothing more: the bytes of a file are safe
//! after a sync of the file, its name after a sync of its folder, and a rename happens whole or not at all. Whatever was
//! not synced may survive a power loss, in any order and in parts of a write.

mod change;
mod content;
mod names;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use tempfile::TempDir;

use crate::Random;
pub use change::{Change, Failure, Fault, Survival};
use content::Content;
use names::{Entry, Names};

/// A simulated disk in a temporary folder.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    _folder: TempDir,
    state: Mutex<State>,
    /// Signals that [`State::hold_syncs`] or [`State::syncs_held`] changed.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    names: Names,
    contents: HashMap<u64, Content>,
    random: Random,
    /// Number of changes, those that were refused included.
    changes: u64,
    /// The change at which the power is cut.
    cut_at: Option<u64>,
    is_off: bool,
    fault: Option<(Fault, std::ops::Range<u64>)>,
    /// Number of changes that a fault refused.
    faults: u64,
    hold_syncs: bool,
    syncs_held: usize,
}

impl Disk {
    /// Makes an empty disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(seed: u64) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // SQLite resolves symbolic links.
        let root = folder.path().canonicalize()?;
        let state = State {
            names: Names::default(),
            contents: HashMap::new(),
            random: Random::new(seed),
            changes: 0,
            cut_at: None,
            is_off: false,
            fault: None,
            faults: 0,
            hold_syncs: false,
            syncs_held: 0,
        };
        Ok(Self { root, _folder: folder, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power at the `changes`-th change from now. That change may survive in part, and all later ones fail.
    pub fn cut_power_after(&self, changes: u64) {
        let mut state = self.lock();
        state.cut_at = Some(state.changes + changes);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.lock().is_off = true;
    }

    /// Returns whether the power is off.
    pub fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Lets the disk fail for a number of changes, after the next `after` ones.
    pub fn fail(&self, fault: Fault, after: u64, changes: u64) {
        let mut state = self.lock();
        let start = state.changes + after;
        state.fault = Some((fault, start..start + changes));
    }

    /// Repairs the disk. Returns the number of changes that failed since the last repair.
    pub fn repair(&self) -> u64 {
        let mut state = self.lock();
        state.fault = None;
        std::mem::take(&mut state.faults)
    }

    /// Holds back all syncs until [`Self::release_syncs`].
    pub fn hold_syncs(&self) {
        self.lock().hold_syncs = true;
    }

    /// Returns whether a sync is held back.
    pub fn is_sync_held(&self) -> bool {
        self.lock().syncs_held > 0
    }

    /// Lets all syncs go on.
    pub fn release_syncs(&self) {
        self.lock().hold_syncs = false;
        self.changed.notify_all();
    }

    /// Returns the number of changes so far.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Makes a change, unless the disk refuses it. `real` makes it in the file system; it is not called if the change is
    /// refused. Syncs need no real one.
    ///
    /// # Errors
    /// [`Failure`] if the disk refuses the change.
    pub fn change<T>(&self, change: Change<'_>, real: impl FnOnce() -> T) -> Result<T, Failure> {
        let mut state = self.lock();
        while state.hold_syncs && matches!(change, Change::Sync { .. }) {
            state.syncs_held += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.syncs_held -= 1;
        }
        if state.is_off {
            return Err(Failure::Io);
        }
        if let Some(path) = change.written_file() {
            // A file that something else has created must be known before it changes.
            state.file(path);
        }
        state.changes += 1;
        if state.cut_at == Some(state.changes) {
            state.is_off = true;
            state.begin(&change);
            return Err(Failure::Io);
        }
        if let Some(failure) = state.failure(&change) {
            state.faults += 1;
            return Err(failure);
        }
        let result = real();
        state.begin(&change);
        state.finish(&change);
        Ok(result)
    }

    /// Ends the power loss: replaces the files by what is left of them, and turns the power on. Nothing may have a file
    /// open.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lose_power(&self, survival: Survival) -> io::Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let tracked: Vec<(PathBuf, Entry)> = state.names.all();
        for (path, entry) in tracked.iter().rev() {
            let removed = match entry {
                Entry::File(_) => fs::remove_file(path),
                Entry::Folder => fs::remove_dir(path),
            };
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
                && error.kind() != io::ErrorKind::DirectoryNotEmpty
            {
                return Err(error);
            }
        }
        self.remove_shared_memory()?;
        let names = state.names.surviving(survival, &mut state.random);
        let mut contents = HashMap::new();
        // In the order of creation: names may be random, and a seed must always be the same test.
        let mut by_age: Vec<(&PathBuf, &Entry)> = names.iter().collect();
        by_age.sort_by_key(|(_, entry)| **entry);
        for (path, entry) in by_age {
            match entry {
                Entry::Folder => fs::create_dir_all(path)?,
                Entry::File(file) => {
                    let content =
                        state.contents.get(file).map(|old| old.surviving(survival, &mut state.random));
                    let content = content.unwrap_or_default();
                    fs::write(path, &content)?;
                    contents.insert(*file, Content::safe(content));
                }
            }
        }
        state.names = Names::safe(names);
        state.contents = contents;
        (state.cut_at, state.fault, state.is_off, state.faults) = (None, None, false, 0);
        Ok(())
    }

    /// SQLite's shared memory is a file, but only a part of the memory of the processes.
    fn remove_shared_memory(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-shm") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl State {
    /// Returns why a fault refuses the change.
    fn failure(&mut self, change: &Change<'_>) -> Option<Failure> {
        let (fault, changes) = self.fault.clone()?;
        if !changes.contains(&(self.changes - 1)) {
            return None;
        }
        match (fault, change) {
            (Fault::Write, Change::Write { .. } | Change::Resize { .. }) => Some(Failure::Io),
            (Fault::Full, Change::Write { path, offset, data }) => {
                let end = offset + data.len() as u64;
                (end > self.file(path).size()).then_some(Failure::Full)
            }
            (Fault::Full, Change::Create(path)) => self.names.get(path).is_none().then_some(Failure::Full),
            (Fault::Sync, Change::Sync { path, .. }) => {
                let mut random = self.random.clone();
                self.file(path).lose(&mut random);
                self.random = random;
                Some(Failure::Io)
            }
            (Fault::Sync, Change::SyncFolder(_)) => Some(Failure::Io),
            _ => None,
        }
    }

    /// Returns a file. One that something else has created is safe as it is.
    fn file(&mut self, path: &Path) -> &mut Content {
        let file = match self.names.get(path) {
            Some(Entry::File(file)) => file,
            _ => {
                let file = self.names.adopt_file(path);
                self.contents.insert(file, Content::safe(fs::read(path).unwrap_or_default()));
                file
            }
        };
        self.contents.entry(file).or_default()
    }

    /// Records a change that may survive a power loss from now on.
    fn begin(&mut self, change: &Change<'_>) {
        match *change {
            Change::Create(path) if self.names.get(path).is_none() => {
                let file = self.names.create_file(path);
                self.contents.insert(file, Content::default());
            }
            Change::Write { path, offset, data } => self.file(path).write(offset, data),
            Change::Resize { path, size } => self.file(path).resize(size),
            Change::CreateFolder(path) => self.names.create_folder(path),
            Change::Rename { from, to } => self.names.rename(from, to),
            Change::Remove(path) => self.names.remove(path),
            Change::Create(_) | Change::Sync { .. } | Change::SyncFolder(_) => {}
        }
    }

    /// Records what is safe after a complete change.
    fn finish(&mut self, change: &Change<'_>) {
        match *change {
            Change::Sync { path, with_name } => {
                self.file(path).sync();
                if with_name && let Some(folder) = path.parent() {
                    self.names.sync_folder(folder);
                }
            }
            Change::SyncFolder(path) => self.names.sync_folder(path),
            _ => {}
        }
    }
}
