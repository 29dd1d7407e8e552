//! The tar stream to the host.

use std::{fs::File, io, path::Path};

use tar::{Builder, Header};

use crate::{
    job::{END, ENDING, End, Task},
    process::Ran,
};

pub(crate) struct Results {
    archive: Builder<File>,
}

impl Results {
    pub(crate) fn new(port: File) -> Self {
        let mut archive = Builder::new(port);
        archive.follow_symlinks(false);
        Self { archive }
    }

    /// What a task printed and left, and then, because it tells that the rest is there, how it ended.
    pub(crate) fn task(&mut self, task: &Task, ran: &Ran) -> io::Result<()> {
        self.file(&format!("{}/stdout", task.name), &ran.stdout)?;
        self.file(&format!("{}/stderr", task.name), &ran.stderr)?;
        if let Some(folder) = task.keep.as_ref().filter(|folder| Path::new(folder).is_dir()) {
            self.archive.append_dir_all(format!("{}/files", task.name), folder)?;
        }
        self.file(&format!("{}/{ENDING}", task.name), &serde_json::to_vec(&ran.ending)?)
    }

    pub(crate) fn end(mut self, kernel: String) -> io::Result<()> {
        self.file(END, &serde_json::to_vec(&End { kernel })?)?;
        self.archive.finish()
    }

    fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        self.archive.append_data(&mut header, path, content)
    }
}
