//! What the data directory lies on: a disk that keeps its word, memory that forgets, or a network
//! file system whose locks can't be trusted.

use std::path::{Path, PathBuf};

use crate::open_error::OpenError;

/// Whether what is written to a directory survives a restart of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As far as can be told.
    Durable,
    /// It doesn't, or can't be told; the text says why.
    NotDurable(&'static str),
}

/// Tells whether `dir` is a durable place. It may not exist yet: then its nearest ancestor counts.
///
/// # Errors
/// [`OpenError::Io`] when the file system can't be asked.
pub fn durability(dir: &Path) -> Result<Durability, OpenError> {
    Ok(match kind_of(&nearest_existing(dir))? {
        Kind::Forgets(why) => Durability::NotDurable(why),
        Kind::Disk | Kind::Network(_) => Durability::Durable,
    })
}

/// Refuses network file systems.
pub(crate) fn refuse_network(dir: &Path) -> Result<(), OpenError> {
    match kind_of(dir)? {
        Kind::Network(kind) => Err(OpenError::NetworkFilesystem { path: dir.to_path_buf(), kind }),
        Kind::Disk | Kind::Forgets(_) => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Disk,
    Forgets(&'static str),
    Network(&'static str),
}

/// The numbers of `statfs(2)` that matter, as in the kernel's `magic.h`.
const KINDS: &[(u32, Kind)] = &[
    (0x0102_1994, Kind::Forgets("tmpfs lies in memory: a restart of the machine loses it")),
    (0x8584_58f6, Kind::Forgets("ramfs lies in memory: a restart of the machine loses it")),
    (0x794c_7630, Kind::Forgets("a container's overlay goes with the container: mount a volume")),
    (0x6573_5546, Kind::Forgets("FUSE: whether a sync reaches a disk can't be told")),
    (0x0000_6969, Kind::Network("NFS")),
    (0x0000_517b, Kind::Network("SMB")),
    (0xff53_4d42, Kind::Network("CIFS")),
    (0xfe53_4d42, Kind::Network("SMB2")),
    (0x0102_1997, Kind::Network("9p")),
    (0x00c3_6400, Kind::Network("Ceph")),
    (0x5346_414f, Kind::Network("AFS")),
    (0x6b41_4653, Kind::Network("AFS")),
    (0x0bd0_0bd0, Kind::Network("Lustre")),
    (0x7375_7245, Kind::Network("Coda")),
    (0x0000_564c, Kind::Network("NCP")),
];

fn kind_of(dir: &Path) -> Result<Kind, OpenError> {
    let stat = rustix::fs::statfs(dir).map_err(|errno| OpenError::io(dir, errno.into()))?;
    // The field is signed on some machines; the numbers have 32 bits on all.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(kind(stat.f_type as u32))
}

fn kind(magic: u32) -> Kind {
    KINDS.iter().find(|(known, _)| *known == magic).map_or(Kind::Disk, |(_, kind)| *kind)
}

fn nearest_existing(dir: &Path) -> PathBuf {
    let existing = dir.ancestors().find(|path| path.exists());
    // The last ancestor of a relative path is empty: that is where we stand.
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_apart() {
        for (magic, name) in [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0x0102_1997, "9p")] {
            assert_eq!(kind(magic), Kind::Network(name));
        }
        assert_eq!(kind(0xef53), Kind::Disk, "ext4");
    }

    #[test]
    fn memory_is_not_durable() {
        let shm = durability(Path::new("/dev/shm/not/there/yet")).unwrap();
        assert!(matches!(shm, Durability::NotDurable(why) if why.starts_with("tmpfs")));
    }

    #[test]
    fn a_relative_path_is_looked_up_from_here() {
        assert_eq!(nearest_existing(Path::new("not-there/at-all")), Path::new("."));
    }
}
