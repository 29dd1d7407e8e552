//! Other programs, which run in the calling thread's network namespace.

use std::process::Command;

use libtest_mimic::Failed;

/// Runs a command line, split at blanks, and gives its standard output. Failing is an error that shows what it wrote.
pub fn run(line: &str) -> Result<String, Failed> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("an empty command line")?;
    let output = Command::new(program).args(words).output().map_err(|error| format!("{line}: {error}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        return Err(format!("{line}: {}\n{out}{err}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
