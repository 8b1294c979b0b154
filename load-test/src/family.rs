//! What makes nodes of this tool a cluster that nobody else belongs to: a name, a secret and a port
//! of discovery, all random, so that two runs on one network never join.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Bytes of a secret, and of a name.
const SECRET_BYTES: usize = 32;
const NAME_BYTES: usize = 8;

/// Begins the name of each variable that configures a node.
const SETTING: &[u8] = b"WAYMESH_";

/// A cluster's own things.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// File with its secret.
    pub(crate) secret: PathBuf,
    /// Of discovery; on loopback nobody else is to be disturbed.
    pub(crate) port: u16,
}

impl Family {
    /// A new cluster, whose name begins with `what` and whose secret lies in `folder`.
    ///
    /// # Errors
    /// The secret cannot be written, as where one lies already.
    pub(crate) fn new(folder: &Path, what: &str) -> io::Result<Self> {
        let mut random = [0; SECRET_BYTES + NAME_BYTES + 2];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (secret, rest) = random.split_at(SECRET_BYTES);
        let (name, port) = rest.split_at(NAME_BYTES);
        let path = folder.join("secret");
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        writeln!(file, "{}", hex(secret))?;
        let port = port
            .iter()
            .fold(0, |sum: u16, byte| sum << 8 | u16::from(*byte));
        Ok(Self {
            cluster: format!("{what}-{}", hex(name)),
            secret: path,
            // Between the ports of services and those that are handed out.
            port: 20_000 + port % 10_000,
        })
    }
}

/// Takes out of a command's environment all that would configure a node: a node of this tool is as
/// this tool says, whatever whoever calls it has set for nodes of their own.
pub(crate) fn forget_settings(command: &mut Command) {
    forget(command, std::env::vars_os().map(|(name, _)| name));
}

fn forget(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(SETTING)) {
        command.env_remove(name);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn two_families_have_nothing_in_common_and_keep_their_secrets() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| {
            let family = Family::new(folder.path(), "test").unwrap();
            let mode = family.secret.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            (
                family.cluster,
                std::fs::read_to_string(family.secret).unwrap(),
            )
        });
        assert_ne!(one, other);
        assert!(one.0.starts_with("test-") && one.1.trim().len() == 64);
    }

    #[test]
    fn a_node_inherits_no_settings_and_keeps_those_it_is_given() {
        let inherited = ["WAYMESH_SECRET_FILE", "WAYMESH_LINK", "PATH"].map(OsString::from);
        let mut command = Command::new("node");
        forget(&mut command, inherited.into_iter());
        command.env("WAYMESH_LINK", "127.0.0.1:0");
        let settings: Vec<_> = command.get_envs().collect();
        let (link, secret) = ("WAYMESH_LINK".as_ref(), "WAYMESH_SECRET_FILE".as_ref());
        assert_eq!(
            settings,
            [(link, Some("127.0.0.1:0".as_ref())), (secret, None)]
        );
    }
}
