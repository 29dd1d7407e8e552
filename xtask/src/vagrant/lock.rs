//! One `verify` at a time in a folder: a second would take the machine of the first away.

use std::{
    fs::{self, File},
    io::{Error as IoError, ErrorKind},
    os::fd::AsRawFd,
    path::Path,
};

use super::error::{Error, at};

/// Holds the folder until the file is closed, by whatever end of the process.
pub(super) fn take(folder: &Path) -> Result<File, Error> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(at(&path))?;
    // SAFETY: the descriptor is open for as long as `file` lives, and the call takes no memory.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(file);
    }
    let source = IoError::last_os_error();
    Err(match source.kind() {
        ErrorKind::WouldBlock => Error::Busy { folder: folder.to_owned() },
        _ => Error::File { path, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_ends() {
        let folder = std::env::temp_dir().join(format!("qdiscope-lock-{}", std::process::id()));
        let first = take(&folder).unwrap();
        assert!(matches!(take(&folder), Err(Error::Busy { .. })));
        drop(first);
        assert!(take(&folder).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
