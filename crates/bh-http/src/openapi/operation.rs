//! What a route says of itself.

use bh_domain::refusal::Code;
use serde_json::Value;

use super::schemas::Schemas;

/// Makes a schema, and leaves what it refers to among the components.
pub(crate) type Shape = fn(&mut Schemas) -> Value;

/// Media types.
pub(crate) const JSON: &str = "application/json";

/// Operations that belong together: a tag of the document.
#[derive(Clone, Debug)]
pub(crate) struct Chapter {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) operations: Vec<Operation>,
}

impl Chapter {
    pub(crate) fn new(name: &'static str, text: &'static str, operations: Vec<Operation>) -> Self {
        Self { name, text, operations }
    }
}

/// One method on one path.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// In capitals.
    pub(super) method: &'static str,
    /// With `{parameters}`; a verb may follow one: `{key_id}:rotate`.
    pub(super) path: String,
    /// Names it among all operations, for generated clients.
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) text: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    /// What it refuses with beside what its row of the matrix does.
    pub(super) refuses: Vec<Code>,
    /// What brings it, where it is answered 501 today.
    pub(super) arrives_with: Option<&'static str>,
}

/// A request's body.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) required: bool,
    pub(super) media_type: &'static str,
    pub(super) shape: Shape,
}

/// An answer that is no refusal.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// A status, or `default`.
    pub(super) status: &'static str,
    pub(super) text: &'static str,
    /// Media types, each with its shape.
    pub(super) content: Vec<(&'static str, Shape)>,
    /// Headers, each with what it says.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) text: String,
    pub(super) schema: Value,
}

impl Parameter {
    /// A parameter of the query.
    pub(crate) fn of_query(name: &'static str, text: &str, schema: Value) -> Self {
        Self { name, place: Place::Query, required: false, text: text.to_owned(), schema }
    }

    /// It must be given, and not be empty.
    pub(crate) fn required(mut self) -> Self {
        if self.schema["type"] == "string" {
            self.schema["minLength"] = 1.into();
        }
        Self { required: true, ..self }
    }
}

macro_rules! method {
    ($name:ident, $method:literal) => {
        pub(crate) fn $name(path: &str, id: &str, summary: &str) -> Self {
            Self::new($method, path, id, summary)
        }
    };
}

impl Operation {
    pub(crate) fn new(method: &'static str, path: &str, id: &str, summary: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            id: id.to_owned(),
            summary: summary.to_owned(),
            text: String::new(),
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            refuses: Vec::new(),
            arrives_with: None,
        }
    }

    method!(get, "GET");
    method!(post, "POST");
    method!(patch, "PATCH");
    method!(delete, "DELETE");

    /// Says more than the summary.
    pub(crate) fn text(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    /// Takes a parameter.
    pub(crate) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Reads a JSON body, which may be left out.
    pub(crate) fn reads(self, shape: Shape) -> Self {
        Self { body: Some(Body { required: false, media_type: JSON, shape }), ..self }
    }

    /// Reads a JSON body, which must be there.
    pub(crate) fn needs(self, shape: Shape) -> Self {
        Self { body: Some(Body { required: true, media_type: JSON, shape }), ..self }
    }

    /// Reads a body of any kind.
    pub(crate) fn passes(self, media_type: &'static str, shape: Shape) -> Self {
        Self { body: Some(Body { required: false, media_type, shape }), ..self }
    }

    /// Answers with JSON.
    pub(crate) fn tells(self, status: &'static str, text: &'static str, shape: Shape) -> Self {
        self.tells_as(status, text, &[(JSON, shape)])
    }

    /// Answers with one of these media types.
    pub(crate) fn tells_as(
        mut self,
        status: &'static str,
        text: &'static str,
        content: &[(&'static str, Shape)],
    ) -> Self {
        self.answers.push(Answer { status, text, content: content.to_vec(), headers: Vec::new() });
        self
    }

    /// Answers without a body.
    pub(crate) fn tells_nothing(self, status: &'static str, text: &'static str) -> Self {
        self.tells_as(status, text, &[])
    }

    /// Headers of the last answer.
    pub(crate) fn with_headers(mut self, headers: &[(&'static str, &'static str)]) -> Self {
        if let Some(last) = self.answers.last_mut() {
            last.headers.extend_from_slice(headers);
        }
        self
    }

    /// Refuses for these reasons too.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        self.refuses.extend_from_slice(codes);
        self
    }
}
