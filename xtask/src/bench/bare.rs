//! The least that answering can cost: a bare hyper server that answers every request with the bytes of a file.

use std::path::{Path, PathBuf};

use super::process::{Pinned, free_port};
use super::target::TARGET_CORE;

/// Starts it where the gateway is measured. `answer` is headers, an empty line, the body. The server and its address.
pub(super) fn serve(rig: &Path, work: &Path, answer: &str) -> Result<(Pinned, String), String> {
    let file = write(work, "answer.txt", answer)?;
    let port = free_port()?;
    let args = [port.to_string(), file.to_string_lossy().into_owned()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut process = Pinned::spawn(TARGET_CORE, &work.join("bare.log"), &rig.join("bare"), &args, &[])?;
    process.await_port(port)?;
    Ok((process, format!("http://127.0.0.1:{port}")))
}

/// Writes a file of this run.
pub(super) fn write(work: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = work.join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
