//! The bytes of a file: those that are safe, and the changes since the last sync.

use crate::{Random, Survival};

/// The part of a write that a disk writes whole.
const SECTOR: u64 = 512;

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    safe: Vec<u8>,
    pending: Vec<Pending>,
    /// Size with all changes.
    size: u64,
}

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: u64, data: Vec<u8> },
    Resize(u64),
}

impl Content {
    /// A file whose bytes are safe.
    pub(super) fn safe(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len() as u64, safe: bytes, pending: Vec::new() }
    }

    /// The size with all changes in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.size = self.size.max(offset + data.len() as u64);
        self.pending.push(Pending::Write { offset, data: data.to_vec() });
    }

    pub(super) fn resize(&mut self, size: u64) {
        self.size = size;
        self.pending.push(Pending::Resize(size));
    }

    /// Makes all changes safe.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.safe);
        }
    }

    /// Writes a random part of the changes, and forgets the others.
    pub(super) fn lose(&mut self, random: &mut Random) {
        self.safe = self.surviving(Survival::Random, random);
        self.pending.clear();
    }

    /// Returns what a power loss leaves.
    pub(super) fn surviving(&self, survival: Survival, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        match survival {
            Survival::Nothing => {}
            Survival::Everything => self.pending.iter().for_each(|change| change.apply(&mut bytes)),
            Survival::Torn => {
                let whole = random.below(self.pending.len() as u64 + 1);
                for (index, change) in (0..).zip(&self.pending) {
                    if index < whole {
                        change.apply(&mut bytes);
                    } else if index == whole {
                        change.apply_some(&mut bytes, 50, random);
                    }
                }
            }
            Survival::Random => {
                let percent = *random.pick(&[5, 50, 95]);
                self.pending.iter().for_each(|change| change.apply_some(&mut bytes, percent, random));
            }
        }
        bytes
    }
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => write(bytes, *offset, data),
            Self::Resize(size) => bytes.resize(index(*size), 0),
        }
    }

    /// Applies each sector of the change with this probability.
    fn apply_some(&self, bytes: &mut Vec<u8>, percent: u64, random: &mut Random) {
        match self {
            Self::Resize(_) if random.chance(percent) => self.apply(bytes),
            Self::Resize(_) => {}
            Self::Write { offset, data } => {
                let (mut at, mut rest) = (*offset, &data[..]);
                while !rest.is_empty() {
                    let in_sector = index(SECTOR - at % SECTOR).min(rest.len());
                    let (sector, tail) = rest.split_at(in_sector);
                    if random.chance(percent) {
                        write(bytes, at, sector);
                    }
                    at += sector.len() as u64;
                    rest = tail;
                }
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (index(offset), index(offset) + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_synced_bytes_survive_a_power_loss_that_leaves_nothing_else() {
        let (mut content, mut random) = (Content::default(), Random::new(1));
        content.write(0, b"safe");
        content.sync();
        content.write(2, b"new bytes");
        content.resize(3);
        assert_eq!(content.size(), 3);
        assert_eq!(content.surviving(Survival::Nothing, &mut random), b"safe");
        assert_eq!(content.surviving(Survival::Everything, &mut random), b"san");
    }

    #[test]
    fn a_torn_write_leaves_whole_sectors() {
        let mut content = Content::safe(vec![0; 2048]);
        content.write(100, &[1; 1500]);
        let mut torn = 0;
        for seed in 0..50 {
            let bytes = content.surviving(Survival::Torn, &mut Random::new(seed));
            let sectors: Vec<bool> = bytes.chunks(512).map(|sector| sector.contains(&1)).collect();
            for (sector, is_written) in bytes.chunks(512).zip(&sectors) {
                let ones = sector.iter().filter(|byte| **byte == 1).count();
                assert!(ones == 0 || ones == 512 || ones == 412 || ones == 64, "{ones} {is_written}");
            }
            torn += usize::from(sectors[..4].contains(&true) && sectors[..4].contains(&false));
        }
        assert!(torn > 10, "{torn} of 50 writes were torn");
    }

    #[test]
    fn a_later_sync_does_not_bring_back_what_a_failed_one_lost() {
        let mut lost = 0;
        for seed in 0..20 {
            let (mut content, mut random) = (Content::default(), Random::new(seed));
            content.write(0, b"lost");
            content.lose(&mut random);
            content.sync();
            lost += usize::from(content.surviving(Survival::Everything, &mut random).is_empty());
        }
        assert!((5..20).contains(&lost), "{lost} of 20");
    }
}
