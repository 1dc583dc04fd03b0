//! Our own SDKs: built and packed as a release would be, and installed into projects that have nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

use super::{CLIENTS, empty_venv, is_current, mark_current, npm, npm_ci, pip};

/// What the tests' project is.
const PROJECT: &str = r#"{"name": "project", "private": true, "type": "module"}"#;

/// Sets both up below `home`. See `bh_testkit::parts::own_sdks` for what is where.
pub(super) fn sdks(home: &Path) -> Result<PathBuf, String> {
    typescript(home)?;
    python(home)?;
    Ok(home.to_path_buf())
}

fn typescript(home: &Path) -> Result<(), String> {
    let sources = shell::root().join("sdk/typescript");
    let samples = shell::root().join(CLIENTS).join("sdk");
    let mut pins = files(&sources, &["ts", "mjs", "json", "md"]);
    pins.extend(files(&samples, &["ts", "mjs", "json", "py"]));
    let pins: Vec<&Path> = pins.iter().map(PathBuf::as_path).collect();
    let built = home.join("typescript");
    if is_current(&built, &pins)? {
        return Ok(());
    }
    println!("test: building our own TypeScript SDK");
    copy(&sources, &built, &["ts", "mjs", "json", "md"])?;
    npm_ci(&built, &[])?;
    shell::run_quietly(&mut npm(&built, &["run", "build"]))?;
    npm_ci(&built.join("codegen"), &[])?;
    npm_ci(home, &[&samples.join("package.json"), &samples.join("package-lock.json")])?;
    install(&built, &home.join("project"))?;
    compile(&built, &samples.join("seed001"), &home.join("project/seed001"))?;
    copy(&samples.join("live"), &home.join("project/live"), &["mjs"])?;
    mark_current(&built, &pins)
}

/// Packs the packages and installs them, without a network: they need nothing.
fn install(built: &Path, project: &Path) -> Result<(), String> {
    clear(project)?;
    write(&project.join("package.json"), PROJECT)?;
    let mut pack = npm(built, &["pack", "--workspaces", "--pack-destination"]);
    shell::run_quietly(pack.arg(project))?;
    let mut install = npm(project, &["install", "--offline"]);
    shell::run_quietly(install.args(files(project, &["tgz"])))?;
    Ok(())
}

/// The seed's snippets, as programs.
fn compile(built: &Path, snippets: &Path, out: &Path) -> Result<(), String> {
    copy(snippets, out, &["ts", "mjs", "json", "py"])?;
    let compiler = built.join("node_modules/typescript/bin/tsc");
    shell::run_quietly(Command::new("node").arg(compiler).arg("-p").arg(out))?;
    Ok(())
}

fn python(home: &Path) -> Result<(), String> {
    let sources = shell::root().join("sdk/python");
    let own = shell::root().join(CLIENTS).join("sdk");
    let (constraints, build) = (own.join("requirements.txt"), own.join("requirements-build.txt"));
    let mut pins = files(&sources.join("src"), &["py"]);
    pins.extend([
        sources.join("pyproject.toml"),
        sources.join("README.md"),
        constraints.clone(),
        build.clone(),
    ]);
    let pins: Vec<&Path> = pins.iter().map(PathBuf::as_path).collect();
    let venv = home.join("python");
    if is_current(&venv, &pins)? {
        return Ok(());
    }
    println!("test: building our own Python SDK");
    empty_venv(&venv)?;
    let python = venv.join("bin/python");
    let wheels = home.join("wheels");
    clear(&wheels)?;
    let mut wheel = pip(&python, &["wheel", "--no-deps", "--wheel-dir"]);
    shell::run_quietly(wheel.env("PIP_CONSTRAINT", &build).arg(&wheels).arg(&sources))?;
    // The wheel first and alone, with what it asks for; then what tests it.
    let mut install = pip(&python, &["install", "--constraint"]);
    shell::run_quietly(install.arg(&constraints).args(files(&wheels, &["whl"])))?;
    shell::run_quietly(pip(&python, &["install", "-r"]).arg(&constraints))?;
    mark_current(&venv, &pins)
}

/// The files below `dir` with one of these extensions, without what a build has put there.
fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let all = extensions.iter().flat_map(|extension| shell::files_below(dir, extension));
    all.filter(|path| !path.components().any(|part| part.as_os_str() == "dist")).collect()
}

fn copy(from: &Path, to: &Path, extensions: &[&str]) -> Result<(), String> {
    clear(to)?;
    for file in files(from, extensions) {
        let copy = to.join(file.strip_prefix(from).unwrap_or(&file));
        let parent = copy.parent().unwrap_or(to);
        std::fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
        std::fs::copy(&file, &copy).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(())
}

/// An empty folder in place of whatever is there.
fn clear(dir: &Path) -> Result<(), String> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
