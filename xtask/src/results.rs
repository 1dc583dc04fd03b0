//! Which tests passed, kept in `target/test-results.json` for `conformance`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::shell;

/// One test: the binary it is in (`package` or `package::binary`) and its path inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) binary: String,
    pub(crate) name: String,
}

/// The outcome of one whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: Vec<Test>,
    pub(crate) failed: Vec<Test>,
    /// Those of `passed` that had failed before.
    pub(crate) flaky: Vec<Test>,
}

impl Results {
    /// Writes the results file.
    pub(crate) fn write(&self) -> Result<(), String> {
        let list = |tests: &[Test]| -> Vec<Value> {
            tests.iter().map(|t| json!({"binary": t.binary, "name": t.name})).collect()
        };
        let text = format!(
            "{:#}\n",
            json!({"passed": list(&self.passed), "failed": list(&self.failed), "flaky": list(&self.flaky)})
        );
        std::fs::write(path(), text).map_err(|e| format!("{}: {e}", path().display()))
    }

    /// The results of the last whole run; `None` when there has been none.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        let Ok(text) = std::fs::read_to_string(path()) else { return Ok(None) };
        let value: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path().display()))?;
        let list = |name: &str| -> Vec<Test> {
            let tests = value[name].as_array().into_iter().flatten();
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            tests.map(|t| Test { binary: text(&t["binary"]), name: text(&t["name"]) }).collect()
        };
        Ok(Some(Self { passed: list("passed"), failed: list("failed"), flaky: list("flaky") }))
    }

    fn add(&mut self, test: Test, passed: bool) {
        if passed { self.passed.push(test) } else { self.failed.push(test) }
    }
}

fn path() -> PathBuf {
    shell::target_dir().join("test-results.json")
}

/// nextest keeps its store below the workspace, wherever cargo's target directory is.
fn junit_path() -> PathBuf {
    shell::root().join("target/nextest/default/junit.xml")
}

/// Removes the report of an earlier run, so that a run that never started cannot pass for it.
pub(crate) fn forget_junit() {
    std::fs::remove_file(junit_path()).ok();
}

/// The results in nextest's report; none when it wrote none.
pub(crate) fn from_junit() -> Results {
    parse_junit(&std::fs::read_to_string(junit_path()).unwrap_or_default())
}

fn parse_junit(xml: &str) -> Results {
    let mut results = Results::default();
    for case in xml.split("<testcase ").skip(1) {
        let tag = case.split('>').next().unwrap_or_default();
        let inside =
            if tag.ends_with('/') { "" } else { case.split("</testcase>").next().unwrap_or_default() };
        let passed = !inside.contains("<failure") && !inside.contains("<error");
        let (Some(name), Some(binary)) = (attribute(tag, "name"), attribute(tag, "classname")) else {
            continue;
        };
        let test = Test { binary, name };
        if passed && ["<flakyFailure", "<flakyError"].iter().any(|tag| inside.contains(tag)) {
            results.flaky.push(test.clone());
        }
        results.add(test, passed);
    }
    results
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!(" {name}=\"");
    let padded = format!(" {tag}");
    let value = padded.split_once(&start)?.1.split('"').next()?;
    Some(value.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// The results in the output of `cargo test`. Binaries are unknown there: a name stands for itself.
pub(crate) fn from_libtest(text: &str) -> Results {
    let mut results = Results::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("test ")) {
        if let Some((name, outcome)) = line.rsplit_once(" ... ") {
            let test = Test { binary: String::new(), name: name.to_owned() };
            if outcome != "ignored" {
                results.add(test, outcome == "ok");
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(binary: &str, name: &str) -> Test {
        Test { binary: binary.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_junit_report_tells_passed_from_failed() {
        let xml = r#"<testsuite name="bulkhead::it" tests="3">
            <testcase name="money::a_cap_holds" classname="bulkhead::it" time="0.1">
            </testcase>
            <testcase name="money::b" classname="bulkhead::it" time="0.2">
                <failure type="test failure">panicked &lt;testcase name="x"</failure>
            </testcase>
            <testcase name="c" classname="bh-wire" time="0.2"/>
            <testcase name="d" classname="bh-wire" time="0.2">
                <flakyFailure type="test failure">panicked</flakyFailure>
            </testcase>"#;
        let wanted = Results {
            passed: vec![
                test("bulkhead::it", "money::a_cap_holds"),
                test("bh-wire", "c"),
                test("bh-wire", "d"),
            ],
            failed: vec![test("bulkhead::it", "money::b")],
            flaky: vec![test("bh-wire", "d")],
        };
        assert_eq!(parse_junit(xml), wanted);
    }

    #[test]
    fn libtest_lines_are_read_too() {
        let text = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\ntest d ... ignored\n\ntest result: ok. 1\n";
        assert_eq!(
            from_libtest(text),
            Results { passed: vec![test("", "a::b")], failed: vec![test("", "c")], flaky: Vec::new() }
        );
    }
}
