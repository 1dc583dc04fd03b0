//! YAML in and out: text to a tree that knows where each value was written, that tree to typed settings, and back to text.

pub(crate) mod node;
pub(crate) mod parse;
pub(crate) mod typed;
pub(crate) mod write;
