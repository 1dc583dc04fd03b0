//! Dotted paths to settings: `gateway.callers[0].tags`, `pricing.providers.openai.models."gpt-4.1"`.

use std::fmt;

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Into a mapping, by key.
    Key(String),
    /// Into a list, by position from 0.
    Index(usize),
}

/// The way from the file's root to a setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// Reads the dotted form. Keys that hold dots are written in double quotes; a list position as `[0]` or `.0`.
    ///
    /// # Errors
    /// A sentence when a quote or bracket is left open or a step is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, tail) = next_step(rest)?;
            steps.push(step);
            rest = match tail.strip_prefix('.') {
                Some("") => return Err("a path can't end in a dot".to_owned()),
                Some(after) => after,
                None => tail,
            };
        }
        Ok(Self(steps))
    }

    pub(crate) fn of_keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    pub(crate) fn key(&mut self, key: &str) {
        self.0.push(Step::Key(key.to_owned()));
    }

    pub(crate) fn index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// The path with list positions blanked: the same for every element of a list.
    pub(crate) fn pattern(&self) -> String {
        self.to_string().split('[').map(|part| part.split_once(']').map_or(part, |(_, tail)| tail)).fold(
            String::new(),
            |mut pattern, part| {
                if !pattern.is_empty() {
                    pattern.push_str("[]");
                }
                pattern.push_str(part);
                pattern
            },
        )
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if position > 0 { "." } else { "" };
                    let quoted = key.is_empty() || key.contains(['.', '[', ']', '"', '\n']);
                    if quoted { write!(f, "{dot}{key:?}")? } else { write!(f, "{dot}{key}")? }
                }
            }
        }
        Ok(())
    }
}

fn next_step(text: &str) -> Result<(Step, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (digits, tail) = rest.split_once(']').ok_or("a `[` is not closed")?;
        let index = digits.parse().map_err(|_| format!("`[{digits}]` is not a list position"))?;
        return Ok((Step::Index(index), tail));
    }
    if let Some(rest) = text.strip_prefix('"') {
        let (key, tail) = rest.split_once('"').ok_or("a quote is not closed")?;
        return Ok((Step::Key(key.to_owned()), tail));
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    let (key, tail) = text.split_at(end);
    if key.is_empty() {
        return Err("a path can't hold an empty step".to_owned());
    }
    Ok((key.parse().map_or_else(|_| Step::Key(key.to_owned()), Step::Index), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_round_trip() {
        for text in ["server.listen", "gateway.callers[0].name", "a.\"gpt-4.1\".b[2][3]", ""] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("a.0.b").unwrap().to_string(), "a[0].b");
        for bad in ["a.", ".a", "a..b", "a[", "a[x]", "\"a"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_the_same_for_every_element() {
        assert_eq!(Path::parse("a[3].b[12].c").unwrap().pattern(), "a[].b[].c");
        assert_eq!(Path::parse("a.b").unwrap().pattern(), "a.b");
    }
}
