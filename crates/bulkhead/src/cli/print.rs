//! Standard output and standard error. A reader that went away (`| head`) is not a failure.

use std::io::{self, Write};
use std::process::ExitCode;

use super::Failure;

/// Prints one line of data.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    tolerant(writeln!(io::stdout(), "{text}"))
}

/// Prints data as it is.
pub(crate) fn raw(text: &str) -> Result<(), Failure> {
    tolerant(write!(io::stdout(), "{text}"))
}

/// Prints what may be no text.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    tolerant(io::stdout().write_all(bytes))
}

/// Prints a value as indented JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Says something to the person at the terminal.
pub(crate) fn talk(text: &str) {
    // Without a terminal there is nobody to talk to.
    let _unheard = writeln!(io::stderr(), "{text}");
}

/// Says why a command failed.
pub(super) fn failure(failure: &Failure) -> ExitCode {
    talk(&format!("bulkhead: {}", failure.text()));
    ExitCode::FAILURE
}

fn tolerant(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
