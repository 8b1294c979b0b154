//! The storing members of the cluster, kept in the data folder: a node that is started while one of
//! them is away knows that it is missing. It must not know what follows from that.
//!
//! File `members`, replaced as a whole and synced each time the set changes:
//!
//! ```text
//! layout = 1
//! checksum = "8 hex digits"
//!
//! [[member]]
//! id = "16 hex digits"
//! name = "harbour-2"
//! ingest = true
//! link = "192.0.2.2:5001"
//! ```
//!
//! The checksum is the CRC-32 of everything behind the empty line. A file that is damaged ends the
//! start with an error that names it, like the other files of the data folder: without it answers
//! would seem to be complete that are not.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::proto::{NodeName, RememberedMember, Roles},
    types::ids::NodeId,
};

const FILE_NAME: &str = "members";

const LAYOUT: u32 = 1;

/// Where the members are kept.
#[derive(Debug, Clone)]
pub struct MembersFile {
    folder: PathBuf,
}

/// Why the members of an earlier run cannot be known. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembersError {
    /// It does not say what it should.
    #[error(
        "{0} is damaged: {1}; restore it, or move it away: members that are away are then not missed \
         until they are seen again"
    )]
    Damaged(PathBuf, String),
    /// It was written by a version with another layout.
    #[error("{0} has layout {1}, this version knows {LAYOUT}")]
    OtherLayout(PathBuf, u32),
    /// The disk refused.
    #[error("{0}: {1}")]
    Disk(PathBuf, io::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    layout: u32,
    checksum: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    member: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    ingest: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<SocketAddr>,
}

impl MembersFile {
    /// The file of a data folder, which need not be there yet.
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What was kept last, in order of identity; nothing where nothing was. Blocking.
    ///
    /// # Errors
    /// [`MembersError`] says what is in the way.
    pub fn load(&self) -> Result<Vec<RememberedMember>, MembersError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(text) => read(&path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(MembersError::Damaged(path, error.to_string()))
            }
            Err(error) => Err(MembersError::Disk(path, error)),
        }
    }

    /// Keeps these, durably, in place of those before. Blocking.
    ///
    /// # Errors
    /// What the disk says; those before are kept then, or these.
    pub fn keep(&self, members: &[RememberedMember]) -> io::Result<()> {
        let path = self.path();
        let new_path = path.with_extension("new");
        let mut new = File::create(&new_path)?;
        new.write_all(write(members)?.as_bytes())?;
        new.sync_all()?;
        fs::rename(&new_path, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }
}

fn write(members: &[RememberedMember]) -> io::Result<String> {
    let entry = |member: &RememberedMember| Entry {
        id: member.id.to_string(),
        name: member.name.as_str().to_owned(),
        ingest: member.roles.is_ingest,
        link: member.link,
    };
    let member = members.iter().map(entry).collect();
    let body = toml::to_string(&Body { member }).map_err(io::Error::other)?;
    let head = Head {
        layout: LAYOUT,
        checksum: checksum(&body),
    };
    let head = toml::to_string(&head).map_err(io::Error::other)?;
    Ok(format!("{head}\n{body}"))
}

fn read(path: &Path, text: &str) -> Result<Vec<RememberedMember>, MembersError> {
    let damaged = |why: &dyn ToString| MembersError::Damaged(path.to_owned(), why.to_string());
    let (head, body) = text
        .split_once("\n\n")
        .ok_or_else(|| damaged(&"it has no empty line after its head"))?;
    let head: Head = toml::from_str(head).map_err(|error| damaged(&error))?;
    if head.layout != LAYOUT {
        return Err(MembersError::OtherLayout(path.to_owned(), head.layout));
    }
    if head.checksum != checksum(body) {
        return Err(damaged(&"its checksum is wrong"));
    }
    let body: Body = toml::from_str(body).map_err(|error| damaged(&error))?;
    let members = body.member.into_iter().map(|entry| {
        let id = u64::from_str_radix(&entry.id, 16).map_err(|error| damaged(&error))?;
        Ok(RememberedMember {
            id: NodeId(id),
            name: NodeName::parse(&entry.name).map_err(|error| damaged(&error))?,
            roles: Roles {
                is_ingest: entry.ingest,
                is_store: true,
            },
            link: entry.link,
        })
    });
    members.collect()
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, link: Option<&str>) -> RememberedMember {
        RememberedMember {
            id: NodeId(id),
            name: NodeName::parse(name).unwrap(),
            roles: Roles {
                is_ingest: id.is_multiple_of(2),
                is_store: true,
            },
            link: link.map(|link| link.parse().unwrap()),
        }
    }

    #[test]
    fn what_is_kept_is_loaded_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = MembersFile::of(folder.path());
        assert_eq!(file.load().unwrap(), []);
        let odd = "a \"quoted\" # ü\u{a0}[x]";
        let members = [
            member(1, odd, None),
            member(u64::MAX, "b", Some("[fe80::1%3]:5001")),
            member(3, "c", Some("192.0.2.1:1")),
        ];
        file.keep(&members).unwrap();
        assert_eq!(file.load().unwrap(), members);
        file.keep(&members[..1]).unwrap();
        assert_eq!(file.load().unwrap(), members[..1]);
        file.keep(&[]).unwrap();
        assert_eq!(file.load().unwrap(), []);
        assert!(!folder.path().join("members.new").exists());
    }

    #[test]
    fn every_byte_that_changes_and_every_cut_is_noticed_and_nothing_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = MembersFile::of(folder.path());
        let members = [member(7, "seven", Some("192.0.2.7:5001"))];
        file.keep(&members).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x01;
            let cut = &whole[..at];
            for bytes in [&changed[..], cut] {
                fs::write(file.path(), bytes).unwrap();
                let loaded = file.load();
                let is_same = loaded.as_ref().is_ok_and(|loaded| *loaded == members);
                assert!(loaded.is_err() || is_same, "{at}: {loaded:?}");
                assert_eq!(fs::read(file.path()).unwrap(), bytes);
            }
        }
        fs::write(file.path(), [0xff, 0xfe]).unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("members is damaged"), "{error}");
    }

    #[test]
    fn a_later_layout_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = MembersFile::of(folder.path());
        fs::write(file.path(), "layout = 2\nchecksum = \"x\"\n\nelse").unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("has layout 2"), "{error}");
    }
}
