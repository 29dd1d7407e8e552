//! The guest's console, shown line by line with the kernel's name before it.

use std::io::{self, Write};

use super::job::MARK;

/// Writes whole lines to the standard error.
pub(super) struct Shown {
    series: String,
    line: Vec<u8>,
}

impl Shown {
    pub(super) fn new(series: &str) -> Self {
        Self { series: series.to_owned(), line: Vec::new() }
    }
}

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Some(line) = shown(&String::from_utf8_lossy(&line)) {
                writeln!(io::stderr(), "[{}] {line}", self.series)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is worth showing, without what would move a terminal's cursor.
fn shown(line: &str) -> Option<String> {
    let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
    let line = line.trim_end();
    (!line.is_empty() && line != format!("{MARK}alive")).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_and_control_characters_are_not_shown() {
        assert_eq!(shown("guest: alive\r"), None);
        assert_eq!(shown("\r"), None);
        assert_eq!(shown("\x1b[2Jtest a ... ok\r").as_deref(), Some("[2Jtest a ... ok"));
    }
}
