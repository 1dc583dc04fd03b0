//! Running the official SDKs: a script in their own language against the gateway under test.

use std::path::Path;
use std::process::Command;

use crate::CliOutput;
use crate::gateway::run_to_end;
use crate::parts;

/// Runs a Python script that may import `openai` and `anthropic`, with these environment variables.
///
/// Blocks until it ends: a gateway or a fake provider beside it goes on by itself.
///
/// # Panics
/// Outside `cargo xtask test`, which installs the SDKs.
#[must_use]
pub fn python(script: &Path, env: &[(&str, &str)]) -> CliOutput {
    let mut command = isolated(&parts::python(), env);
    // -I leaves user site packages and PYTHON* variables out.
    command.args(["-I"]).arg(script);
    run_to_end(&mut command)
}

/// Runs a CommonJS script (`.cjs`) that may require `openai` and `@anthropic-ai/sdk`.
///
/// # Panics
/// As [`python`].
#[must_use]
pub fn node(script: &Path, env: &[(&str, &str)]) -> CliOutput {
    let mut command = isolated(Path::new("node"), env);
    command.env("NODE_PATH", parts::node_modules()).arg(script);
    run_to_end(&mut command)
}

/// Runs `node` in a folder of [`parts::own_sdks`], such as the project that has our own packages and nothing else.
///
/// # Panics
/// Outside `cargo xtask test`, which builds and packs them.
#[must_use]
pub fn own_node(folder: &str, args: &[&str], env: &[(&str, &str)]) -> CliOutput {
    run_to_end(isolated(Path::new("node"), env).args(args).current_dir(parts::own_sdks().join(folder)))
}

/// Runs the Python that has the wheel of our own SDK, in `dir`.
///
/// # Panics
/// As [`own_node`].
#[must_use]
pub fn own_python(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> CliOutput {
    let mut command = isolated(&parts::own_sdks().join("python/bin/python"), env);
    run_to_end(command.args(["-I", "-B"]).args(args).current_dir(dir))
}

/// No variable of ours reaches the script: no key, no proxy.
pub(crate) fn isolated(program: &Path, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs(env.iter().copied());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn outside_a_whole_run() -> bool {
        std::env::var_os(parts::PYTHON_ENV).is_none()
    }

    #[test]
    fn a_python_script_has_both_sdks_and_only_the_given_environment() {
        if outside_a_whole_run() {
            return;
        }
        let text = "import os, openai, anthropic; print(os.environ['NAME'], 'HOME' in os.environ)";
        let (_dir, path) = script("t.py", text);
        let wanted = CliOutput { code: Some(0), stdout: "acme False\n".to_owned(), stderr: String::new() };
        assert_eq!(python(&path, &[("NAME", "acme")]), wanted);
    }

    #[test]
    fn a_node_script_has_both_sdks() {
        if outside_a_whole_run() {
            return;
        }
        let text =
            "require('openai'); require('@anthropic-ai/sdk'); console.log(process.env.NAME); process.exit(3)";
        let (_dir, path) = script("t.cjs", text);
        let wanted = CliOutput { code: Some(3), stdout: "acme\n".to_owned(), stderr: String::new() };
        assert_eq!(node(&path, &[("NAME", "acme")]), wanted);
    }

    const EVERY_CALL: &str = r#"
import os, openai, anthropic
url = os.environ["URL"]
o = openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0)
a = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
ask = [{"role": "user", "content": "hi"}]
print(o.chat.completions.create(model="m", messages=ask).choices[0].message.content)
chunks = o.chat.completions.create(model="m", messages=ask, stream=True, stream_options={"include_usage": True})
chunks = list(chunks)
print("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), chunks[-1].usage.total_tokens)
print(o.responses.create(model="m", input="hi").output_text)
events = list(o.responses.create(model="m", input="hi", stream=True))
print("".join(e.delta for e in events if e.type == "response.output_text.delta"), events[-1].response.usage.output_tokens)
print(o.embeddings.create(model="m", input=["a", "b"]).data[1].embedding)
print([m.id for m in o.models.list()], o.models.retrieve("x").id)
print(a.messages.create(model="m", max_tokens=9, messages=ask).content[0].text)
with a.messages.stream(model="m", max_tokens=9, messages=ask) as stream:
    print("".join(stream.text_stream), stream.get_final_message().usage.output_tokens)
print(a.messages.count_tokens(model="m", messages=ask).input_tokens)
"#;

    #[test]
    fn the_fake_provider_satisfies_the_official_python_sdks() {
        if outside_a_whole_run() {
            return;
        }
        let provider = crate::FakeProvider::start();
        let (_dir, path) = script("calls.py", EVERY_CALL);
        let text = "Hello from the fake provider.";
        let wanted = format!(
            "{text}\n{text} 15\n{text}\n{text} 5\n[0.25, 0.5, 0.75]\n['gpt-4o-mini', 'gpt-4o'] x\n{text}\n{text} 5\n10\n"
        );
        let output = python(&path, &[("URL", provider.url())]);
        assert_eq!(output, CliOutput { code: Some(0), stdout: wanted, stderr: String::new() });
    }
}
