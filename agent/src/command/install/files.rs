//! Files that are put in their place in one step.

use super::{InstallError, at};
use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was not there, or other than it should be.
    New,
    /// It was there, to the last byte.
    Same,
}

/// Has `path` hold these bytes under this mode. Whoever runs or reads the old ones meanwhile keeps them.
pub(super) fn lay_out<'a>(
    path: &'a Path,
    bytes: &[u8],
    mode: u32,
) -> Result<(&'a Path, Written), InstallError> {
    let has_mode =
        |path: &Path| fs::metadata(path).is_ok_and(|told| told.permissions().mode() & 0o777 == mode);
    if fs::read(path).is_ok_and(|there| there == bytes) && has_mode(path) {
        return Ok((path, Written::Same));
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(at(dir))?;
    }
    let temporary = path.with_extension("new");
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        // What a umask took away.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(at(path))?;
    Ok((path, Written::New))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_again_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let written = |bytes: &[u8], mode| lay_out(&path, bytes, mode).unwrap().1;
        assert_eq!(written(b"1", 0o640), Written::New);
        assert_eq!(written(b"1", 0o640), Written::Same);
        assert_eq!(written(b"1", 0o755), Written::New);
        assert_eq!(written(b"2", 0o755), Written::New);
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
