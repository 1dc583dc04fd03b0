//! Why a request body was refused, and where.

/// The longest key or value excerpt quoted in a message, in characters.
const EXCERPT_CHARS_MAX: usize = 64;

/// A request body that is not what its endpoint takes. Rendered as a 400 in the caller's dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line}, column {column} (byte {offset})")]
pub struct BadRequest {
    /// What is wrong.
    pub problem: Problem,
    /// Bytes before the fault.
    pub offset: usize,
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in bytes, from 1.
    pub column: usize,
}

/// What is wrong with a body. Key names are quoted, values never are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A byte sequence that is not UTF-8.
    #[error("the request body is not valid UTF-8")]
    NotUtf8,
    /// The body is JSON of another type, or empty.
    #[error("the request body must be a JSON object")]
    NotAnObject,
    /// The grammar wanted something else here.
    #[error("the request body is not valid JSON: expected {0}")]
    Expected(&'static str),
    /// The body stops inside a value.
    #[error("the request body is not valid JSON: it ends inside {0}")]
    UnexpectedEnd(&'static str),
    /// A control byte inside a string must be escaped.
    #[error("the request body is not valid JSON: unescaped control character in a string")]
    ControlCharacter,
    /// Bytes after the closing brace.
    #[error("the request body is not valid JSON: trailing data after the object")]
    TrailingData,
    /// Nested deeper than [`crate::request::DEPTH_MAX`].
    #[error("the request body is nested deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// More top-level members than [`crate::request::TOP_LEVEL_KEYS_MAX`].
    #[error("the request body has more than {max} top-level keys")]
    TooManyKeys {
        /// The limit.
        max: usize,
    },
    /// The same key twice, so that two readers could disagree on its value.
    #[error("duplicate key `{0}`")]
    DuplicateKey(String),
    /// A field that decides routing or price has the wrong type.
    #[error("`{key}` must be {expected}")]
    WrongType {
        /// The field.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// A field that is copied is longer than its limit.
    #[error("`{key}` is longer than {max} bytes")]
    TooLong {
        /// The field.
        key: &'static str,
        /// The limit in bytes.
        max: usize,
    },
}

impl Problem {
    /// A duplicate key, its name cut to a printable excerpt.
    pub(crate) fn duplicate(key: &str) -> Self {
        let printable = key.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        Self::DuplicateKey(printable.take(EXCERPT_CHARS_MAX).collect())
    }
}

impl BadRequest {
    /// Places `problem` at `offset` of `body`.
    pub(crate) fn at(body: &[u8], offset: usize, problem: Problem) -> Self {
        let before = body.get(..offset).unwrap_or(body);
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = 1 + before.len() - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        Self { problem, offset: before.len(), line, column }
    }

    /// The field at fault, for the `param` of an OpenAI error envelope.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match &self.problem {
            Problem::WrongType { key, .. } | Problem::TooLong { key, .. } => Some(key),
            Problem::DuplicateKey(key) => Some(key),
            Problem::NotUtf8
            | Problem::NotAnObject
            | Problem::Expected(_)
            | Problem::UnexpectedEnd(_)
            | Problem::ControlCharacter
            | Problem::TrailingData
            | Problem::TooDeep { .. }
            | Problem::TooManyKeys { .. } => None,
        }
    }
}
