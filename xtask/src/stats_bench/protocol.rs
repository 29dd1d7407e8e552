//! `qdiscope stats … --stdio`, spoken to: a document a line, an answer a line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::Error;

/// A running `qdiscope stats`.
pub(super) struct Statistics {
    words: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// What is said of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Regression,
    Improvement,
    NoChange,
    Inconclusive,
}

impl Statistics {
    pub(super) fn start(qdiscope: &Path, words: &str) -> Result<Self, Error> {
        let mut command = Command::new(qdiscope);
        command.arg("stats").args(words.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|source| Error::Start { words: words.to_owned(), source })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| Error::answer(words, "no standard output"))?;
        Ok(Self { words: words.to_owned(), child, stdin, stdout: BufReader::new(stdout) })
    }

    /// The first points of new regimes.
    pub(super) fn changes(&mut self, values: &[f64]) -> Result<Vec<u64>, Error> {
        let answer = self.ask(&json!({ "values": values }))?;
        let places = answer.as_array().and_then(|places| places.iter().map(Value::as_u64).collect());
        places.ok_or_else(|| Error::answer(&self.words, &answer.to_string()))
    }

    pub(super) fn verdict(&mut self, [baseline, candidate]: &[Vec<f64>; 2]) -> Result<Verdict, Error> {
        let answer = self.ask(&json!({ "baseline": baseline, "candidate": candidate }))?;
        match answer["verdict"].as_str() {
            Some("regression") => Ok(Verdict::Regression),
            Some("improvement") => Ok(Verdict::Improvement),
            Some("no-change") => Ok(Verdict::NoChange),
            Some("inconclusive") => Ok(Verdict::Inconclusive),
            _ => Err(Error::answer(&self.words, &answer.to_string())),
        }
    }

    fn ask(&mut self, question: &Value) -> Result<Value, Error> {
        let broken = |source| Error::Broken { words: self.words.clone(), source };
        if let Some(stdin) = &mut self.stdin {
            writeln!(stdin, "{question}").map_err(broken)?;
        }
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(broken)?;
        serde_json::from_str(&line).map_err(|_| Error::answer(&self.words, line.trim_end()))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends with its input; what it leaves behind is nothing.
        let _ = self.child.wait();
    }
}
