//! What an enrolled host keeps: `credentials.json` in the state directory, for its owner's eyes only.

use crate::platform;
use edgewatch_shared::{HostId, keys::Key};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const FILE: &str = "credentials.json";

/// What enrolment gave the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The server it enrolled at.
    pub url: String,
    /// Its id.
    pub host_id: HostId,
    /// Its key, base64url.
    pub host_key: String,
    /// The name it was enrolled under.
    pub name: String,
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file system says no.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: String,
        /// What it says.
        error: io::Error,
    },
    /// Not what was once written.
    #[error("{path} is damaged ({why}); enrol again with --force")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CredentialsError {
    let path = path.display().to_string();
    |error| CredentialsError::Io { path, error }
}

impl Credentials {
    /// Where they lie in a state directory.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Reads them; `None` if this host was never enrolled.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, CredentialsError> {
        let path = Self::path(state_dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        let damaged = |why: String| CredentialsError::Damaged { path: path.display().to_string(), why };
        let credentials: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        credentials.key().map_err(|error| damaged(error.to_string()))?;
        Ok(Some(credentials))
    }

    /// The key to sign with.
    pub fn key(&self) -> Result<Key, edgewatch_shared::keys::KeyError> {
        Key::from_text(&self.host_key)
    }
}

/// A file that is ready to take credentials, so that an enrolment token is not spent on a host that cannot keep them.
#[derive(Debug)]
pub struct Prepared {
    state_dir: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Prepared {
    /// Makes the state directory (0700), if need be, and an empty file (0600) in it.
    pub fn in_dir(state_dir: &Path) -> Result<Self, CredentialsError> {
        platform::create_private_dir(state_dir).map_err(at(state_dir))?;
        let temporary = state_dir.join(format!("{FILE}.{}", std::process::id()));
        let file = platform::create_private_file(&temporary).map_err(at(&temporary))?;
        Ok(Self { state_dir: state_dir.to_owned(), temporary, file })
    }

    /// Writes the credentials to the disk and puts them in their place in one step.
    pub fn keep(mut self, credentials: &Credentials) -> Result<PathBuf, CredentialsError> {
        let path = Credentials::path(&self.state_dir);
        let text = serde_json::to_string_pretty(credentials).map_err(|error| CredentialsError::Damaged {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| self.file.sync_all())
            .map_err(at(&self.temporary))?;
        // Whoever enrols as root enrols for the agent's user, whose the directory is.
        platform::give_to_owner_of(&self.state_dir, &self.file).map_err(at(&self.temporary))?;
        fs::rename(&self.temporary, &path).map_err(at(&path))?;
        // The rename itself is durable once the directory is.
        platform::sync_dir(&self.state_dir).map_err(at(&self.state_dir))?;
        Ok(path)
    }

    /// Nothing came of it.
    pub fn discard(self) {
        // An empty file that stays behind harms nobody, and the next enrolment says what is wrong with the directory.
        let _removed = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn credentials() -> Credentials {
        Credentials {
            url: "https://watch.example".into(),
            host_id: HostId::new(7, [9; 14]),
            host_key: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into(),
            name: "web-01".into(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn kept_credentials_are_read_back_and_are_their_owners_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("state");
        let path = Prepared::in_dir(&dir).unwrap().keep(&credentials()).unwrap();
        assert_eq!(Credentials::load(&dir).unwrap(), Some(credentials()));
        assert_eq!((mode(&dir), mode(&path)), (0o700, 0o600));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_host_that_never_enrolled_has_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Credentials::load(&root.path().join("state")).unwrap(), None);
        Prepared::in_dir(root.path()).unwrap().discard();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_credentials_are_an_error_that_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let short_key = serde_json::to_string(&Credentials { host_key: "AAAA".into(), ..credentials() });
        for text in ["", "{}", &short_key.unwrap()] {
            fs::write(Credentials::path(root.path()), text).unwrap();
            let error = Credentials::load(root.path()).unwrap_err().to_string();
            assert!(error.contains("enrol again with --force"), "{text}: {error}");
        }
    }
}
