//! The real parts tests run against, set up once and kept below the target directory.
//!
//! A fresh Debian with only Rust is enough: what is missing comes from its package manager, `pip` and `npm`, at the
//! versions pinned under `crates/bulkhead/tests/clients`.

mod own;

use std::path::{Path, PathBuf};
use std::process::Command;

use bh_testkit::parts as names;

use crate::shell;

const CLIENTS: &str = "crates/bulkhead/tests/clients";

/// Sets everything up and returns the environment that tells tests where it is.
pub(crate) fn set_up() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let home = shell::target_dir().join("test-parts");
    std::fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    if !shell::has("curl") {
        apt_install(&["curl"])?;
    }
    Ok(vec![
        (names::PG_BIN_ENV, postgres()?),
        (names::REDIS_ENV, redis()?),
        (names::CHROMIUM_ENV, chromium()?),
        (names::PROMTOOL_ENV, promtool(&home.join("prometheus"))?),
        (names::PYTHON_ENV, python(&home.join("python"))?),
        (names::NODE_MODULES_ENV, node(&home.join("node"))?),
        (names::OWN_SDKS_ENV, own::sdks(&home.join("sdk"))?),
    ])
}

/// The folder of our own TypeScript SDK, built.
pub(crate) fn own_typescript() -> Result<PathBuf, String> {
    Ok(own::sdks(&shell::target_dir().join("test-parts/sdk"))?.join("typescript"))
}

/// The folder of PostgreSQL's server programs, installed if need be.
pub(crate) fn postgres() -> Result<PathBuf, String> {
    if names::installed_postgres().is_none() {
        apt_install(&["postgresql"])?;
    }
    names::installed_postgres()
        .ok_or_else(|| "PostgreSQL was installed, but has no /usr/lib/postgresql".to_owned())
}

/// Redis's server program, installed if need be with the tools beside it.
pub(crate) fn redis() -> Result<PathBuf, String> {
    if names::installed_redis().is_none() || !shell::has("redis-benchmark") {
        apt_install(&["redis-server", "redis-tools"])?;
    }
    names::installed_redis().ok_or_else(|| "redis-server was installed, but is not in /usr/bin".to_owned())
}

/// Chromium, installed if need be.
fn chromium() -> Result<PathBuf, String> {
    if names::installed_chromium().is_none() {
        apt_install(&["chromium"])?;
    }
    names::installed_chromium().ok_or_else(|| "chromium was installed, but is not in /usr/bin".to_owned())
}

/// Prometheus's checker, out of its package: installed, that would start a server of its own.
fn promtool(home: &Path) -> Result<PathBuf, String> {
    let program = home.join("usr/bin/promtool");
    if program.exists() {
        return Ok(program);
    }
    println!("test: fetching promtool");
    let download = home.join("download");
    std::fs::create_dir_all(&download).map_err(|e| format!("{}: {e}", download.display()))?;
    let fetch = || {
        shell::run_quietly(
            Command::new("apt-get").args(["-qq", "download", "prometheus"]).current_dir(&download),
        )
    };
    if fetch().is_err() {
        shell::run_quietly(Command::new("apt-get").args(["-qq", "update"]))?;
        fetch()?;
    }
    let package = shell::files_below(&download, "deb").pop().ok_or("apt-get has fetched no package")?;
    shell::run_quietly(Command::new("dpkg-deb").arg("-x").arg(package).arg(home))?;
    std::fs::remove_dir_all(&download).map_err(|e| format!("{}: {e}", download.display()))?;
    Ok(program)
}

/// A virtual environment with the official Python SDKs; its `python`.
fn python(venv: &Path) -> Result<PathBuf, String> {
    let pins = shell::root().join(CLIENTS).join("python/requirements.txt");
    let python = venv.join("bin/python");
    if is_current(venv, &[&pins])? {
        return Ok(python);
    }
    println!("test: installing the official Python SDKs");
    empty_venv(venv)?;
    shell::run_quietly(pip(&python, &["install", "-r"]).arg(&pins))?;
    mark_current(venv, &[&pins])?;
    Ok(python)
}

/// A new virtual environment in place of whatever is there.
fn empty_venv(venv: &Path) -> Result<(), String> {
    if !shell::has("python3") {
        apt_install(&["python3", "python3-venv"])?;
    }
    let make = || Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv).output();
    if !make().is_ok_and(|made| made.status.success()) {
        apt_install(&["python3-venv"])?;
        shell::run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    }
    Ok(())
}

fn pip(python: &Path, args: &[&str]) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]).args(args);
    pip
}

/// A `node_modules` with the official Node SDKs.
fn node(home: &Path) -> Result<PathBuf, String> {
    let pins =
        ["package.json", "package-lock.json"].map(|f| shell::root().join(CLIENTS).join("node").join(f));
    let pins: Vec<&Path> = pins.iter().map(PathBuf::as_path).collect();
    let modules = home.join("node_modules");
    if is_current(home, &pins)? {
        return Ok(modules);
    }
    println!("test: installing the official Node SDKs");
    npm_ci(home, &pins)?;
    mark_current(home, &pins)?;
    Ok(modules)
}

/// Copies a package's files to `home` and installs what its lock names there.
fn npm_ci(home: &Path, pins: &[&Path]) -> Result<(), String> {
    if !shell::has("node") || !shell::has("npm") {
        apt_install(&["nodejs", "npm"])?;
    }
    std::fs::create_dir_all(home).map_err(|e| format!("{}: {e}", home.display()))?;
    for pin in pins {
        let copy = home.join(pin.file_name().unwrap_or_default());
        std::fs::copy(pin, copy).map_err(|e| format!("{}: {e}", pin.display()))?;
    }
    shell::run_quietly(&mut npm(home, &["ci"]))?;
    Ok(())
}

fn npm(dir: &Path, args: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).args(args).current_dir(dir);
    npm
}

fn apt_install(packages: &[&str]) -> Result<(), String> {
    println!("test: installing {} with apt-get", packages.join(", "));
    let advice = |e: String| format!("{e}\nInstall {} yourself and run this again.", packages.join(", "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-qq", "-y", "--no-install-recommends"])
            .args(args);
        shell::run_quietly(&mut command).map_err(advice)
    };
    apt(&["update"])?;
    apt(&[&["install"], packages].concat())?;
    Ok(())
}

/// True when `dir` was completed with exactly these pins.
fn is_current(dir: &Path, pins: &[&Path]) -> Result<bool, String> {
    let wanted = content(pins)?;
    Ok(std::fs::read_to_string(stamp(dir)).is_ok_and(|have| have == wanted))
}

fn mark_current(dir: &Path, pins: &[&Path]) -> Result<(), String> {
    std::fs::write(stamp(dir), content(pins)?).map_err(|e| format!("{}: {e}", stamp(dir).display()))
}

fn stamp(dir: &Path) -> PathBuf {
    dir.join(".complete")
}

fn content(pins: &[&Path]) -> Result<String, String> {
    pins.iter()
        .map(|pin| std::fs::read_to_string(pin).map_err(|e| format!("{}: {e}", pin.display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_current_until_a_pin_changes() {
        let dir = shell::target_dir().join("xtask-parts-test");
        std::fs::create_dir_all(&dir).unwrap();
        let pin = dir.join("pins");
        std::fs::write(&pin, "a==1").unwrap();
        std::fs::remove_file(stamp(&dir)).ok();
        assert_eq!(is_current(&dir, &[&pin]), Ok(false));
        mark_current(&dir, &[&pin]).unwrap();
        assert_eq!(is_current(&dir, &[&pin]), Ok(true));
        std::fs::write(&pin, "a==2").unwrap();
        assert_eq!(is_current(&dir, &[&pin]), Ok(false));
    }
}
