//! What the small languages of the key API share: a cursor over a text, and an error that says where.

use std::borrow::Cow;

/// A text that is not understood, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at}")]
pub struct SyntaxError {
    /// The character, from 1.
    pub at: usize,
    /// What is wrong, or what was expected.
    pub problem: Cow<'static, str>,
}

/// A place in a text.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    place: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, place: 0 }
    }

    /// Where it is, for [`Cursor::error_at`].
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes the next character.
    pub(crate) fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.place += next.len_utf8();
        Some(next)
    }

    /// Takes `text` if it comes next.
    pub(crate) fn eat(&mut self, text: &str) -> bool {
        let eaten = self.rest().starts_with(text);
        if eaten {
            self.place += text.len();
        }
        eaten
    }

    /// The characters that come next and belong; perhaps none.
    pub(crate) fn peek_while(&self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())]
    }

    /// Takes the characters that belong; perhaps none.
    pub(crate) fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let taken = self.peek_while(belongs);
        self.place += taken.len();
        taken
    }

    /// Takes spaces and says whether there was one. Line ends and tabs are no spaces.
    pub(crate) fn skip_spaces(&mut self) -> bool {
        !self.take_while(|c| c == ' ').is_empty()
    }

    /// An error here.
    pub(crate) fn error(&self, problem: impl Into<Cow<'static, str>>) -> SyntaxError {
        self.error_at(self.place, problem)
    }

    /// An error at a place the cursor has been.
    pub(crate) fn error_at(&self, place: usize, problem: impl Into<Cow<'static, str>>) -> SyntaxError {
        let before = self.text.get(..place).map_or(0, |before| before.chars().count());
        SyntaxError { at: before + 1, problem: problem.into() }
    }
}

/// Reads clauses joined by ` AND `, each with `clause`; nothing but spaces has none.
///
/// # Errors
/// A text of more than `bytes_max`, what `clause` does not understand, and what stands between clauses.
pub(crate) fn clauses(
    text: &str,
    bytes_max: usize,
    mut clause: impl FnMut(&mut Cursor<'_>) -> Result<(), SyntaxError>,
) -> Result<(), SyntaxError> {
    let mut cursor = Cursor::new(text);
    if text.len() > bytes_max {
        return Err(cursor.error(format!("the filter is longer than {bytes_max} bytes")));
    }
    cursor.skip_spaces();
    if cursor.is_at_end() {
        return Ok(());
    }
    loop {
        clause(&mut cursor)?;
        let spaced = cursor.skip_spaces();
        if cursor.is_at_end() {
            return Ok(());
        }
        if !(spaced && cursor.eat("AND") && cursor.skip_spaces()) {
            return Err(cursor.error("expected ` AND ` and another clause, or the end"));
        }
    }
}
