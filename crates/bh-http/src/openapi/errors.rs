//! Refusals in the document: one shape for each dialect, and the reasons by status.

use bh_domain::refusal::{Code, TABLE};
use bh_wire::Family;
use serde_json::{Map, Value, json};

use super::operation::JSON;
use super::schemas::Schemas;
use crate::llm::Entry;
use crate::matrix::{self, Row};
use crate::respond::{self, Dialect};
use crate::{envelope, matrix::Family as Answering};

/// What a 429 says of itself.
const LIMIT_HEADERS: [&str; 6] = [
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
];

/// Whose words a row refuses in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Of(Dialect),
    /// The provider family that the request is for.
    EitherFamily,
}

impl Voice {
    pub(super) fn of(row: &Row) -> Self {
        match row.answer {
            Answering::Control(_) | Answering::Later(_) => Self::Of(Dialect::of(row.path)),
            Answering::Llm(Entry::Proxy | Entry::Models) => Self::EitherFamily,
            Answering::Llm(Entry::Native(endpoint) | Entry::Quickstart(endpoint)) => {
                endpoint.family().map_or(Self::EitherFamily, |family| Self::Of(Dialect::Llm(family)))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Of(Dialect::Control) => "ControlError",
            Self::Of(Dialect::Envelope) => "EnvelopeError",
            Self::Of(Dialect::Aip193) => "Aip193Error",
            Self::Of(Dialect::Llm(Family::OpenAi)) => "OpenAiError",
            Self::Of(Dialect::Llm(Family::Anthropic)) => "AnthropicError",
            Self::EitherFamily => "ProviderError",
        }
    }

    /// How a reason is written in these words.
    fn word(self, code: Code) -> String {
        match self {
            Self::Of(Dialect::Envelope) => envelope::name(code),
            Self::Of(Dialect::Aip193) => respond::aip193_reason(code),
            Self::Of(Dialect::Control | Dialect::Llm(_)) | Self::EitherFamily => code.as_str().to_owned(),
        }
    }

    fn shape(self, schemas: &mut Schemas) -> Value {
        let words: Vec<String> = TABLE.iter().map(|row| self.word(row.code)).collect();
        match self {
            Self::Of(Dialect::Control) => control(&words),
            Self::Of(Dialect::Envelope) => enveloped(&words, schemas),
            Self::Of(Dialect::Aip193) => aip193(&words),
            Self::Of(Dialect::Llm(Family::OpenAi)) => openai(&words),
            Self::Of(Dialect::Llm(Family::Anthropic)) => anthropic(&words),
            Self::EitherFamily => {
                let both = [Family::OpenAi, Family::Anthropic].map(|family| {
                    let voice = Self::Of(Dialect::Llm(family));
                    schemas.written(voice.name(), |schemas| voice.shape(schemas))
                });
                json!({"description": "In the words of the provider family that the request is for.", "anyOf": both})
            }
        }
    }
}

/// Whether a row passes on a provider's own refusals, which have any shape, beside ours.
pub(super) fn passes_on(row: &Row) -> bool {
    match row.answer {
        Answering::Llm(Entry::Proxy | Entry::Native(_) | Entry::Quickstart(_)) => true,
        Answering::Llm(Entry::Models) | Answering::Control(_) | Answering::Later(_) => false,
    }
}

/// The refusals of one operation, by status. Answers that many operations give are components.
pub(super) fn refusals(
    (voice, passes_on): (Voice, bool),
    codes: &[Code],
    schemas: &mut Schemas,
    shared: &mut Map<String, Value>,
) -> Map<String, Value> {
    let error = schemas.written(voice.name(), |schemas| voice.shape(schemas));
    let mut statuses: Vec<u16> = codes.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let mut answers = Map::new();
    for status in statuses {
        // In the order of the table, whoever asks.
        let of_status = TABLE.iter().filter(|row| row.status == status && codes.contains(&row.code));
        let mut words: Vec<String> = of_status.map(|row| voice.word(row.code)).collect();
        words.dedup();
        let whose = if passes_on { "Provider" } else { "" };
        let name = format!("{whose}{}.{status}.{}", voice.name(), words.join("."));
        shared.entry(name.clone()).or_insert_with(|| refusal(status, &words, &error, passes_on));
        answers.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{name}")}));
    }
    answers
}

fn refusal(status: u16, words: &[String], error: &Value, passes_on: bool) -> Value {
    let mut headers = Map::new();
    let mut header = |name: &str| headers.insert(name.to_owned(), super::build::header(name));
    header("X-Request-Id");
    match status {
        401 => drop(header("WWW-Authenticate")),
        429 => LIMIT_HEADERS.iter().for_each(|name| drop(header(name))),
        503 => drop(header("Retry-After")),
        _ => {}
    }
    let ours = format!("`{}`", words.join("`, `"));
    if passes_on {
        let theirs = json!({"description": "The provider's own."});
        let content = json!({JSON: {"schema": {"anyOf": [error, theirs]}}, "*/*": {"schema": {}}});
        let text = format!("{ours}, or the provider's own refusal.");
        return json!({"description": text, "headers": headers, "content": content});
    }
    json!({"description": ours, "headers": headers, "content": {JSON: {"schema": error}}})
}

fn control(words: &[String]) -> Value {
    let told = json!({
        "type": "object",
        "properties": {
            "error": {"type": "string", "enum": words},
            "message": {"type": "string", "description": "What was wrong, where, and what to do."},
            "request_id": {"type": "string"},
        },
        "required": ["error", "message", "request_id"],
    });
    let limited = json!({
        "type": "object",
        "description": "A limit, in seed 001's words.",
        "properties": {
            "error": {"type": "string"},
            "code": {"const": Code::RateLimited.as_str()},
            "retryAfter": {"type": "integer", "minimum": 0, "description": "Seconds."},
            "request_id": {"type": "string"},
        },
        "required": ["error", "code", "retryAfter", "request_id"],
    });
    json!({"description": "A refusal. Further members are facts about it, as texts.", "anyOf": [told, limited]})
}

fn enveloped(words: &[String], schemas: &mut Schemas) -> Value {
    let metadata = envelope::metadata_shape(schemas);
    let told = json!({
        "type": "object",
        "properties": {
            "success": {"const": false},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "enum": words},
                    "message": {"type": "string", "description": "What was wrong, where, and what to do."},
                    "context": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "required": ["code", "message"],
            },
            "metadata": metadata,
        },
        "required": ["success", "error", "metadata"],
    });
    let limited = json!({
        "type": "object",
        "description": "A limit, in seed 001's words.",
        "properties": {
            "success": {"const": false},
            "error": {"const": envelope::LIMITED},
            "code": {"const": envelope::name(Code::RateLimited)},
            "message": {"type": "string"},
            "retryAfter": {"type": "integer", "minimum": 0, "description": "Seconds."},
            "limits": {
                "type": ["object", "null"],
                "properties": {
                    "scope": {"type": ["string", "null"]},
                    "limit": {"type": "integer"},
                    "window": {"type": "string"},
                    "remaining": {"type": "integer"},
                    "resetAt": {"type": "string", "format": "date-time"},
                },
            },
            "metadata": metadata,
        },
        "required": ["success", "error", "code", "message", "retryAfter", "limits", "metadata"],
    });
    json!({"anyOf": [told, limited]})
}

fn aip193(words: &[String]) -> Value {
    json!({
        "description": "Google's AIP-193.",
        "type": "object",
        "properties": {"error": {
            "type": "object",
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string"},
                "status": {"type": "string", "description": "The gRPC status."},
                "details": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "@type": {"const": "type.googleapis.com/google.rpc.ErrorInfo"},
                        "reason": {"type": "string", "enum": words},
                        "domain": {"type": "string"},
                        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "required": ["@type", "reason", "domain", "metadata"],
                }},
            },
            "required": ["code", "message", "status", "details"],
        }},
        "required": ["error"],
    })
}

fn openai(words: &[String]) -> Value {
    json!({
        "description": "As OpenAI's. Further members of `error` are facts about it, as texts.",
        "type": "object",
        "properties": {"error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string", "enum": words},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"], "enum": words},
            },
            "required": ["message", "type", "param", "code"],
        }},
        "required": ["error"],
    })
}

fn anthropic(words: &[String]) -> Value {
    json!({
        "description": "As Anthropic's, with our own `code` beside its members.",
        "type": "object",
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "message": {"type": "string"},
                    "code": {"type": "string", "enum": words},
                },
                "required": ["type", "message", "code"],
            },
            "request_id": {"type": "string"},
        },
        "required": ["type", "error", "request_id"],
    })
}

/// What any row of the matrix refuses with, whatever its handler does.
pub(super) fn of_row(row: &Row, reads_body: bool) -> Vec<Code> {
    use bh_app::identity::Access;
    // A path with a NUL character in it.
    let mut codes = vec![Code::InvalidRequest];
    if row.is_probe() {
        return codes;
    }
    codes.push(Code::Internal);
    codes.extend((!row.on_any_host()).then_some(Code::NetworkNotFound));
    if matches!(row.answer, matrix::Family::Later(_)) {
        codes.push(Code::NotImplemented);
    }
    if reads_body {
        codes.push(Code::RequestTooLarge);
    }
    if row.access == Access::Open {
        return codes;
    }
    let keyed = [Code::Unauthorized, Code::Forbidden, Code::CrossTenantAccessDenied];
    codes.extend(keyed.into_iter().chain([Code::EvidenceUnavailable, Code::StoreTimeout]));
    match row.access {
        Access::Tenant | Access::TenantOrAdmin | Access::KeyAdmin => codes.extend([
            Code::TenantInactive,
            Code::IpNotAllowed,
            Code::RateLimited,
            Code::LimitsUnavailable,
        ]),
        Access::Admin | Access::Open => {}
    }
    if row.access == Access::KeyAdmin {
        codes.extend([
            Code::ApiKeyExpired,
            Code::ApiKeyRevoked,
            Code::SignatureInvalid,
            Code::ParentKeyInvalid,
        ]);
    }
    codes.extend(row.fenced().then_some(Code::FeatureDisabled));
    codes
}
