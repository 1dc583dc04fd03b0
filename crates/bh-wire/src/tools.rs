//! Which tools of a request the provider runs itself.

use crate::bad_request::BadRequest;
use crate::json::{Kind, Lexer};
use crate::walk::{self, Place, Visitor};

/// Tool types the client runs: their results come back as input of a later request. Types of Anthropic carry a date
/// after the prefix. Any other type, a new one too, is taken to be the provider's.
const CLIENT_TOOLS: &[&str] = &["function", "custom", "local_shell", "shell", "apply_patch"];
const CLIENT_TOOL_PREFIXES: &[&str] = &["bash_", "text_editor_", "computer", "memory_"];

/// Reads the value of `tools` that comes next and says whether the provider runs any of them.
pub(crate) fn any_hosted(lexer: &mut Lexer<'_>) -> Result<bool, BadRequest> {
    if lexer.kind()? != Kind::Array {
        return walk::value(lexer, &mut Unheard, Place::PLAIN, 1).map(|_| false);
    }
    lexer.expect(b'[', "`[`")?;
    let mut hosted = false;
    if lexer.take(b']') {
        return Ok(hosted);
    }
    loop {
        hosted |= match lexer.kind()? {
            Kind::Object => tool(lexer)?,
            Kind::Array | Kind::String | Kind::Number | Kind::Literal => {
                walk::value(lexer, &mut Unheard, Place::PLAIN, 2).map(|_| false)?
            }
        };
        if !lexer.take(b',') {
            return lexer.expect(b']', "`,` or `]`").map(|()| hosted);
        }
    }
}

/// Reads one tool. Without a `type` it is the client's, as Anthropic's own tools are.
fn tool(lexer: &mut Lexer<'_>) -> Result<bool, BadRequest> {
    lexer.expect(b'{', "`{`")?;
    let mut hosted = false;
    if lexer.take(b'}') {
        return Ok(hosted);
    }
    loop {
        let key = lexer.string()?;
        lexer.expect(b':', "`:`")?;
        if key.value(lexer.body) == "type" && lexer.kind()? == Kind::String {
            hosted |= !is_client_tool(&lexer.string()?.value(lexer.body));
        } else {
            walk::value(lexer, &mut Unheard, Place::PLAIN, 3)?;
        }
        if !lexer.take(b',') {
            return lexer.expect(b'}', "`,` or `}`").map(|()| hosted);
        }
    }
}

fn is_client_tool(name: &str) -> bool {
    CLIENT_TOOLS.contains(&name) || CLIENT_TOOL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

struct Unheard;

impl Visitor for Unheard {}
